"""Artifact: one program block or file that crossed the wire, whole or with gaps. Named by its content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from detectors.finding import rfc3339

MAX_FRAMES = 100  # numbers kept of the frames that carried it

# What artifacts are called, and whether it is worth telling when one differs from the last of the same name.
KINDS = ("s7-block", "umas-program", "dnp3-file", "modbus-file", "ftp-file", "tftp-file", "http-body")


@dataclass(frozen=True, slots=True)
class Artifact:
    """Bytes that crossed the wire, and what is known about them.

    kind: one of KINDS. name: of the block or file, as people say it ("OB1"); safe to show, never safe as a path.
    device: address of the controller or server that holds it, station: the device behind that address.
    source, destination: who sent the bytes to whom. to_device: whether they went into `device`.
    frames: the first MAX_FRAMES of those that carried it. missing: octets that are known to be missing.
    complete: its end was seen and nothing is missing.
    body: the part that tells two versions apart, where the rest holds dates and the like; None: all of it.
    details: what its header says; no passwords.
    """

    kind: str
    name: str
    data: bytes
    protocol: str
    device: str
    source: str
    destination: str
    first_ns: int
    last_ns: int
    frames: tuple[int, ...] = ()
    station: int | None = None
    to_device: bool = True
    missing: int = 0
    complete: bool = True
    body: tuple[int, int] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Of all octets: its name in the store."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def version(self) -> str:
        """SHA-256 of what tells two versions apart."""
        return self.sha256 if self.body is None else hashlib.sha256(self.data[slice(*self.body)]).hexdigest()

    @property
    def place(self) -> tuple[str, str, str, str]:
        """What history is kept of: this name in this device."""
        return self.device, "" if self.station is None else str(self.station), self.kind, self.name

    def describe(self) -> dict[str, Any]:
        """As a flat JSON object: everything but the octets."""
        return {
            "sha256": self.sha256,
            "version": self.version,
            "kind": self.kind,
            "name": self.name,
            "size": len(self.data),
            "network.protocol": self.protocol,
            "device.ip": self.device,
            "station": self.station,
            "source.ip": self.source,
            "destination.ip": self.destination,
            "to_device": self.to_device,
            "first_seen": rfc3339(self.first_ns),
            "last_seen": rfc3339(self.last_ns),
            "frames": list(self.frames),
            "complete": self.complete,
            "missing": self.missing,
            **self.details,
        }
