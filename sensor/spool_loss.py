"""Losses: findings that the spool had to give up, as records that stand in their place and count them exactly.

What is lost keeps its sequence: a record stands for the whole range, so that the console sees no gap and counts by rule
and severity what it never got. Nobody ever alters what the console may have seen already.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sensor.spool_files import HIGH, LOSS, Record

MAX_SPAN = 100_000  # sequences of one loss: what the console takes in one record
MAX_TALLY = 400  # rules and severities of one loss that are told apart; the others are summed up
OTHERS = "other"  # under this name
NOTHING = -1  # no finding has this severity
SHED, DAMAGED, MISSING = "shed", "damaged", "missing"

Tally = Mapping[tuple[str, int], tuple[int, int]]  # (rule, severity): (findings, events)


class Loss(NamedTuple):
    """Findings that are lost. first, last: their sequences, both included.

    why: SHED to make room, DAMAGED on disk, or MISSING (never arrived over a one-way link). begun_s, ended_s: when,
    seconds since 1970. tally: how many findings, and how many events they counted, by rule and severity; empty where
    nobody can know.
    """

    first: int
    last: int
    why: str
    begun_s: float
    ended_s: float
    tally: Tally

    @property
    def findings(self) -> int:
        """How many findings are lost."""
        return self.last - self.first + 1


def record_of(loss: Loss) -> Record:
    """The loss as it stands in a segment."""
    tally = [[rule, severity, *counts] for (rule, severity), counts in sorted(loss.tally.items())]
    line = json.dumps({"begun_s": loss.begun_s, "ended_s": loss.ended_s, "tally": tally}, separators=(",", ":"))
    events = sum(counts[1] for counts in loss.tally.values())
    return Record(loss.last, line.encode(), LOSS, loss.why, events, loss.findings)


def loss_of(record: Record) -> Loss:
    """The loss that a record of one holds."""
    value = json.loads(record.line)
    tally = {(rule, severity): (findings, events) for rule, severity, findings, events in value["tally"]}
    return Loss(record.first, record.sequence, record.rule, value["begun_s"], value["ended_s"], tally)


def joined(left: Tally, right: Tally) -> Tally:
    """Both tallies in one, at most MAX_TALLY entries and one more for each severity."""
    sums = dict(left)
    for (rule, severity), (findings, events) in right.items():
        key = (rule, severity)
        if key not in sums and len(sums) >= MAX_TALLY:
            key = (OTHERS, severity)
        before = sums.get(key, (0, 0))
        sums[key] = (before[0] + findings, before[1] + events)
    return sums


class Shedding(NamedTuple):
    """What to give up. severity: findings of this weight. at_s: now. seen: up to this sequence the console may have
    single ones of them, which therefore stay losses of their own. least_bytes: the oldest, until so much is freed.
    """

    severity: int
    at_s: float
    seen: int = 0
    least_bytes: int | None = None


def without(records: Sequence[Record], shedding: Shedding) -> list[Record]:
    """Records in order, with losses in the place of those that are given up. What adjoins becomes one loss."""
    kept: list[Record] = []
    running: Loss | None = None
    freed = 0

    def close() -> None:
        nonlocal running
        if running is not None:
            kept.append(record_of(running))
            running = None

    for record in records:
        enough = shedding.least_bytes is not None and freed >= shedding.least_bytes
        if record.severity == LOSS:
            loss = loss_of(record)
        elif record.severity == shedding.severity and not enough:
            freed += len(record.line)
            tally = {(record.rule, record.severity): (1, record.events)}
            loss = Loss(record.sequence, record.sequence, SHED, shedding.at_s, shedding.at_s, tally)
        else:
            close()
            kept.append(record)
            continue
        if running is not None and _may_join(running, loss, shedding.seen):
            running = running._replace(
                last=loss.last,
                begun_s=min(running.begun_s, loss.begun_s),
                ended_s=max(running.ended_s, loss.ended_s),
                tally=joined(running.tally, loss.tally),
            )
        else:
            close()
            running = loss
    close()
    return kept


def joined_losses(records: Sequence[Record], seen: int) -> list[Record]:
    """Records in order; losses that adjoin become one."""
    return without(records, Shedding(NOTHING, 0.0, seen))


def _may_join(left: Loss, right: Loss, seen: int) -> bool:
    adjoin = left.why == right.why == SHED and left.last + 1 == right.first
    return adjoin and right.last - left.first < MAX_SPAN and _unseen(left, seen) and _unseen(right, seen)


def _unseen(loss: Loss, seen: int) -> bool:
    """Whether none of these findings was sent ahead of its turn: only grave ones are."""
    return loss.first > seen or all(severity < HIGH for _, severity in loss.tally)
