"""What the search index is fed from: the outbox of touched rows, dead letters, and where the documents are."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from console.store.base import Base, OrgOwned


class IndexOutbox(OrgOwned):
    """A document whose row changed and which the index has not yet; written by triggers (console/store/search/).

    id: counts up for ever and is never given twice: it is the version of the document, so that an older one never
    overwrites a newer one. One row for each document: touching it again replaces the row under a new id.
    kind: name of a console.store.search.kinds.Kind; row_id: of its table. document_id: `_id` in the index. period: the
    month of the index that it belongs to ("2026-11"). attempts: how often this document alone failed.
    """

    __tablename__ = "index_outbox"
    __table_args__ = (Index(None, "kind", "document_id"), {"sqlite_autoincrement": True})

    kind: Mapped[str] = mapped_column(String(16))
    row_id: Mapped[int] = mapped_column(BigInteger)
    document_id: Mapped[str] = mapped_column(String(400))
    period: Mapped[str] = mapped_column(String(7))
    attempts: Mapped[int] = mapped_column(default=0)


class IndexDeadLetter(OrgOwned):
    """A document that the index refuses, with its reason. It goes when a later version of it is taken."""

    __tablename__ = "index_dead_letter"
    __table_args__ = (UniqueConstraint("kind", "document_id"),)

    kind: Mapped[str] = mapped_column(String(16))
    row_id: Mapped[int] = mapped_column(BigInteger)
    document_id: Mapped[str] = mapped_column(String(400))
    period: Mapped[str] = mapped_column(String(7))
    reason: Mapped[str] = mapped_column(String(1000))
    attempts: Mapped[int]
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]


class IndexFeed(Base):
    """How one kind of documents stands; there is a row while a cluster is set. Of the installation.

    installation: marks indices as this console's. live: the generation that searches see, None before the first
    is filled. building: the generation that is being filled. state: a console.store.search.feed.State, since state_at;
    note: what the cluster said. indexed: documents written since the row was made. worked_at: latest success.
    """

    __tablename__ = "index_feed"

    kind: Mapped[str] = mapped_column(String(16), unique=True)
    installation: Mapped[str] = mapped_column(String(32))
    live: Mapped[int | None] = mapped_column(BigInteger)
    building: Mapped[int | None] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(16))
    state_at: Mapped[datetime]
    note: Mapped[str] = mapped_column(String(1000), default="")
    indexed: Mapped[int] = mapped_column(BigInteger, default=0)
    worked_at: Mapped[datetime | None]


class IndexPart(Base):
    """One index in the cluster: the documents of a kind, generation and month. Of the installation.

    name: in the cluster; uuid: the cluster's own mark: another one means that somebody deleted and made it anew.
    filled_to: id of the last row written by filling; None: it is full.
    """

    __tablename__ = "index_part"

    name: Mapped[str] = mapped_column(String(250), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    generation: Mapped[int] = mapped_column(BigInteger)
    period: Mapped[str] = mapped_column(String(7))
    uuid: Mapped[str] = mapped_column(String(64))
    filled_to: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime]
