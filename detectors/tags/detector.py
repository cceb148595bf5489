"""Values outside engineering limits, written or read, and values that change faster than they can.

Tags and their limits come from a file (detectors/tags/file.py). A behaviour is looked at once, when it is new: where in
its PDUs values of tags stand (detectors/tags/places.py); then they are decoded by columns, whatever their number.
Points of DNP3 and IEC 104 stand anywhere in a message: those of devices with tags are explained one by one, at most
MAX_EXPLAINED a batch. Blind to values in functions that carry them in other ways (Modbus 22, 23; S7 by symbols), to
half of a 32-bit value that is written alone, and to whether a device accepted a write. Techniques: T0836, T0831.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors import knowledge
from detectors.baseline.tables import Hosts
from detectors.contract import Fresh, Labels, Scene, alike, ends, station_of
from detectors.finding import Finding, Text
from detectors.problem import Problem
from detectors.tags.file import Tag
from detectors.tags.places import Place, Points, modbus, modbus_space, s7comm
from detectors.wording import listed, safe
from sensor.decode.pdu import Outcome, Protocol
from sensor.events import EventBatch
from sensor.operations import Verb

MAX_PLANS = 65_536  # behaviours with values of tags; of further ones nothing is decoded, which is told
MAX_EXPLAINED = 256  # events of DNP3 and IEC 104 explained in one batch, about 100 us each
MAX_PROBLEMS = 4096
MAX_NAMED = 8  # values named for one problem
FASTEST_S = 0.01  # values closer in time are taken as this far apart
_NUMBER = r"(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
_DNP3 = re.compile(rf"g(\d+)v\d+ point (\d+): (?:{_NUMBER}\b|(close|trip|latch on|latch off|pulse on|pulse off)\b).*")
_GROUPS = {"ai": (30, 32), "ao": (40, 41, 42, 43), "bi": (1, 2, 3, 4), "bo": (10, 11, 12, 13), "ctr": (20, 21, 22, 23)}
_SPACE_OF = {group: space for space, groups in _GROUPS.items() for group in groups}
_STATES = {"close": 1.0, "latch on": 1.0, "pulse on": 1.0, "trip": 0.0, "latch off": 0.0, "pulse off": 0.0,
           "on": 1.0, "off": 0.0}  # fmt: skip
_EXPLAINED = (Protocol.DNP3, Protocol.IEC104)


class _Claim:
    """One tag that one host pushed, or that was read, beyond what it may be."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.values: dict[str, None] = {}

    def note(self, value: float) -> None:
        """Name a value."""
        if len(self.values) <= MAX_NAMED:
            self.values["…" if len(self.values) == MAX_NAMED else f"{value:.6g}"] = None


