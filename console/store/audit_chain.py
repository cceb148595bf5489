"""The hash chain of the audit log: the canonical form of an entry, appending, verifying.

Each entry's hash covers the hash before it, so that whoever alters, deletes, inserts or reorders entries breaks the
chain at the first of them. Cutting off the tail, or writing a whole new chain, leaves a chain that agrees with itself:
that is what checkpoints are for (console.services.audit_checkpoints), which are kept elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, text
from sqlalchemy.orm import Session

from console.store.dialects import insert_new
from console.store.models.audit import AuditEntry, AuditHead

PRUNED = "audit.pruned"  # the entry that says which entries before it went by retention
CHUNK = 10_000  # rows fetched at a time


class Entry(NamedTuple):
    """What is hashed of an entry; at: RFC 3339 in UTC with microseconds; details: canonical JSON as text."""

    organisation: int
    sequence: int
    at: str
    actor: str
    actor_name: str
    action: str
    subject: str
    details: str


def canonical(value: Any) -> str:
    """JSON in its one form: sorted keys, no spaces, ASCII. What JSON does not know is written as its text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str, allow_nan=False)


def canonical_time(at: datetime) -> str:
    """A time as it is hashed: "2026-11-22T08:00:00.000000Z"."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seed(organisation: int) -> str:
    """What the first entry of a chain follows; differs between organisations, so that chains cannot be exchanged."""
    return hashlib.sha256(f"fenghuo audit chain of organisation {organisation}".encode()).hexdigest()


def entry_hash(previous: str, entry: Entry) -> str:
    """SHA-256 over the hash before it and the entry as a canonical JSON object, hex.

    The object is put together here, for this runs for each of millions of entries; it is what `canonical` gives.
    """
    form = (
        f'{previous}{{"action":{quoted(entry.action)},"actor":{quoted(entry.actor)},'
        f'"actor_name":{quoted(entry.actor_name)},"at":{quoted(entry.at)},"details":{entry.details},'
        f'"organisation":{entry.organisation},"sequence":{entry.sequence},"subject":{quoted(entry.subject)}}}'
    )
    return hashlib.sha256(form.encode("utf-8", "surrogatepass")).hexdigest()


def append(session: Session, organisation: int, drafts: Iterable[AuditEntry]) -> None:
    """Put entries, without sequence and hash yet, at the end of their organisation's chain.

    Appending takes turns: the row with the chain's end stays locked until the transaction ends.
    """
    here = select(AuditHead).where(AuditHead.organisation_id == organisation)
    locked = here.with_for_update().execution_options(populate_existing=True)
    head = session.scalar(locked)
    if head is None:  # the first entry; another transaction may be making the row in this moment
        begin = {"hash": seed(organisation), "base_hash": seed(organisation), "sequence": 0, "base_sequence": 0}
        session.execute(insert_new(session, AuditHead).values(organisation_id=organisation, **begin))
        head = session.scalars(locked).one()
    for draft in drafts:
        draft.sequence = head.sequence + 1
        draft.hash = entry_hash(
            head.hash,
            Entry(
                organisation,
                draft.sequence,
                canonical_time(draft.at),
                draft.actor,
                draft.actor_name,
                draft.action,
                draft.subject,
                draft.details,
            ),
        )
        head.sequence, head.hash = draft.sequence, draft.hash
        session.add(draft)


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing that is wrong with a chain: at which entry, and what."""

    sequence: int
    what: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What walking a chain gave. entries: how many were read and in order; first, last: their sequences."""

    organisation: int
    entries: int
    first: int
    last: int
    hash: str
    fault: Fault | None


def chains(connection: Connection) -> list[int]:
    """Ids of the organisations that have a chain."""
    found = connection.execute(
        text("SELECT organisation_id FROM audit_head UNION SELECT organisation_id FROM audit_entry ORDER BY 1")
    )
    return [row[0] for row in found]


def verify(
    connection: Connection,
    organisation: int,
    expected: dict[int, str] | None = None,
    progress: Callable[[int], None] = lambda _entries: None,
) -> Verified:
    """Walk one chain from its base to its end and compare it with the hashes of `expected` (by sequence).

    Reads one consistent state, CHUNK entries at a time; `progress` hears how many were read since it last heard.
    """
    head = connection.execute(
        text("SELECT sequence, hash, base_sequence, base_hash FROM audit_head WHERE organisation_id = :one"),
        {"one": organisation},
    ).first()
    if head is None:
        return Verified(organisation, 0, 0, 0, "", Fault(1, "the row that says where the chain ends is missing"))
    wanted = dict(expected or {})
    before, previous = head.base_sequence, head.base_hash
    count, base_named = 0, head.base_sequence == 0
    if base_named and previous != seed(organisation):
        return Verified(organisation, 0, 0, 0, "", Fault(1, "the chain begins with a seed that is not its own"))

    def stop(sequence: int, what: str) -> Verified:
        return Verified(organisation, count, head.base_sequence + 1, before, previous, Fault(sequence, what))

    told = 0
    for stored, entry in _rows(connection, organisation):
        if entry.sequence != before + 1:
            what = "an entry is missing" if entry.sequence > before + 1 else "an entry that is not of the chain"
            return stop(min(before + 1, entry.sequence), what)
        made = entry_hash(previous, entry)
        if made != stored:
            return stop(entry.sequence, "the entry is not what was written, or not in its place")
        if wanted and wanted.pop(entry.sequence, made) != made:
            return stop(entry.sequence, "a checkpoint says that another entry stood here")
        if not base_named and entry.action == PRUNED:
            base_named = f'"hash":"{head.base_hash}"' in entry.details and (
                f'"up_to":{head.base_sequence}}}' in entry.details
            )
        before, previous = entry.sequence, made
        count += 1
        if count - told >= CHUNK:
            progress(count - told)
            told = count
    progress(count - told)
    if (before, previous) != (head.sequence, head.hash):
        return stop(before + 1, f"the chain ends at entry {before}, it has ended at {head.sequence}")
    missing = [sequence for sequence in wanted if sequence > before]
    if missing:
        return stop(before + 1, f"the chain ends at entry {before}, a checkpoint has seen {max(missing)}")
    if not base_named:
        return stop(head.base_sequence + 1, "the entries before it are gone, and none says that retention deleted them")
    return Verified(organisation, count, head.base_sequence + 1, before, previous, None)


def _rows(connection: Connection, organisation: int) -> Iterator[tuple[str, Entry]]:
    """Entries by sequence with their hashes; the time as it is hashed is made by the database where that is faster."""
    if connection.dialect.name == "sqlite":
        at = "substr(at, 1, 10) || 'T' || substr(at, 12) || 'Z'"
    else:
        at = "to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
    query = (
        f"SELECT hash, organisation_id, sequence, {at}, actor, actor_name, action, subject, details FROM audit_entry "  # noqa: S608
        "WHERE organisation_id = :one ORDER BY sequence"
    )
    found = connection.execution_options(stream_results=True, max_row_buffer=CHUNK).execute(
        text(query), {"one": organisation}
    )
    while rows := found.fetchmany(CHUNK):
        for row in rows:
            yield row[0], Entry._make(row[1:])
