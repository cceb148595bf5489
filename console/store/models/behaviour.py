"""Behaviours: who does what to whom, as sensors report it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from console.store.base import OrgOwned
from console.store.models.sensor import Sensor


class Behaviour(OrgOwned):
    """One operation that one device asks of another, however often and of whichever of its parts.

    key: 32 hex digits over what makes it this one and no other: segment, client, server, protocol, station, operation,
    action, function and subfunction. port, station: None where there is none. count: how often it was asked for;
    answered, refused, unanswered: what became of that. variants: different ones (addresses, quantities) in the latest
    run. run: the sensor's name for the run that reported last, run_counts: its four counts as they were then, so that a
    report adds what is new in it, once. received_at: of the first report; updated_at: of the latest.
    words: tokens for searching (console/store/search/states.py).
    """

    __tablename__ = "behaviour"
    __table_args__ = (
        UniqueConstraint("sensor_id", "key"),
        Index(None, "organisation_id", "client"),
        Index(None, "organisation_id", "server"),
        Index(None, "organisation_id", "updated_at"),
        Index(None, "organisation_id", "last_seen"),
    )

    sensor_id: Mapped[int] = mapped_column(ForeignKey("sensor.id"))
    key: Mapped[str] = mapped_column(String(32))
    segment: Mapped[str] = mapped_column(String(100))
    client: Mapped[str] = mapped_column(String(64))
    server: Mapped[str] = mapped_column(String(64))
    port: Mapped[int | None]
    protocol: Mapped[str] = mapped_column(String(64))
    station: Mapped[int | None] = mapped_column(BigInteger)
    function: Mapped[int] = mapped_column(BigInteger)
    subfunction: Mapped[int] = mapped_column(BigInteger)
    operation: Mapped[str] = mapped_column(String(100))
    action: Mapped[str] = mapped_column(String(32))
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]
    received_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    count: Mapped[int] = mapped_column(BigInteger)
    answered: Mapped[int] = mapped_column(BigInteger)
    refused: Mapped[int] = mapped_column(BigInteger)
    unanswered: Mapped[int] = mapped_column(BigInteger)
    variants: Mapped[int] = mapped_column(BigInteger)
    run: Mapped[str] = mapped_column(String(64))
    run_counts: Mapped[list[int]]

    words: Mapped[str] = mapped_column(Text, default="", server_default="")

    sensor: Mapped[Sensor] = relationship()
