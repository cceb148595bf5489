"""The reading side of a TAXII 2.1 server: filters, the release decision, pages. No HTTP in here.

Source: TAXII Version 2.1, OASIS Standard (10 June 2021), chapters 3 and 5.

A page is cut from what the requester may have, never before that decision, so that neither counts nor `more` tell what
was held back. Paging goes by the collection's sequence, in an opaque, signed `next`; times serve `added_after` only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from itsdangerous import BadData, URLSafeSerializer
from sqlalchemy import ColumnElement, and_, exists, false, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from console.sharing.hostile import BadContentError, time_text, timestamp
from console.sharing.tlp import Decision, Held, Relation, Tlp, allowed_markings, decide
from console.store.models import BulletinRecipient, Collection, SharedObject

MEDIA_TYPE = "application/taxii+json;version=2.1"
STIX_MEDIA_TYPE = "application/stix+json;version=2.1"
MAX_PAGE = 500  # objects in one answer, whatever `limit` says; the spec lets a server give fewer
MAX_PAGE_CHARS = 4 * 1024 * 1024  # of their JSON: a page that a client refuses for its size would stop it for ever
MAX_FILTER_VALUES = 200


class BadQueryError(Exception):
    """A parameter is malformed (TAXII 2.1, 3.4: 400). The text may be shown."""


@dataclass(frozen=True, slots=True)
class Query:
    """Filters of a request (3.4). Values of one field are alternatives, fields restrict together.

    versions: of match[version]: "first", "last", "all" or exact versions as text with microseconds.
    """

    limit: int = MAX_PAGE
    next: str = ""
    added_after: datetime | None = None
    ids: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    versions: tuple[str, ...] = ("last",)
    spec_versions: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Of the match filters: a `next` goes with them. Clients may move `limit` and `added_after` while they page."""
        filters = json.dumps([self.ids, self.types, self.versions, self.spec_versions])
        return hashlib.sha256(filters.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks: a registered peer of the organisation whose collection it is."""

    peer_id: int
    relation: Relation


@dataclass(frozen=True, slots=True)
class Page:
    """Objects in the order of their adding; next: for the following page, "" when this is the last."""

    objects: Sequence[SharedObject]
    next: str

    @property
    def more(self) -> bool:
        """Whether there are objects after this page now."""
        return bool(self.next)

    @property
    def headers(self) -> dict[str, str]:
        """X-TAXII-Date-Added-First and -Last (3.2); none for an empty page, which has no dates."""
        if not self.objects:
            return {}
        return {
            "X-TAXII-Date-Added-First": time_text(self.objects[0].date_added),
            "X-TAXII-Date-Added-Last": time_text(self.objects[-1].date_added),
        }


def parse_query(parameters: Mapping[str, Sequence[str]], *, with_versions: bool = True) -> Query:
    """The filters of a URL's parameters; unknown parameters are ignored. Raises BadQueryError.

    with_versions: False where match[version] means nothing (the list of versions): all versions count there.
    """
    limit = _one(parameters, "limit")
    if limit is not None and not (limit.isascii() and limit.isdigit() and len(limit) <= 9 and int(limit) > 0):
        raise BadQueryError("limit is not a positive integer")
    added_after = _one(parameters, "added_after")
    try:
        after = timestamp(added_after) if added_after is not None else None
    except BadContentError as error:
        raise BadQueryError(f"added_after is {error}") from error
    return Query(
        limit=min(int(limit), MAX_PAGE) if limit else MAX_PAGE,
        next=_one(parameters, "next") or "",
        added_after=after,
        ids=_many(parameters, "match[id]"),
        types=_many(parameters, "match[type]"),
        versions=_versions(_many(parameters, "match[version]")) if with_versions else ("all",),
        spec_versions=_many(parameters, "match[spec_version]"),
    )


def only(query: Query, stix_id: str) -> Query:
    """The query, for one object: of an object's own addresses, match[id] and match[type] have no meaning (5.6, 5.8)."""
    return replace(query, ids=(stix_id,), types=())


def _one(parameters: Mapping[str, Sequence[str]], name: str) -> str | None:
    values = parameters.get(name, ())
    if len(values) > 1:
        raise BadQueryError(f"{name} is given twice")
    return values[0] if values else None


def _many(parameters: Mapping[str, Sequence[str]], name: str) -> tuple[str, ...]:
    values = [part for value in parameters.get(name, ()) for part in value.split(",")]
    if len(values) > MAX_FILTER_VALUES:
        raise BadQueryError(f"{name} has more than {MAX_FILTER_VALUES} values")
    if any(not value or len(value) > 300 for value in values):
        raise BadQueryError(f"{name} has an empty or overlong value")
    return tuple(sorted(set(values)))


def _versions(values: tuple[str, ...]) -> tuple[str, ...]:
    if "all" in values and len(values) > 1:
        raise BadQueryError("match[version] has all and another value")
    words = ("all", "first", "last")
    try:
        return tuple(value if value in words else time_text(timestamp(value)) for value in values) or ("last",)
    except BadContentError as error:
        raise BadQueryError(f"match[version] is {error}") from error


def may_have(row: type[SharedObject], requester: Requester) -> ColumnElement[bool]:
    """The release decision as a condition: what `tlp.decide` says for each label, held either way, named or not."""
    named = exists().where(
        BulletinRecipient.bulletin_id == row.bulletin_id, BulletinRecipient.peer_id == requester.peer_id
    )
    return or_(
        _among(row, Held.AS_SOURCE, requester.relation),
        _among(row, Held.AS_RECIPIENT, requester.relation),
        # Only the source names recipients: what was received is nobody's by name.
        and_(_among(row, Held.AS_SOURCE, Relation.NAMED), named),
    )


def _among(row: type[SharedObject], held: Held, relation: Relation) -> ColumnElement[bool]:
    labels = [int(marking) for marking in allowed_markings(relation, held)]
    return and_(row.held == held.value, row.tlp.in_(labels)) if labels else false()


def page(
    session: Session, collection: Collection, requester: Requester, query: Query, signer: URLSafeSerializer
) -> Page:
    """One page of what the requester may have. BadQueryError for a `next` that is not ours or of other filters."""
    after = _sequence_after(collection, requester, query, signer)
    conditions = [SharedObject.sequence > after, *_conditions(collection, requester, query)]
    query_rows = select(SharedObject).where(*conditions).order_by(SharedObject.sequence).limit(query.limit + 1)
    rows: list[SharedObject] = []
    size = 0
    for row in session.scalars(query_rows.execution_options(yield_per=50)):
        size += len(row.body)
        if len(rows) == query.limit or (rows and size > MAX_PAGE_CHARS):
            break
        rows.append(row)
    else:
        return Page(rows, "")
    token = signer.dumps([collection.uid, requester.peer_id, query.fingerprint, rows[-1].sequence])
    return Page(rows, token if isinstance(token, str) else token.decode())


def held_back(
    session: Session, collection: Collection, requester: Requester, shown: Page, query: Query, limit: int
) -> Sequence[SharedObject]:
    """What the filters select up to the end of a page and the requester may not have, newest first: for the log."""
    conditions = [~may_have(SharedObject, requester), *_filters(collection, query)]
    if shown.more:
        conditions.append(SharedObject.sequence <= shown.objects[-1].sequence)
    newest_first = select(SharedObject).where(*conditions).order_by(SharedObject.sequence.desc())
    return session.scalars(newest_first.limit(limit)).all()


def _sequence_after(collection: Collection, requester: Requester, query: Query, signer: URLSafeSerializer) -> int:
    if not query.next:
        return 0
    try:
        uid, peer_id, fingerprint, sequence = signer.loads(query.next)
    except (BadData, ValueError, TypeError) as error:
        raise BadQueryError("next is not a value that this server gave") from error
    if (uid, peer_id, fingerprint) != (collection.uid, requester.peer_id, query.fingerprint):
        raise BadQueryError("next belongs to another request")
    return int(sequence)


def _filters(collection: Collection, query: Query) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [SharedObject.collection_id == collection.id]
    if query.added_after is not None:
        conditions.append(SharedObject.date_added > query.added_after)  # exclusive (3.4)
    fields: tuple[tuple[InstrumentedAttribute[str], tuple[str, ...]], ...] = (
        (SharedObject.stix_id, query.ids),
        (SharedObject.stix_type, query.types),
        (SharedObject.spec_version, query.spec_versions),
    )
    conditions += [column.in_(values) for column, values in fields if values]
    return conditions


def _conditions(collection: Collection, requester: Requester, query: Query) -> list[ColumnElement[bool]]:
    conditions = [may_have(SharedObject, requester), *_filters(collection, query)]
    if query.versions == ("all",):
        return conditions
    # first and last among the versions that this requester may have: another version must not show by its absence
    other = aliased(SharedObject)
    same = and_(other.collection_id == collection.id, other.stix_id == SharedObject.stix_id, may_have(other, requester))
    edge = {"first": func.min(other.version), "last": func.max(other.version)}
    alternatives = [
        SharedObject.version == select(edge[word]).where(same).scalar_subquery()
        for word in query.versions
        if word in edge
    ]
    exact = [version for version in query.versions if version not in edge]
    if exact:
        alternatives.append(SharedObject.version.in_(exact))
    conditions.append(or_(*alternatives))
    return conditions


def decision(session: Session, requester: Requester, rows: Sequence[SharedObject]) -> list[tuple[Relation, Decision]]:
    """What `tlp.decide` says of each row, and for which relation: the word on a release; the query only narrows."""
    bulletins = {row.bulletin_id for row in rows if row.bulletin_id is not None}
    named = set(
        session.scalars(
            select(BulletinRecipient.bulletin_id).where(
                BulletinRecipient.peer_id == requester.peer_id, BulletinRecipient.bulletin_id.in_(bulletins)
            )
        )
    )
    decided = []
    for row in rows:
        held = Held(row.held)
        by_name = held is Held.AS_SOURCE and row.bulletin_id in named
        relation = Relation.NAMED if by_name else requester.relation
        decided.append((relation, decide(Tlp(row.tlp), relation, held)))
    return decided


def manifest_record(row: SharedObject) -> dict[str, str]:
    """One line of a manifest (5.3.2)."""
    return {
        "id": row.stix_id,
        "date_added": time_text(row.date_added),
        "version": row.version,
        "media_type": STIX_MEDIA_TYPE,
    }


def accepts_taxii(accept: str) -> bool:
    """Whether an Accept header takes TAXII 2.1 (3.1: its media type, with version 2.1 or without a version)."""
    for media_range in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in media_range.split(";"))
        versions = [p.partition("=")[2].strip('" ') for p in parameters if p.partition("=")[0].strip() == "version"]
        refused = any(p.replace(" ", "") in ("q=0", "q=0.0", "q=0.00", "q=0.000") for p in parameters)
        if kind == "application/taxii+json" and versions in ([], ["2.1"]) and not refused:
            return True
    return False
