"""What an organisation offers by TAXII: a collection, and in it STIX objects in the order in which they were added."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from console.store.base import OrgOwned


class Collection(OrgOwned):
    """An organisation's face to other consoles: its STIX identity, its API root and the collection under it.

    uid: TAXII collection id. identity: UUID of its STIX identity, also the name of its API root. Both UUIDv4.
    last_sequence, last_added: of the newest object. Whoever adds objects updates this row first, so that sequences and
    times grow in the order of commits, also where several writers work at a time.
    """

    __tablename__ = "collection"
    __table_args__ = (UniqueConstraint("organisation_id"),)

    uid: Mapped[str] = mapped_column(String(36), unique=True)
    identity: Mapped[str] = mapped_column(String(36), unique=True)
    created_at: Mapped[datetime]
    last_sequence: Mapped[int] = mapped_column(BigInteger, default=0)
    last_added: Mapped[datetime | None]


class SharedObject(OrgOwned):
    """One version of one STIX object in a collection, our own or received; immutable.

    sequence: from 1, grows with each object of the collection; date_added: strictly grows with it.
    version: `modified`, else `created`, else `date_added`, as text with microseconds: sorts like the time.
    tlp: value of console.sharing.tlp.Tlp; held: name of its Held. body: the object as JSON, ASCII.
    about: of a translation (language-content) the object that it translates, otherwise "".
    bulletin_id: the issued bulletin version it belongs to, whose recipients are named. subscription_id: whence it came.
    """

    __tablename__ = "shared_object"
    __table_args__ = (
        UniqueConstraint("collection_id", "sequence"),
        UniqueConstraint("collection_id", "stix_id", "version"),
        Index(None, "collection_id", "date_added"),
        Index(None, "collection_id", "about"),
    )

    collection_id: Mapped[int] = mapped_column(ForeignKey("collection.id"))
    sequence: Mapped[int] = mapped_column(BigInteger)
    date_added: Mapped[datetime]
    stix_id: Mapped[str] = mapped_column(String(300))
    stix_type: Mapped[str] = mapped_column(String(250))
    version: Mapped[str] = mapped_column(String(27))
    spec_version: Mapped[str] = mapped_column(String(8))
    tlp: Mapped[int]
    held: Mapped[str] = mapped_column(String(16))
    bulletin_id: Mapped[int | None] = mapped_column(ForeignKey("bulletin.id"), index=True)
    subscription_id: Mapped[int | None] = mapped_column(ForeignKey("subscription.id"), index=True)
    about: Mapped[str] = mapped_column(String(300), default="")
    body: Mapped[str] = mapped_column(Text)
