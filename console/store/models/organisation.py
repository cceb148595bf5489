"""Organisations: a tree of enterprises, industry bodies and authorities in one console."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from console.store.base import Base


class OrganisationKind(StrEnum):
    """What an organisation is in the sharing of warnings; stored as its value."""

    ENTERPRISE = "enterprise"
    INDUSTRY = "industry"
    CITY = "city"


class Organisation(Base):
    """One member of the tree.

    path: ids from the root to this one, "/1/4/17/", so that a subtree is a prefix.
    """

    __tablename__ = "organisation"

    name: Mapped[str] = mapped_column(String(200), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("organisation.id"), index=True)
    path: Mapped[str] = mapped_column(String(500), index=True)
    created_at: Mapped[datetime]
