"""Searching the archive: file after file, by time, only those in which something can be found.

The catalogue leaves out files by their span, protocols and columns, and for indicators by the exact index of addresses
and hashes. Of a file the columns that are asked about are read first, the others only where a row was found.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from detectors.hunting.mask import Mask, mask
from detectors.hunting.wanted import Condition, Sought, impossible, needed
from detectors.sigma.tree import FALSE, Node, any_of, fields_of
from sensor.archive.catalogue import Entry
from sensor.archive.columns import lines_of, nanoseconds
from sensor.archive.compaction import read
from sensor.archive.origin import ArchiveError
from sensor.archive.store import Archive
from sensor.archive.terms import ADDRESSES, HASHES, INDEXED, MACS, term

MAX_KNOWN = 1 << 16  # terms whose indicators are remembered
(ARTIFACT,) = HASHES
AHEAD = 4  # files that are read while one is looked at
_TIMES = ("@timestamp", "archive.last")
_SUMS = (*_TIMES, "archive.count")  # read where a row was found
_ALWAYS = ("archive.origin", "archive.described")  # the first is there in every file, and small
Pairs = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]  # numbers of what was hunted for, and rows


@dataclass(slots=True)
class Total:
    """What one condition or indicator found in all. events counts every event of the behaviours found."""

    rows: int = 0
    events: int = 0
    first_ns: int = 0
    last_ns: int = 0
    files: int = 0


@dataclass(frozen=True, slots=True)
class Hit:
    """One row that was found: `name` and `title` of what it was found by, `kind` of file, `line` of the row."""

    name: str
    title: str
    kind: str
    line: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to look for in one file. asked: conditions by number. likely: what must hold for `unsure`. indexed: columns
    in which indicators are looked for. held: terms in it that are sought; None: the file has no index.
    """

    entry: Entry
    asked: list[tuple[int, Node]]
    likely: list[Node]
    indexed: list[str]
    held: set[bytes] | None
    columns: list[str]


