"""Configuration of sensors: files that people uploaded, each state of them kept for ever."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from console.store.base import OrgOwned


class ConfigRevision(OrgOwned):
    """All files of a scope as they stood from one moment on; never changed. The newest of a scope counts.

    sensor_id: the sensor that they are for, None: all sensors of the organisation. number: from 1 in its scope (scope:
    "all" or the sensor's id, so that the database itself keeps numbers apart). files: {"kind", "name", "content"} each;
    digest: SHA-256 of them. action: what was done, "<verb> <kind>/<name>". author: who did it, by name at the time.
    """

    __tablename__ = "config_revision"
    __table_args__ = (UniqueConstraint("organisation_id", "scope", "number"),)

    sensor_id: Mapped[int | None] = mapped_column(ForeignKey("sensor.id"), index=True)
    scope: Mapped[str] = mapped_column(String(20))
    number: Mapped[int]
    files: Mapped[list[dict[str, Any]]]
    digest: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(200))
    note: Mapped[str] = mapped_column(String(500))
    author: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime]
