"""Writing and reading the audit log: who changed what, when. Every change is written down with what it changes."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import event, func, select
from sqlalchemy.orm import Session, SessionTransaction

from console.services.actor import Actor, Role, scoped
from console.store.audit_chain import append, canonical
from console.store.models import AuditEntry, Organisation, Sensor, User
from console.store.storable import storable

MAX_DETAILS = 16_384  # characters of an entry's details; of larger ones their hash is kept
SHOWN = 100  # entries on a page
_DRAFTS = "audit drafts"  # in Session.info: (transaction in which it was recorded, entry without a place yet)


def record(
    session: Session,
    actor: Actor | Sensor | str,
    organisation_id: int,
    action: str,
    subject: str,
    details: Mapping[str, Any],
    now: datetime,
) -> None:
    """Write down an act in the transaction of what it changes: both are committed, or neither.

    actor: who; a string names a part of the console that acts by itself ("retention", "command line"), or says
    "<kind>:<id>" of whoever is none of these.
    action: "<noun>.<verb>" ("incident.closed"). subject: "<table>:<id>", "" where there is none. details: what JSON can
    carry and people may read for ever: no secret, no password, no key.

    The entry takes its place in the chain when the transaction commits, so that the chain's end is locked for a moment
    only, and always last. A savepoint that is rolled back takes its entries with it.
    """
    if isinstance(actor, Sensor):
        who, name = f"sensor:{actor.id}", actor.name
    elif isinstance(actor, str):
        who, name = actor if ":" in actor else f"system:{actor}", actor
    elif actor.user_id is None:
        who, name = "system:console", actor.name
    else:
        who, name = f"user:{actor.user_id}", actor.name
    text = canonical(dict(details))
    if len(text) > MAX_DETAILS:
        text = canonical(
            {"characters": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest(), "too_long": True}
        )
    draft = AuditEntry(
        organisation_id=organisation_id,
        at=now,
        actor=storable(who)[:80],
        actor_name=storable(name)[:200],
        action=storable(action)[:64],
        subject=storable(subject)[:200],
        details=text,
    )
    within = session.get_nested_transaction() or session.get_transaction()
    session.info.setdefault(_DRAFTS, []).append((within, draft))


@event.listens_for(Session, "before_commit")
def _append_drafts(session: Session) -> None:
    """Give the entries of the transaction their places; organisations in order, so that two cannot wait in a ring."""
    if session.in_nested_transaction() or not session.info.get(_DRAFTS):
        return
    by_organisation = defaultdict(list)
    for _, draft in session.info.pop(_DRAFTS):
        by_organisation[draft.organisation_id].append(draft)
    session.flush()
    for organisation_id in sorted(by_organisation):
        append(session, organisation_id, by_organisation[organisation_id])
    session.flush()


@event.listens_for(Session, "after_soft_rollback")
def _forget_rolled_back(session: Session, rolled_back: SessionTransaction) -> None:
    def inside(transaction: SessionTransaction | None) -> bool:
        while transaction is not None:
            if transaction is rolled_back:
                return True
            transaction = transaction.parent
        return False

    drafts = session.info.get(_DRAFTS, [])
    drafts[:] = [(within, draft) for within, draft in drafts if within is not None and not inside(within)]


@event.listens_for(Session, "after_transaction_end")
def _forget_abandoned(session: Session, ended: SessionTransaction) -> None:
    if ended.parent is None:
        session.info.pop(_DRAFTS, None)


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """What to look for: words of `action`, `actor_name` and `subject`; each "" for all. before: sequence, 0 the end."""

    action: str = ""
    actor: str = ""
    subject: str = ""
    before: int = 0


def listing(session: Session, actor: Actor, wanted: AuditFilter) -> tuple[Sequence[AuditEntry], bool]:
    """Up to SHOWN entries of the actor's organisation, newest first, and whether there are older ones."""
    actor.require(Role.ADMINISTRATOR)
    query = scoped(actor, AuditEntry)
    for column, words in (
        (AuditEntry.action, wanted.action),
        (AuditEntry.actor_name, wanted.actor),
        (AuditEntry.subject, wanted.subject),
    ):
        if words:
            query = query.where(func.lower(column).contains(storable(words).lower(), autoescape=True))
    if wanted.before > 0:
        query = query.where(AuditEntry.sequence < min(wanted.before, 2**62))
    found = session.scalars(query.order_by(AuditEntry.sequence.desc()).limit(SHOWN + 1)).all()
    return found[:SHOWN], len(found) > SHOWN


def record_failed_login(session: Session, login: str, address: str, now: datetime) -> None:
    """A login that failed goes into the log of the organisation whose user was tried; nobody else's is touched."""
    user = session.scalar(select(User).where(User.login == login.strip().lower()[:64]))
    if user is not None:
        details = {"address": address, "disabled": user.disabled_at is not None}
        record(session, "login", user.organisation_id, "login.failed", f"user:{user.id}", details, now)


def record_everywhere(session: Session, part: str, action: str, details: Mapping[str, Any], now: datetime) -> None:
    """An act on the whole installation (a restore): in the log of every organisation."""
    for organisation_id in session.scalars(select(Organisation.id).order_by(Organisation.id)).all():
        record(session, part, organisation_id, action, "", details, now)
