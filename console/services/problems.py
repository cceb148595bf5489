"""Records of a batch into rows of `finding`: records of one problem are counted into one row, many rows at a time.

Past the unit of work: objects for each row would take most of the time that a batch holds the store.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from console.services import drafts, hooks
from console.services.drafts import Draft
from console.services.intake import FindingRecord
from console.services.new_finding import NewFinding
from console.store.base import table_of
from console.store.many import insert_many, update_many
from console.store.models import Finding, FindingEvidence, Sensor
from console.store.search import embedded
from console.store.search.document import tokens

MERGE_WITHIN = timedelta(hours=24)  # records of one problem whose first events are closer than this are one row
ROW = table_of(Finding)
COUNTED = ("id", "fingerprint", "first_seen", "last_seen", "count", "severity", "rule_id")


@dataclass(slots=True)
class _Problem:
    """A row while records are counted into it. row_id: None until it is stored. changed: what is to be written."""

    row_id: int | None
    values: dict[str, Any]
    first: Draft | None = None
    changed: dict[str, Any] = field(default_factory=dict)


def store(session: Session, sensor: Sensor, arrived: Sequence[Draft], now: datetime) -> list[int]:
    """Count each record into its row, made where the problem is new; gives the rows' ids, one for each record."""
    if not arrived:
        return []
    by_fingerprint = _known(session, sensor, [draft.record for draft in arrived])
    here = {
        "organisation_id": sensor.organisation_id,
        "sensor_id": sensor.id,
        "received_at": now,
        "updated_at": now,
        "drill": sensor.drill,
    }
    counted: list[_Problem] = []
    for draft in arrived:
        record = draft.record
        problem = _nearest(record, by_fingerprint[record.fingerprint])
        if problem is None:
            problem = _Problem(None, draft.values() | here, draft)
            by_fingerprint[record.fingerprint].append(problem)
        else:
            _count_into(problem, record, now)
        counted.append(problem)
    touched = list({id(problem): problem for problem in counted}.values())
    made = [problem for problem in touched if problem.first is not None]
    _update(session, [problem for problem in touched if problem.first is None])
    _insert(session, sensor, made)
    new = [NewFinding.of(problem.values | {"id": problem.row_id}, sensor.segment_id) for problem in made]
    ids = [problem.row_id or 0 for problem in counted]
    if new:
        for on_new in hooks.ON_NEW_FINDINGS:
            on_new(session, new, now)
    return ids


def seen(session: Session, sensor_id: int, arrived: Sequence[Draft]) -> set[str]:
    """Fingerprints of those that would be counted into rows that stand already, as far as can be told beforehand."""
    if not arrived:
        return set()
    rows = session.scalars(
        select(ROW.c.fingerprint).where(
            ROW.c.sensor_id == sensor_id,
            ROW.c.fingerprint.in_({draft.record.fingerprint for draft in arrived}),
            ROW.c.first_seen > min(draft.record.first_seen for draft in arrived) - MERGE_WITHIN,
        )
    )
    return set(rows)


def _known(session: Session, sensor: Sensor, records: Sequence[FindingRecord]) -> defaultdict[str, list[_Problem]]:
    """By fingerprint: rows that any of the records could be counted into."""
    found: defaultdict[str, list[_Problem]] = defaultdict(list)
    earliest = min(record.first_seen for record in records) - MERGE_WITHIN
    rows = session.execute(
        select(*(ROW.c[name] for name in COUNTED)).where(
            ROW.c.sensor_id == sensor.id,
            ROW.c.fingerprint.in_({record.fingerprint for record in records}),
            ROW.c.first_seen > earliest,
        )
    )
    for row in rows:
        found[row[1]].append(_Problem(row[0], dict(zip(COUNTED, row, strict=True))))
    return found


def _nearest(record: FindingRecord, problems: Iterable[_Problem]) -> _Problem | None:
    def distance(problem: _Problem) -> timedelta:
        first_seen: datetime = problem.values["first_seen"]
        return abs(first_seen - record.first_seen)

    nearest = min(problems, key=distance, default=None)
    return nearest if nearest is not None and distance(nearest) < MERGE_WITHIN else None


def _insert(session: Session, sensor: Sensor, problems: Sequence[_Problem]) -> None:
    """Store new rows and their evidence; gives each its id."""
    if not problems:
        return
    # Asking each row for its id as it is stored costs more than storing it. Ids grow, so ours are above the highest.
    highest = session.scalar(select(func.max(ROW.c.id))) or 0
    insert_many(session, ROW, [problem.values for problem in problems])
    # Whose they are is looked at here: asked for a sensor's rows, SQLite would go through all that it ever had.
    latest = select(ROW.c.uid, ROW.c.id, ROW.c.sensor_id).where(ROW.c.id > highest)
    ids = {row.uid: row.id for row in session.execute(latest) if row.sensor_id == sensor.id}
    for problem in problems:
        problem.row_id = ids[problem.values["uid"]]
    insert_many(session, table_of(FindingEvidence), [_evidence(problem) for problem in problems])
    embedded.add_lines(session, [(ids[problem.values["uid"]], _words(problem)) for problem in problems])


def _words(problem: _Problem) -> str:
    """Tokens of a new row; another record of the batch may have changed what the first one said."""
    draft = problem.first
    assert draft is not None
    return tokens(SimpleNamespace(**problem.values)) if embedded.TOKENISED & problem.changed.keys() else draft.words()


def _update(session: Session, problems: Sequence[_Problem]) -> None:
    """Write what has changed: one statement for all rows in which the same columns did."""
    alike: defaultdict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for problem in problems:
        alike[tuple(sorted(problem.changed))].append(problem.changed | {"id": problem.row_id})
    for rows in alike.values():
        update_many(session, ROW, rows)
    embedded.renew(session, [problem.row_id for problem in problems if embedded.TOKENISED & problem.changed.keys()])


def _evidence(problem: _Problem) -> dict[str, Any]:
    draft = problem.first
    assert draft is not None
    return {
        "organisation_id": problem.values["organisation_id"],
        "finding_id": problem.row_id,
        **draft.evidence(),
    }


def _count_into(problem: _Problem, record: FindingRecord, now: datetime) -> None:
    """Only what differs is written: a column that is named has its indexes written, whatever its value."""
    old = problem.values
    new: dict[str, Any] = {"count": old["count"] + record.count, "updated_at": now}
    if record.first_seen < old["first_seen"]:
        new["first_seen"] = record.first_seen
    if record.last_seen > old["last_seen"]:
        new["last_seen"] = record.last_seen
    if int(record.severity) > old["severity"]:
        new["severity"] = int(record.severity)
    if int(record.severity) >= old["severity"] and record.risk is not None:  # the equation is that of the level shown
        new["risk"] = drafts.risk(record)
    if record.rule_id != old["rule_id"]:  # it turned out to be more: the stop was the first step of a download
        new |= drafts.rule(record)
    if record.rule_id.startswith("engineering."):  # each record tells all steps so far
        new |= drafts.told(record)
    problem.values |= new
    problem.changed |= new
