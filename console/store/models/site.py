"""Sites and their network segments: the same private address repeats from one machine line to the next."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from console.store.base import OrgOwned


class Site(OrgOwned):
    """A place: a plant, a pumping station."""

    __tablename__ = "site"
    __table_args__ = (UniqueConstraint("organisation_id", "name"),)

    name: Mapped[str] = mapped_column(String(100))


class Segment(OrgOwned):
    """A network of a site in which an address means one device. An asset is (site, segment, address)."""

    __tablename__ = "segment"
    __table_args__ = (UniqueConstraint("site_id", "name"),)

    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))

    site: Mapped[Site] = relationship()
