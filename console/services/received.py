"""What other consoles sent: from STIX objects to bulletins, indicators and rows of the own collection.

Every object that keeps the rules is kept as it came, under the label it came with; the collection gives it on only as
far as that label lets a recipient. Taking in the same objects twice changes nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from console.services import receipts
from console.services.bulletins import Origin, State
from console.sharing import collection
from console.sharing.collection import NewObject, Outcome
from console.sharing.document import Notice
from console.sharing.hostile import BadContentError, time_text
from console.sharing.stix_import import ReceivedObject, read_indicator, read_report, references, sort_out
from console.sharing.tlp import Held
from console.store.models import (
    Bulletin,
    BulletinRecipient,
    BulletinReference,
    Indicator,
    SharedObject,
    Subscription,
)


def take_in(
    session: Session,
    subscription: Subscription,
    objects: Sequence[Any],
    now: datetime,
    definitions: Sequence[Mapping[str, Any]] = (),
) -> Counter[str]:
    """Store objects that a subscription brought. Gives counts by outcome: "added", "known", "unknown type", ...

    definitions: marking definitions that came with them and are stored with others. Never raises for what the objects
    are.
    """
    shared = collection.ensure(session, subscription.organisation_id, now)
    sorted_out = sort_out(objects, [*definitions, *_definitions(session, subscription, objects)])
    new = [_new(received, subscription) for received in sorted_out.objects]
    outcomes = collection.add(session, shared, new, now)
    counts: Counter[str] = Counter(outcome.value for outcome in outcomes)
    counts.update({f"rejected: {reason}": n for reason, n in sorted_out.rejected.items()})
    if sorted_out.unknown:
        counts["unknown type"] = sorted_out.unknown
    fresh = [item for item, outcome in zip(sorted_out.objects, outcomes, strict=True) if outcome is Outcome.ADDED]
    newest = collection.newest_versions(session, shared, {item.stix_id for item in fresh})
    # An older version that comes late is kept, and changes nothing.
    added = [item for item in fresh if item.version is None or newest[item.stix_id] == time_text(item.version)]
    _store_indicators(session, subscription, [item for item in added if item.stix_type == "indicator"], now)
    touched: dict[int, Bulletin] = {}
    for received in added:
        if received.stix_type == "report" and (bulletin := _store_report(session, subscription, received, now, counts)):
            touched[bulletin.id] = bulletin
    arrived = {name: None for received in added for name in (received.stix_id, received.about) if name}
    for bulletin in _referring(session, subscription, list(arrived)):
        touched[bulletin.id] = bulletin
    for bulletin in touched.values():
        _assemble(session, bulletin, subscription)
    session.flush()
    return counts


def parts_of(session: Session, bulletin: Bulletin) -> list[SharedObject]:
    """Newest versions of a received bulletin's report and of what it refers to, in the order of their arrival."""
    referred = select(BulletinReference.stix_id).where(BulletinReference.bulletin_id == bulletin.id)
    rows = session.scalars(
        select(SharedObject)
        .where(
            SharedObject.organisation_id == bulletin.organisation_id,
            or_(
                SharedObject.stix_id == bulletin.stix_id,
                SharedObject.stix_id.in_(referred),
                SharedObject.about == bulletin.stix_id,
                SharedObject.about.in_(referred),
            ),
            # Only what the bulletin's own source brought: nobody else writes into its text.
            SharedObject.subscription_id == bulletin.subscription_id,
        )
        .order_by(SharedObject.sequence)
    )
    newest: dict[str, SharedObject] = {}
    for row in rows:
        if row.stix_id not in newest or row.version >= newest[row.stix_id].version:
            newest[row.stix_id] = row
    return list(newest.values())


def _new(received: ReceivedObject, subscription: Subscription) -> NewObject:
    return NewObject(
        stix_id=received.stix_id,
        stix_type=received.stix_type,
        version=received.version,
        spec_version="2.1",
        tlp=received.tlp,
        held=Held.AS_RECIPIENT,
        body=received.body,
        subscription_id=subscription.id,
        about=received.about,
    )


def _definitions(session: Session, subscription: Subscription, objects: Sequence[Any]) -> list[dict[str, Any]]:
    """Marking definitions that came earlier and that these objects refer to."""
    listed = [
        ref
        for thing in objects
        if isinstance(thing, dict) and isinstance(thing.get("object_marking_refs"), list)
        for ref in thing["object_marking_refs"]
        if isinstance(ref, str) and len(ref) <= 300
    ]
    found: list[dict[str, Any]] = []
    for some in collection.batched(sorted(set(listed))):
        rows = session.scalars(
            select(SharedObject.body).where(
                SharedObject.organisation_id == subscription.organisation_id,
                SharedObject.stix_type == "marking-definition",
                SharedObject.stix_id.in_(some),
            )
        )
        found += [json.loads(body) for body in rows]
    return found


def _store_indicators(
    session: Session, subscription: Subscription, added: Sequence[ReceivedObject], now: datetime
) -> None:
    """New versions of indicators take the place of what older ones said."""
    for some in collection.batched([received.stix_id for received in added]):
        session.execute(
            delete(Indicator)
            .where(
                Indicator.organisation_id == subscription.organisation_id,
                Indicator.subscription_id == subscription.id,
                Indicator.stix_id.in_(some),
            )
            .execution_options(synchronize_session=False)  # none of them is in the session yet
        )
    newest = {received.stix_id: received for received in added}
    for received in newest.values():
        _store_indicator(session, subscription, received, now)


