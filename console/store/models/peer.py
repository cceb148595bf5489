"""Other consoles: peers that may pull from an organisation, subscriptions by which it pulls from others."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from console.store.base import OrgOwned


class Peer(OrgOwned):
    """A registered peer console and the credentials with which it reads this organisation's collection.

    relation: what it is to this organisation: "ancestor", "descendant" or "community" (console.sharing.tlp.Relation).
    password_hash: SHA-256 of a random 256-bit password that was shown once. A slow hash protects passwords that people
    choose; nobody can guess this one, and every request has to check it.
    """

    __tablename__ = "peer"

    name: Mapped[str] = mapped_column(String(200))
    relation: Mapped[str] = mapped_column(String(16))
    username: Mapped[str] = mapped_column(String(64), unique=True)
    password_hash: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    last_seen_at: Mapped[datetime | None]


class Subscription(OrgOwned):
    """A TAXII 2.1 collection of another console that this organisation pulls.

    url: discovery or API root URL. collection: id of the collection, "" for the first that can be read.
    password: as the other side gave it; it must be sent, so it is kept, and no page shows it again.
    added_after: RFC 3339 text up to which everything was taken in, "" at first.
    last_error: one line for people, "" when the last pull went well. totals: counts over all pulls (ImportCounts).
    pulling_until: a pull is under way and holds the subscription until then.
    """

    __tablename__ = "subscription"

    name: Mapped[str] = mapped_column(String(200))
    url: Mapped[str] = mapped_column(String(1000))
    collection: Mapped[str] = mapped_column(String(36), default="")
    username: Mapped[str] = mapped_column(String(200))
    password: Mapped[str] = mapped_column(String(500))
    interval_s: Mapped[int] = mapped_column(default=300)
    enabled: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime]
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    added_after: Mapped[str] = mapped_column(String(27), default="")
    last_pull_at: Mapped[datetime | None]
    last_error: Mapped[str] = mapped_column(Text, default="")
    totals: Mapped[dict[str, Any]] = mapped_column(default=dict)
    pulling_until: Mapped[datetime | None]
