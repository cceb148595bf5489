"""The audit log: a chain of hashes for each organisation, and where each chain ends."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from console.store.base import OrgOwned


class AuditEntry(OrgOwned):
    """One act that changed something. Append-only: the database refuses to change one, or to delete one in the chain.

    sequence: from 1 in each organisation, without gaps. actor: "user:<id>", "sensor:<id>", "system:<part>"; actor_name:
    as named then. action: "<noun>.<verb>". subject: what it was done to, "<table>:<id>" or "". details: canonical JSON,
    as text, for every byte of it is hashed. hash: SHA-256 over the hash before it and the entry's canonical form
    (console.store.audit_chain), hex.
    """

    __tablename__ = "audit_entry"
    __table_args__ = (UniqueConstraint("organisation_id", "sequence"),)

    sequence: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(80))
    actor_name: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(200))
    details: Mapped[str] = mapped_column(Text)
    hash: Mapped[str] = mapped_column(String(64))


class AuditHead(OrgOwned):
    """Where an organisation's chain ends, and where it begins since old entries went by retention.

    sequence, hash: of the last entry. base_sequence, base_hash: of the last entry that retention deleted, 0 and the
    chain's seed where none was; such a deletion is itself an entry that names both.
    """

    __tablename__ = "audit_head"
    __table_args__ = (UniqueConstraint("organisation_id"),)

    sequence: Mapped[int] = mapped_column(BigInteger, default=0)
    hash: Mapped[str] = mapped_column(String(64))
    base_sequence: Mapped[int] = mapped_column(BigInteger, default=0)
    base_hash: Mapped[str] = mapped_column(String(64))
