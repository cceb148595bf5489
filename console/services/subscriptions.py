"""Collections of other consoles that an organisation pulls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from console.services import audit, received
from console.services.actor import Actor, Clock, Role, load, scoped
from console.services.errors import ConflictError, InvalidError
from console.sharing.hostile import time_text, timestamp
from console.sharing.stix_import import marking_definitions
from console.sharing.taxii_client import Budget, Fetched, PullError, TaxiiClient, parse_url
from console.store.engine import Store
from console.store.models import Subscription

MIN_INTERVAL_S, MAX_INTERVAL_S = 10, 86_400
_GRACE = timedelta(seconds=30)  # a pull that outlived its budget by this is dead, and another may begin
_AT_ONCE = 50  # objects in one transaction
_FUTURE = timedelta(minutes=5)  # how far another console's clock may be ahead of ours


@dataclass(slots=True)
class PullReport:
    """What one pull brought. error: one sentence for people, "" when it went well."""

    counts: Counter[str] = field(default_factory=Counter)
    pages: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class NewSubscription:
    """What an administrator types in. collection: "" for the first that the credentials may read."""

    name: str
    url: str
    username: str
    password: str
    collection: str = ""
    interval_s: int = 300


def subscribe(
    session: Session, actor: Actor, wanted: NewSubscription, now: datetime, *, allow_private: bool
) -> Subscription:
    """Begin to pull a collection. InvalidError says what is wrong with the input; nothing is connected to here."""
    actor.require(Role.ADMINISTRATOR)
    name = " ".join(wanted.name.split())
    if not 1 <= len(name) <= 200:
        raise InvalidError("A name has 1 to 200 characters.")
    try:
        url = str(parse_url(wanted.url.strip(), allow_private=allow_private))
    except PullError as error:
        raise InvalidError(str(error)) from error
    if not wanted.username or len(wanted.username) > 200 or not wanted.password or len(wanted.password) > 500:
        raise InvalidError("User name and password are needed: the other console made them for you.")
    if ":" in wanted.username or not (wanted.username + wanted.password).isprintable():
        raise InvalidError("User name and password are needed: the other console made them for you.")
    if len(wanted.collection) > 36:
        raise InvalidError("A collection's id has at most 36 characters.")
    if not MIN_INTERVAL_S <= wanted.interval_s <= MAX_INTERVAL_S:
        raise InvalidError("The interval is between 10 seconds and one day.")
    subscription = Subscription(
        organisation_id=actor.organisation_id,
        name=name,
        url=url,
        collection=wanted.collection.strip(),
        username=wanted.username,
        password=wanted.password,
        interval_s=wanted.interval_s,
        enabled=True,
        created_at=now,
        created_by_id=actor.user_id,
        added_after="",
        totals={},
    )
    session.add(subscription)
    session.flush()
    details = {"name": name, "url": url, "collection": subscription.collection}
    about = f"subscription:{subscription.id}"
    audit.record(session, actor, actor.organisation_id, "subscription.added", about, details, now)
    return subscription


def set_enabled(session: Session, actor: Actor, subscription_id: int, enabled: bool, now: datetime) -> Subscription:
    """Pause or resume. What was received stays."""
    actor.require(Role.ADMINISTRATOR)
    subscription = load(session, actor, Subscription, subscription_id)
    subscription.enabled = enabled
    action = "subscription.resumed" if enabled else "subscription.paused"
    about = f"subscription:{subscription.id}"
    audit.record(session, actor, actor.organisation_id, action, about, {"name": subscription.name}, now)
    return subscription


def all_subscriptions(session: Session, actor: Actor) -> list[Subscription]:
    """The organisation's subscriptions by name."""
    return list(session.scalars(scoped(actor, Subscription).order_by(Subscription.name, Subscription.id)))


def pull_due(
    store: Store,
    clock: Clock,
    *,
    allow_private: bool,
    budget: Budget | None = None,
    every: bool = False,
    keep_on: Callable[[], bool] = lambda: True,
) -> dict[int, PullReport]:
    """Pull every subscription whose interval has passed: what the worker process calls again and again.

    every: also those whose turn it is not. keep_on: asked before each and after each page; False ends the round.
    """
    now = clock()
    with store.reader() as session:
        rows = session.scalars(select(Subscription).where(Subscription.enabled.is_(True)).order_by(Subscription.id))
        due = [row.id for row in rows if every or _is_due(row, now)]
    reports = {}
    for subscription_id in due:
        if not keep_on():
            break
        try:
            reports[subscription_id] = pull(
                store, subscription_id, clock, allow_private=allow_private, budget=budget, keep_on=keep_on
            )
        except ConflictError:  # another process pulls it
            continue
    return reports


def _is_due(row: Subscription, now: datetime) -> bool:
    return row.last_pull_at is None or now - row.last_pull_at >= timedelta(seconds=row.interval_s)


def pull(
    store: Store,
    subscription_id: int,
    clock: Clock,
    *,
    allow_private: bool,
    budget: Budget | None = None,
    keep_on: Callable[[], bool] = lambda: True,
) -> PullReport:
    """Fetch what is new, each page stored in a transaction of its own: a pull that is cut goes on from there.

    ConflictError when it is being pulled already. The caller has no transaction open.
    """
    budget = budget or Budget()
    url, username, password, collection, added_after = _claim(store, subscription_id, clock(), budget)
    report = PullReport()
    try:
        client = TaxiiClient(url, username, password, allow_private, budget)
        address = client.collection_url(collection)
        for page in client.pages(address, added_after):
            _store_page(store, subscription_id, page, report, clock())
            if not keep_on():
                break
    except PullError as error:
        report.error = str(error)
    finally:
        _release(store, subscription_id, report, clock())
    return report


def _claim(store: Store, subscription_id: int, now: datetime, budget: Budget) -> tuple[str, str, str, str, str]:
    with store.transaction() as session:
        row = session.scalar(
            select(Subscription).where(
                Subscription.id == subscription_id,
                or_(Subscription.pulling_until.is_(None), Subscription.pulling_until < now),
            )
        )
        if row is None:
            raise ConflictError("This subscription is being pulled already.")
        row.pulling_until = now + timedelta(seconds=budget.seconds) + _GRACE
        return row.url, row.username, row.password, row.collection, row.added_after


def _store_page(store: Store, subscription_id: int, page: Fetched, report: PullReport, now: datetime) -> None:
    """In small transactions, for sensors wait while one is open; the place is noted when the whole page is in."""
    definitions = marking_definitions(page.objects)
    for at in range(0, len(page.objects), _AT_ONCE):
        with store.transaction() as session:
            row = session.get_one(Subscription, subscription_id)
            counts = received.take_in(session, row, page.objects[at : at + _AT_ONCE], now, definitions)
            report.counts.update(counts)
            row.totals = dict(Counter(row.totals) + counts)
    report.pages += 1
    if page.date_added_last:
        with store.transaction() as session:
            # A date in the future would make us miss all that is added until then.
            reached = min(timestamp(page.date_added_last), now + _FUTURE)
            session.get_one(Subscription, subscription_id).added_after = time_text(reached)


def _release(store: Store, subscription_id: int, report: PullReport, now: datetime) -> None:
    with store.transaction() as session:
        row = session.get_one(Subscription, subscription_id)
        row.pulling_until = None
        row.last_pull_at = now
        row.last_error = report.error
