"""IEC 60870-5-104 messages (IEC 60870-5-104:2006, 5; ASDU of 60870-5-101:2003). Numbers are little-endian."""

from __future__ import annotations

import struct

PORT = 2404
SINGLE_POINT, MEASURED_FLOAT, SINGLE_POINT_TIMED = 1, 13, 30
SINGLE_COMMAND, DOUBLE_COMMAND, INTERROGATION, CLOCK = 45, 46, 100, 103
SPONTANEOUS, ACTIVATION, CONFIRMATION, TERMINATION, INTERROGATED = 3, 6, 7, 10, 20
STARTDT, STARTDT_CONFIRMED, STOPDT, STOPDT_CONFIRMED = 0x07, 0x0B, 0x13, 0x23


def control(octet: int) -> bytes:
    """U format."""
    return bytes([0x68, 4, octet, 0, 0, 0])


def numbered(send: int, receive: int, asdu: bytes) -> bytes:
    """I format."""
    return struct.pack("<BBHH", 0x68, 4 + len(asdu), send << 1, receive << 1) + asdu


def asdu(kind: int, cause: int, station: int, *objects: tuple[int, bytes], negative: bool = False) -> bytes:
    """Type, cause, common address; objects are (address, information element)."""
    head = struct.pack("<BBBBH", kind, len(objects), cause | negative << 6, 0, station)
    return head + b"".join(address.to_bytes(3, "little") + element for address, element in objects)


class Side:
    """One end of a connection: numbers what it sends. `peer` is set by `connect`."""

    def __init__(self) -> None:
        self.sent = 0
        self.peer: Side | None = None

    def say(self, body: bytes) -> bytes:
        """The next I-format APDU."""
        number, self.sent = self.sent, (self.sent + 1) % 0x8000
        return numbered(number, self.peer.sent if self.peer else 0, body)


def connect() -> tuple[Side, Side]:
    """Controlling and controlled station of one connection."""
    master, station = Side(), Side()
    master.peer, station.peer = station, master
    return master, station