class Tags:
    """See the module."""

    name = "tags"

    def __init__(self, tags: Sequence[Tag]) -> None:
        self._tags = list(tags)
        self._rules = knowledge.detector_rules()
        self._hosts = Hosts(sorted({tag.device for tag in tags}))
        self._points = _by_device(self._tags, self._hosts.addresses)
        self._fresh = Fresh()
        self._plan_of, self._explained = Labels(), Labels()  # by behaviour
        self._plans: list[tuple[int, int]] = []  # where a behaviour's places begin and end in the columns below
        self._places: list[Place] = []
        self._columns: dict[str, npt.NDArray[np.int64]] = {}
        self._bounds = np.zeros((0, 2), np.int64)
        self._kinds = np.array([_KINDS[tag.type] for tag in tags], np.int8)
        self._scale, self._low, self._high, self._rate = (
            np.array([getattr(tag, name) for tag in tags], np.float64) for name in ("scale", "low", "high", "rate")
        )
        self._last = np.full(2 * len(tags), np.nan)  # read, written
        self._last_ns = np.zeros(2 * len(tags), np.int64)
        self._claims: dict[tuple[object, ...], _Claim] = {}
        self._unread: Problem | None = None

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        if not self._tags:
            return ()
        self._learn(scene)
        if batch.size:
            self._decode(batch, scene)
            self._explain(batch, scene)
        return self._say(scene, final=False)

    def flush(self, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        return self._say(scene, final=True)

    def _learn(self, scene: Scene) -> None:
        """Plan where values stand in behaviours that are new."""
        view = scene.view
        table = view.behaviours.table
        new = self._fresh.rows(table)
        if not len(new):
            return
        b = table.take(new)
        server = self._hosts.numbers(view, b["server"])
        carries = (b["outcome"] == Outcome.ASKED) | (b["outcome"] == Outcome.ANSWERED) | (
            b["outcome"] == Outcome.UNSOLICITED
        )  # fmt: skip
        here = np.flatnonzero((server >= 0) & carries)
        begun = len(self._places)
        for row, device in zip(new[here].tolist(), server[here].tolist(), strict=True):
            one = table[row]
            if int(one.protocol) in _EXPLAINED:
                self._explained[row] = device
                continue
            if len(self._plans) >= MAX_PLANS:
                self._miss(scene, 1, int(one.first_ns))
                continue
            places = list(self._plan(scene, row, one, device))
            if places:
                self._plan_of[row] = len(self._plans)
                self._plans.append((len(self._places), len(self._places) + len(places)))
                self._places += places
        if len(self._places) > begun:
            self._compile()

    def _plan(self, scene: Scene, row: int, b: Any, device: int) -> Iterator[Place]:
        """Where values of tags stand in the PDUs of a behaviour."""
        writes = b.outcome == Outcome.ASKED
        if b.protocol in (Protocol.MODBUS, Protocol.MODBUS_RTU):
            known = modbus_space(b)
            for station in (int(b.station), None):
                points = self._points.get((device, Protocol.MODBUS, station), {}).get(known[0] if known else "")
                if points and known:
                    yield from modbus(b, points, known[1])
        elif b.protocol == Protocol.S7COMM and (b.function == 5 if writes else b.function == 4):
            request, pdu = scene.view.sample(row if writes else int(b.asked)), scene.view.sample(row)
            spaces = self._points.get((device, Protocol.S7COMM, None))
            if request and pdu and spaces:
                yield from s7comm(request, pdu, spaces, writes=writes)

    def _compile(self) -> None:
        """Places as columns."""
        octets = np.array([it.octets for it in self._places], np.int64)
        self._columns = {f"octet{k}": octets[:, k] for k in range(4)}
        for name in ("tag", "shift", "length", "header", "expected"):
            self._columns[name] = np.array([getattr(it, name) for it in self._places], np.int64)
        self._bounds = np.array(self._plans, np.int64)

    def _decode(self, batch: EventBatch, scene: Scene) -> None:
        """Values of all tags in a batch, by columns."""
        columns = batch.columns
        plan = self._plan_of[columns.behaviour]
        rows = np.flatnonzero(plan >= 0)
        if not len(rows):
            return
        bounds = self._bounds[plan[rows]]
        counts = bounds[:, 1] - bounds[:, 0]
        row = np.repeat(rows, counts)
        place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(bounds[:, 0], counts)
        c = {name: column[place] for name, column in self._columns.items()}
        length = columns.pdu_length[row]
        reach = np.maximum.reduce([c[f"octet{k}"] for k in range(4)])
        sound = (reach < length) & ((c["length"] < 0) | (c["length"] == length))
        row, c = row[sound], {name: column[sound] for name, column in c.items()}
        at = columns.pdu_at[row].astype(np.int64)
        raw = _number(batch, at, [c[f"octet{k}"] for k in range(4)])
        checked = np.flatnonzero(c["header"] >= 0)
        if len(checked):
            header = c["header"][checked]
            seen = _number(batch, at[checked], [header, header + 1, header + 2, header + 3])
            wrong = checked[seen != c["expected"][checked]]
            keep = np.ones(len(row), np.bool_)
            keep[wrong] = False
            if len(wrong):
                self._miss(scene, len(wrong), int(columns.ts_ns[row[wrong[0]]]))
            row, raw, c = row[keep], raw[keep], {name: column[keep] for name, column in c.items()}
        tag = c["tag"]
        value = _values(raw, self._kinds[tag], c["shift"]) * self._scale[tag]
        self._judge(batch, scene, row, tag, value, columns.outcome[row] == Outcome.ASKED)

    def _explain(self, batch: EventBatch, scene: Scene) -> None:
        """Values of points that stand anywhere in a message."""
        device = self._explained[batch.columns.behaviour]
        rows = np.flatnonzero(device >= 0)
        if len(rows) > MAX_EXPLAINED:
            self._miss(scene, len(rows) - MAX_EXPLAINED, int(batch.columns.ts_ns[rows[MAX_EXPLAINED]]))
        found: list[tuple[int, int, float, bool]] = []
        for row in rows[:MAX_EXPLAINED].tolist():
            protocol = Protocol(int(batch.columns.protocol[row]))
            station = station_of(protocol, int(batch.columns.station[row]))
            fields = scene.view.fields(batch, row)
            for at in (station, None):
                spaces = self._points.get((int(device[row]), protocol, at))
                if spaces:
                    writes = fields.get("event.action") in (Verb.WRITE, Verb.COMMAND)
                    found += [(row, number, value, writes) for number, value in _explained(fields, spaces)]
        if found:
            told, tag, value, written = (np.array(column) for column in zip(*found, strict=True))
            self._judge(batch, scene, told, tag, value * self._scale[tag], written)

    def _judge(
        self, batch: EventBatch, scene: Scene, row: npt.NDArray[np.int64], tag: npt.NDArray[np.int64],
        value: npt.NDArray[np.float64], writes: npt.NDArray[np.bool_],
    ) -> None:  # fmt: skip
        """Compare values with limits and with what stood there before."""
        with np.errstate(invalid="ignore", over="ignore"):
            outside = ~((value >= self._low[tag]) | np.isnan(self._low[tag])) | ~(
                (value <= self._high[tag]) | np.isnan(self._high[tag])
            )
            for rule, which in (
                ("tag.limit-written", outside & writes),
                ("tag.limit-read", outside & ~writes),
                ("tag.rate", self._jumps(batch, row, 2 * tag + writes, value)),
            ):
                at = np.flatnonzero(which)
                for same in alike([tag[at], batch.columns.behaviour[row[at]]]):
                    mine = at[same]
                    self._claim(batch, scene, rule, row[mine], int(tag[mine[0]]), value[mine])

    def _jumps(
        self, batch: EventBatch, row: npt.NDArray[np.int64], key: npt.NDArray[np.int64], value: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.bool_]:
        """Which values that changed faster than their tag may. key: 2 * tag, + 1 where it was written."""
        order = np.lexsort((row, key))
        key, value, times = key[order], value[order], batch.columns.ts_ns[row[order]]
        begins = np.concatenate([[True], key[1:] != key[:-1]])
        before = np.where(begins, self._last[key], np.concatenate([[np.nan], value[:-1]]))
        then = np.where(begins, self._last_ns[key], np.concatenate([[0], times[:-1]]))
        seconds = np.maximum((times - then) / 1e9, FASTEST_S)
        jumps = np.abs(value - before) > self._rate[key >> 1] * seconds
        ends = np.concatenate([begins[1:], [True]])
        self._last[key[ends]], self._last_ns[key[ends]] = value[ends], times[ends]
        found = np.zeros(len(row), np.bool_)
        found[order] = jumps
        return found

    def _claim(
        self, batch: EventBatch, scene: Scene, rule: str, rows: npt.NDArray[np.int64], number: int,
        values: npt.NDArray[np.float64],
    ) -> None:  # fmt: skip
        """Values of one tag in events of one behaviour."""
        times = batch.columns.ts_ns[rows]
        behaviour = int(batch.columns.behaviour[rows[0]])
        b = scene.view.behaviours.table[behaviour]
        key: tuple[object, ...] = (rule, int(b.client), number)
        if key not in self._claims:
            if len(self._claims) >= MAX_PROBLEMS:
                self._miss(scene, len(rows), int(times[0]))
                return
            self._claims[key] = _Claim(self._problem(scene, rule, behaviour, self._tags[number]))
        it = self._claims[key]
        for value in values[: 2 * MAX_NAMED].tolist():
            it.note(value)
        it.problem.add(len(rows), int(times.min()), int(times.max()))
        scene.show(it.problem.exhibit, batch, rows.tolist())

    def _problem(self, scene: Scene, rule: str, behaviour: int, tag: Tag) -> Problem:
        b = scene.view.behaviours.table[behaviour]
        fields = scene.view.behaviours.describe(behaviour)
        problem = Problem(
            self._rules[rule], scene.exhibit(), protocol=fields["network.protocol"], **ends(fields),
            station=station_of(int(b.protocol), int(b.station)), fields={"tag.name": tag.name},
        )  # fmt: skip
        low, high = (None if np.isnan(it) else f"{it:.6g}" for it in (tag.low, tag.high))
        limit = Text(
            "，".join([f"下限 {low}"] * (low is not None) + [f"上限 {high}"] * (high is not None)),
            ", ".join([f"low {low}"] * (low is not None) + [f"high {high}"] * (high is not None)),
        )
        if rule == "tag.rate":
            limit = Text(f"每秒最多变化 {tag.rate:.6g}", f"at most {tag.rate:.6g} a second")
        problem.values = {"tag": safe(tag.name), "point": safe(tag.point), "limit": limit}
        return problem

    def _miss(self, scene: Scene, count: int, ts_ns: int) -> None:
        """Count values that were not decoded."""
        if self._unread is None:
            self._unread = Problem(self._rules["tag.unread"], scene.exhibit(), protocol="")
        self._unread.add(count, ts_ns, ts_ns)

    def _say(self, scene: Scene, *, final: bool) -> Iterator[Finding]:
        for it in self._claims.values():
            if it.problem.open and (final or it.problem.due(scene.now_ns)):
                yield it.problem.record(scene.now_ns, {"value": listed(list(it.values), limit=MAX_NAMED + 1)})
        if self._unread and self._unread.open and (final or self._unread.due(scene.now_ns)):
            yield self._unread.record(scene.now_ns, {})


_KINDS = {"bool": 0, "uint8": 1, "uint16": 2, "int16": 3, "uint32": 4, "int32": 5, "float32": 6}
_MASKS = np.array([0xFF, 0xFF, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF], np.int64)


def _by_device(
    tags: Sequence[Tag], addresses: Sequence[str]
) -> Mapping[tuple[int, Protocol, int | None], dict[str, Points]]:
    """Points by device, protocol and station, then by space. S7 has no stations."""
    number = {address: at for at, address in enumerate(addresses)}
    groups: dict[tuple[int, Protocol, int | None], dict[str, list[tuple[int, Tag]]]] = {}
    for at, tag in enumerate(tags):
        station = None if tag.protocol == Protocol.S7COMM else tag.station
        spaces = groups.setdefault((number[tag.device], tag.protocol, station), {})
        spaces.setdefault(tag.space, []).append((at, tag))
    return {key: {space: Points(it) for space, it in spaces.items()} for key, spaces in groups.items()}


def _number(
    batch: EventBatch, at: npt.NDArray[np.int64], octets: Sequence[npt.NDArray[np.int64]]
) -> npt.NDArray[np.int64]:
    """Four octets of each PDU as one number; at: `pdu_at` of each."""
    raw = np.zeros(len(at), np.int64)
    for offsets in octets:
        octet = np.zeros(len(at), np.int64)
        whole = at >= 0
        octet[whole] = batch.frames[at[whole] + offsets[whole]]
        octet[~whole] = batch.assembled[~at[~whole] + offsets[~whole]]
        raw = raw << 8 | octet
    return raw


def _values(
    raw: npt.NDArray[np.int64], kind: npt.NDArray[np.int8], shift: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Numbers out of octets. kind: of _KINDS."""
    number = raw & _MASKS[kind]
    value = number.astype(np.float64)
    bits = kind == 0
    value[bits] = number[bits] >> shift[bits] & 1
    for signed, size in ((3, 16), (5, 32)):
        negative = (kind == signed) & (number >> (size - 1) == 1)
        value[negative] -= 1 << size
    real = kind == 6
    value[real] = number[real].astype(np.uint32).view(np.float32)
    return value


def _explained(fields: Mapping[str, Any], spaces: Mapping[str, Points]) -> Iterator[tuple[int, float]]:
    """(tag, value) of the points in an explained message."""
    for point in fields.get("dnp3.points", ()):
        match = _DNP3.fullmatch(str(point))
        space = spaces.get(_SPACE_OF.get(int(match[1]), "")) if match else None
        if match and space:
            value = float(match[3]) if match[3] is not None else _STATES[match[4]]
            yield from ((number, value) for number, _ in space.within(int(match[2]), int(match[2])))
    if "ioa" in spaces:
        for address, shown in zip(fields.get("iec104.addresses", ()), fields.get("iec104.values", ()), strict=False):
            try:
                value = _STATES[shown] if shown in _STATES else float(shown)
            except ValueError:
                continue
            yield from ((number, value) for number, _ in spaces["ioa"].within(int(address), int(address)))
