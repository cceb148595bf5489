"""Assets: devices that a sensor has seen, as it reports them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from console.store.base import OrgOwned
from console.store.models.sensor import Sensor


class Asset(OrgOwned):
    """One device: an address on a segment, for the same private address repeats in every machine line.

    segment: what the sensor tells networks apart by ("vlan 7"), "" for none. vendor, model, firmware, name: the first
    that the device said of itself. facts: all that it said, with the field, protocol and frame that show it.
    received_at: of the first report; updated_at: of the latest. words: tokens for searching
    (console/store/search/states.py).
    """

    __tablename__ = "asset"
    __table_args__ = (UniqueConstraint("sensor_id", "segment", "address"),)

    sensor_id: Mapped[int] = mapped_column(ForeignKey("sensor.id"))
    segment: Mapped[str] = mapped_column(String(100))
    address: Mapped[str] = mapped_column(String(64))
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]
    received_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    vendor: Mapped[str] = mapped_column(String(200))
    model: Mapped[str] = mapped_column(String(200))
    firmware: Mapped[str] = mapped_column(String(200))
    name: Mapped[str] = mapped_column(String(200))
    roles: Mapped[list[str]]
    protocols: Mapped[list[str]]
    macs: Mapped[list[str]]
    facts: Mapped[list[dict[str, Any]]]

    words: Mapped[str] = mapped_column(Text, default="", server_default="")

    sensor: Mapped[Sensor] = relationship()