class Search:
    """One hunt. After `run`: totals by name; files: how many there are in the span, opened: how many were read.

    shy: events of behaviours of which a flood left only codes. unsure: events of behaviours that may have matched what
    only single events answer. broken: what could not be read.
    """

    def __init__(
        self,
        archive: Archive,
        conditions: Sequence[Condition] = (),
        sought: Sequence[Sought] = (),
        since_ns: int | None = None,
        until_ns: int | None = None,
        most: int | None = None,
    ) -> None:
        """since_ns, until_ns: from when, to before when. most: rows that are described, None for all."""
        self._archive = archive
        self._conditions, self._sought = list(conditions), list(sought)
        self._since_ns, self._until_ns = since_ns, until_ns
        self._left = most
        self._single: dict[bytes, list[int]] = {}
        self._wide: list[int] = []
        self._known: dict[bytes, list[int]] = {}
        self._in_files: list[set[int] | None] = []
        for number, it in enumerate(self._sought, len(self._conditions)):
            if it.low == it.high:
                self._single.setdefault(it.low, []).append(number)
            else:
                self._wide.append(number)
        self.totals: dict[str, Total] = {}
        self.files = self.opened = self.shy = self.unsure = 0
        self.broken: list[str] = []

    def run(self, progress: Callable[[int, int], None]) -> Iterator[Hit]:
        """What is found, by time of the files. progress: called with files done and their number."""
        with self._archive.locked("reading"):
            entries = self._archive.catalogue.files(since_ns=self._since_ns, until_ns=self._until_ns)
            self.files = len(entries)
            holding, self._in_files = self._holding(), self._files_of()
            plans = [plan for entry in entries if (plan := self._plan(entry, holding)) is not None]
            for done, (plan, table) in enumerate(self._tables(plans)):
                progress(done, len(plans))
                try:
                    yield from self._file(plan, table.result())
                except ArchiveError as error:
                    self.broken.append(str(error))
            progress(len(plans), len(plans))

    def _tables(self, plans: Sequence[_Plan]) -> Iterator[tuple[_Plan, Future[pa.Table]]]:
        """The columns of each file, in order; the next files are read meanwhile."""
        waiting: deque[tuple[_Plan, Future[pa.Table]]] = deque()
        with ThreadPoolExecutor(os.cpu_count() or 1) as readers:
            for plan in plans:
                table = readers.submit(read, self._archive, plan.entry, plan.columns, coded=True)
                waiting.append((plan, table))
                if len(waiting) > AHEAD:
                    yield waiting.popleft()
            yield from waiting

    def _files_of(self) -> list[set[int] | None]:
        """For each condition the numbers of the files that hold what it needs, as far as the index tells; None: any."""
        found: list[set[int] | None] = []
        for it in self._conditions:
            spans = needed(any_of([it.behaviours, it.events, it.possible]))
            if spans is None:
                found.append(None)
                continue
            single = {low for low, high in spans if low == high}
            wide = [(low, high) for low, high in spans if low != high]
            found.append(set(self._archive.catalogue.holding(single, wide)))
        return found

    def _holding(self) -> dict[int, set[bytes]]:
        """By number of the file, which terms in it are sought."""
        if not self._sought:
            return {}
        single = {it.low for it in self._sought if it.low == it.high}
        spans = {(it.low, it.high) for it in self._sought if it.low != it.high}
        return self._archive.catalogue.holding(single, spans)

    def _plan(self, entry: Entry, holding: Mapping[int, set[bytes]]) -> _Plan | None:
        """What to look for in a file; None where nothing can be in it. holding: see `_holding`."""
        held = holding.get(entry.number, set()) if entry.indexed or not self._sought else None
        here = [
            number
            for number, files in enumerate(self._in_files)
            if files is None or entry.number in files or not entry.indexed
        ]
        asked = [(number, self._node(number, entry)) for number in here]
        asked = [(number, node) for number, node in asked if not impossible(node, entry)]
        likely = [self._conditions[number].possible for number in here] if entry.kind == "behaviours" else []
        likely = [node for node in likely if not impossible(node, entry)]
        indexed = self._indexed(entry) if held or held is None else []
        if not asked and not indexed and not likely:
            return None
        nodes = [node for _, node in asked] + likely
        bounded = self._since_ns is not None or self._until_ns is not None
        columns = {
            *_ALWAYS,
            *(_TIMES if bounded else ()),
            *indexed,
            *(name for node in nodes for name in fields_of(node)),
        }
        return _Plan(entry, asked, likely, indexed, held, [name for name in entry.columns if name in columns])

    def _file(self, plan: _Plan, table: pa.Table) -> Iterator[Hit]:
        """What is found in the columns of a file."""
        self.opened += 1
        within = self._within(table)
        found = [_pairs(number, mask(node, table) & within) for number, node in plan.asked]
        if plan.indexed:
            artifacts = mask(["exists", ARTIFACT, True], table) if plan.entry.kind == "events" else within
            found += self._look_up(table, plan.indexed, plan.held, within & artifacts)
        found = [pair for pair in found if len(pair[1])]
        shy, unsure = self._doubtful(table, plan.likely, within)
        if not found and not shy.any() and not unsure.any():
            return
        sums = read(self._archive, plan.entry, [name for name in plan.entry.columns if name in _SUMS])
        times, lasts = _times(sums)
        counts = _counts(sums)
        self.shy += int(counts[shy].sum())
        self.unsure += int(counts[unsure].sum())
        if found:
            numbers, rows = (np.concatenate(part) for part in zip(*found, strict=True))
            self._sum(numbers, rows, times, lasts, counts)
            yield from self._described(plan.entry, numbers, rows)

    def _node(self, number: int, entry: Entry) -> Node:
        it = self._conditions[number]
        return it.behaviours if entry.kind == "behaviours" else it.events

    def _indexed(self, entry: Entry) -> list[str]:
        """Columns in which indicators are looked for: who, of behaviours, where all is counted; of the blocks and files
        that crossed the wire, which are events, their hashes too.
        """
        if entry.kind == "behaviours":
            return [name for name in (*ADDRESSES, *MACS) if name in entry.columns]
        return [name for name in INDEXED if name in entry.columns] if ARTIFACT in entry.columns else []

    def _within(self, table: pa.Table) -> Mask:
        """Rows with events in the span that is asked about, as far as their first and last tell."""
        within = np.ones(table.num_rows, np.bool_)
        if self._since_ns is None and self._until_ns is None:
            return within
        times, lasts = _times(table)
        if self._since_ns is not None:
            within &= lasts >= self._since_ns
        if self._until_ns is not None:
            within &= times < self._until_ns
        return within

    def _look_up(self, table: pa.Table, names: list[str], held: set[bytes] | None, within: Mask) -> list[Pairs]:
        """Rows with a sought address or hash in one of these columns; each row once for each indicator."""
        found: list[Pairs] = []
        for name in names:
            encoded = table[name].unify_dictionaries().combine_chunks()
            codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            for code, text in enumerate(encoded.dictionary.to_pylist()):
                octets = term(text) if text is not None else None
                if octets is None or (held is not None and octets not in held):
                    continue
                rows = np.flatnonzero((codes == code) & within)
                for number in self._seekers(octets):
                    found.append((np.full(len(rows), number, np.int64), rows))
        if len(names) == 1 or len(found) <= 1:
            return found
        numbers, rows = (np.concatenate(part) for part in zip(*found, strict=True))
        both = np.unique(numbers * table.num_rows + rows)  # a row may name it at both ends
        return [(both // table.num_rows, both % table.num_rows)]

    def _seekers(self, octets: bytes) -> list[int]:
        """Numbers of the indicators that a term satisfies."""
        known = self._known.get(octets)
        if known is None:
            wide = [n for n in self._wide if self._covers(self._at(n), octets)]
            known = [*self._single.get(octets, ()), *wide]
            if len(self._known) < MAX_KNOWN:
                self._known[octets] = known
        return known

    @staticmethod
    def _covers(it: Condition | Sought, octets: bytes) -> bool:
        return isinstance(it, Sought) and len(it.low) == len(octets) and it.low <= octets <= it.high

    def _doubtful(self, table: pa.Table, likely: list[Node], within: Mask) -> tuple[Mask, Mask]:
        """Rows for `shy`, and for `unsure`."""
        shy = ["not", ["in", "archive.described", [True]]] if "archive.described" in table.column_names else FALSE
        return mask(shy, table) & within, mask(any_of(likely), table) & within

    def _sum(
        self,
        numbers: npt.NDArray[np.int64],
        rows: npt.NDArray[np.int64],
        times: npt.NDArray[np.int64],
        lasts: npt.NDArray[np.int64],
        counts: npt.NDArray[np.int64],
    ) -> None:
        for number in np.unique(numbers).tolist():
            mine = rows[numbers == number]
            total = self.totals.get(self.name(number))
            first, last = int(times[mine].min()), int(lasts[mine].max())
            if total is None:
                total = self.totals[self.name(number)] = Total(first_ns=first, last_ns=last)
            total.rows += len(mine)
            total.events += int(counts[mine].sum())
            total.first_ns, total.last_ns = min(total.first_ns, first), max(total.last_ns, last)
            total.files += 1

    def _described(self, entry: Entry, numbers: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> Iterator[Hit]:
        """The rows in full, by time, as far as they are wanted."""
        if self._left == 0:
            return
        table = read(self._archive, entry)
        order = np.argsort(nanoseconds(table, "@timestamp")[rows], kind="stable")[: self._left]
        lines = lines_of(table.take(pa.array(rows[order])))
        if self._left is not None:
            self._left -= len(lines)
        for number, line in zip(numbers[order].tolist(), lines, strict=True):
            yield Hit(self.name(number), self.title(number), entry.kind, line)

    def name(self, number: int) -> str:
        """Of a condition or indicator."""
        return self._at(number).name

    def title(self, number: int) -> str:
        """For people."""
        return self._at(number).title

    def _at(self, number: int) -> Condition | Sought:
        known = len(self._conditions)
        return self._conditions[number] if number < known else self._sought[number - known]


def _pairs(number: int, found: Mask) -> Pairs:
    rows = np.flatnonzero(found)
    return np.full(len(rows), number, np.int64), rows


def _times(table: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First and last time of each row."""
    times = nanoseconds(table, "@timestamp")
    return times, nanoseconds(table, "archive.last") if "archive.last" in table.column_names else times


def _counts(table: pa.Table) -> npt.NDArray[np.int64]:
    """How many events each row stands for."""
    if "archive.count" in table.column_names:
        return nanoseconds(table, "archive.count")
    return np.ones(table.num_rows, np.int64)