def _store_indicator(session: Session, subscription: Subscription, received: ReceivedObject, now: datetime) -> None:
    """One row for each match, or one that says why sensors cannot use it."""
    read = read_indicator(received.data)
    common: dict[str, Any] = {
        "organisation_id": subscription.organisation_id,
        "subscription_id": subscription.id,
        "stix_id": received.stix_id,
        "pattern": read.pattern,
        "pattern_type": read.pattern_type,
        "unusable": read.unusable[:60],
        "tlp": int(received.tlp),
        "revoked": read.revoked,
        "valid_until": read.valid_until,
        "created_at": now,
    }
    for position, match in enumerate(read.matches):
        session.add(
            Indicator(
                **common,
                position=position,
                type=match.type,
                value={"value": match.value},
                operation_id=match.operation_id,
                text=match.text[:1000],
            )
        )
    if not read.matches:
        session.add(Indicator(**common, type="", value={}, text=read.name or read.pattern[:200]))


def _store_report(
    session: Session, subscription: Subscription, received: ReceivedObject, now: datetime, counts: Counter[str]
) -> Bulletin | None:
    """The bulletin of a report: a new row, or the newest version in the row of an older one."""
    try:
        referred = references(received.data)
    except BadContentError as error:
        counts[f"rejected: {error}"] += 1
        return None
    bulletin = session.scalar(
        select(Bulletin).where(
            Bulletin.organisation_id == subscription.organisation_id,
            Bulletin.stix_id == received.stix_id,
            Bulletin.subscription_id == subscription.id,
        )
    )
    if bulletin is None:
        bulletin = _new_bulletin(session, subscription, received, now)
    assert received.version is not None  # sort_out demands it of reports
    bulletin.issued_at = received.version
    bulletin.tlp = received.tlp.word
    bulletin.received_at = now
    session.execute(delete(BulletinReference).where(BulletinReference.bulletin_id == bulletin.id))
    session.add_all(
        BulletinReference(organisation_id=subscription.organisation_id, bulletin_id=bulletin.id, stix_id=stix_id)
        for stix_id in referred
    )
    session.flush()
    return bulletin


def _new_bulletin(session: Session, subscription: Subscription, received: ReceivedObject, now: datetime) -> Bulletin:
    texts = dict.fromkeys(("title_en", "title_zh", "body_en", "body_zh", "advice_en", "advice_zh"), "")
    bulletin = Bulletin(
        organisation_id=subscription.organisation_id,
        stix_id=received.stix_id,
        series=received.stix_id.partition("--")[2],
        version=1,
        notice=Notice.ALERT.value,
        origin=Origin.RECEIVED.value,
        state=State.ISSUED.value,
        tlp=received.tlp.word,
        colour="",
        techniques=[],
        subscription_id=subscription.id,
        created_at=now,
        **texts,
    )
    # Whose credentials fetched it is whom the source named.
    entry = BulletinRecipient(
        organisation_id=subscription.organisation_id, to_organisation_id=subscription.organisation_id
    )
    bulletin.recipients = [entry]
    session.add(bulletin)
    session.flush()
    receipts.reach(session, entry, receipts.Rung.DELIVERED, now)
    return bulletin


def _referring(session: Session, subscription: Subscription, stix_ids: Sequence[str]) -> list[Bulletin]:
    """Bulletins of this subscription whose reports refer to these objects."""
    found: list[Bulletin] = []
    for some in collection.batched(stix_ids):
        rows = session.scalars(
            select(Bulletin)
            .outerjoin(BulletinReference, BulletinReference.bulletin_id == Bulletin.id)
            .where(
                Bulletin.organisation_id == subscription.organisation_id,
                Bulletin.subscription_id == subscription.id,
                or_(Bulletin.stix_id.in_(some), BulletinReference.stix_id.in_(some)),
            )
            .distinct()
        )
        found += rows
    return found


def _assemble(session: Session, bulletin: Bulletin, subscription: Subscription) -> None:
    """Write into the row what its objects say, as far as they have arrived."""
    parts = {row.stix_id: json.loads(row.body) for row in parts_of(session, bulletin)}
    report = parts.pop(bulletin.stix_id, None)
    if report is None:
        return
    read = read_report(report, parts.values())
    bulletin.title_en, bulletin.title_zh = read.title.en, read.title.zh
    bulletin.body_en, bulletin.body_zh = read.body.en, read.body.zh
    bulletin.advice_en, bulletin.advice_zh = read.advice.en, read.advice.zh
    bulletin.colour = read.colour.value if read.colour is not None else ""
    bulletin.notice = read.notice.value
    bulletin.version = read.version
    bulletin.drill = bulletin.drill or read.drill  # for ever
    bulletin.techniques = list(read.techniques)
    bulletin.source_name = read.source_name or subscription.name
    bulletin.first_issued_at = read.published or bulletin.issued_at
    withdrawn = read.notice is Notice.CANCEL
    bulletin.state = (State.WITHDRAWN if withdrawn else State.ISSUED).value
    bulletin.withdrawn_at = bulletin.issued_at if withdrawn else None
    referred = select(BulletinReference.stix_id).where(BulletinReference.bulletin_id == bulletin.id)
    rows = session.scalars(
        select(Indicator).where(
            Indicator.organisation_id == bulletin.organisation_id,
            Indicator.subscription_id == bulletin.subscription_id,
            Indicator.bulletin_id.is_(None),
            Indicator.stix_id.in_(referred),
        )
    )
    for row in rows:
        row.bulletin_id = bulletin.id
