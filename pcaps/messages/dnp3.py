"""DNP3 messages (IEEE 1815-2012): application fragment, transport segments, link frames. Numbers are little-endian."""

from __future__ import annotations

import struct
from datetime import datetime

PORT = 20000
SEGMENT_OCTETS = 249  # of application data in a link frame: 250 less the transport octet (clause 8)

CONFIRM, READ, WRITE, SELECT, OPERATE, DIRECT_OPERATE, DIRECT_OPERATE_NO_REPLY = range(7)
COLD_RESTART, WARM_RESTART = 13, 14
ENABLE_UNSOLICITED, DISABLE_UNSOLICITED = 20, 21
OPEN_FILE, CLOSE_FILE, DELETE_FILE = 25, 26, 27
RESPONSE, UNSOLICITED_RESPONSE = 129, 130

# Destinations that every outstation takes for itself; they differ in whether the next response asks for a confirm.
BROADCAST_NO_CONFIRM, BROADCAST_MUST_CONFIRM, BROADCAST_MAY_CONFIRM = 0xFFFD, 0xFFFE, 0xFFFF


def crc(data: bytes) -> bytes:
    """CRC-16/DNP (clause 9.2.4.3): reflected polynomial 0xA6BC, inverted, low octet first."""
    value = 0
    for octet in data:
        value ^= octet
        for _ in range(8):
            value = (value >> 1) ^ 0xA6BC if value & 1 else value >> 1
    return struct.pack("<H", value ^ 0xFFFF)


def link_frame(control: int, destination: int, source: int, data: bytes) -> bytes:
    """One link frame: header block with its CRC, then blocks of up to 16 octets with theirs."""
    header = struct.pack("<BBBBHH", 0x05, 0x64, len(data) + 5, control, destination, source)
    blocks = [data[at : at + 16] for at in range(0, len(data), 16)]
    return header + crc(header) + b"".join(block + crc(block) for block in blocks)


class Station:
    """One end of a DNP3 association: numbers its transport segments.

    address: its own link address; peer: the other's; master: who may ask.
    """

    def __init__(self, address: int, peer: int, *, master: bool) -> None:
        self.address, self.peer, self.master = address, peer, master
        self._transport_sequence = 0

    def send(self, fragment: bytes, destination: int | None = None) -> bytes:
        """Link frames (unconfirmed user data) that carry one application fragment."""
        control = 0xC4 if self.master else 0x44  # direction from the master, primary, function 4
        frames = b""
        for at in range(0, len(fragment), SEGMENT_OCTETS):
            part = fragment[at : at + SEGMENT_OCTETS]
            final, first = at + SEGMENT_OCTETS >= len(fragment), at == 0
            transport = final << 7 | first << 6 | self._transport_sequence
            self._transport_sequence = (self._transport_sequence + 1) % 64
            frames += link_frame(
                control, self.peer if destination is None else destination, self.address, bytes([transport]) + part
            )
        return frames


def request(sequence: int, function: int, objects: bytes = b"") -> bytes:
    """Request fragment, first and final."""
    return bytes([0xC0 | sequence & 0x0F, function]) + objects


def response(sequence: int, objects: bytes = b"", *, iin: int = 0, confirm: bool = False) -> bytes:
    """Response fragment. iin: first octet << 8 | second, as in 0x8000 device restart."""
    return bytes([0xC0 | confirm << 5 | sequence & 0x0F, RESPONSE]) + struct.pack(">H", iin) + objects


def unsolicited(sequence: int, objects: bytes, *, iin: int = 0) -> bytes:
    """Unsolicited response fragment, which asks to be confirmed."""
    return bytes([0xF0 | sequence & 0x0F, UNSOLICITED_RESPONSE]) + struct.pack(">H", iin) + objects


def confirm(sequence: int, *, of_unsolicited: bool = False) -> bytes:
    """Confirm fragment."""
    return bytes([0xC0 | of_unsolicited << 4 | sequence & 0x0F, CONFIRM])


def all_objects(*groups: tuple[int, int]) -> bytes:
    """Object headers (group, variation) with qualifier 6: all points."""
    return b"".join(bytes([group, variation, 0x06]) for group, variation in groups)


CLASS_0 = all_objects((60, 1))
EVENT_CLASSES = all_objects((60, 2), (60, 3), (60, 4))
INTEGRITY_POLL = EVENT_CLASSES + CLASS_0


def binary_inputs(states: list[bool]) -> bytes:
    """Group 1 variation 2: binary inputs with flags, from point 0."""
    return bytes([1, 2, 0x00, 0, len(states) - 1]) + bytes(0x81 if state else 0x01 for state in states)


def analog_inputs(values: list[int]) -> bytes:
    """Group 30 variation 1: 32-bit with flag, from point 0."""
    return bytes([30, 1, 0x00, 0, len(values) - 1]) + b"".join(struct.pack("<Bi", 0x01, value) for value in values)


def binary_event(point: int, state: bool, at: datetime) -> bytes:
    """Group 2 variation 2: one binary event with absolute time."""
    milliseconds = int(at.timestamp() * 1000)
    return bytes([2, 2, 0x17, 1, point, 0x81 if state else 0x01]) + milliseconds.to_bytes(6, "little")


def crob(point: int, code: int, *, on_ms: int = 100, off_ms: int = 100, status: int = 0) -> bytes:
    """Group 12 variation 1: one control relay output block. code: 3 latch on, 4 latch off, 0x41 close, 0x81 trip."""
    return bytes([12, 1, 0x17, 1, point]) + struct.pack("<BBIIB", code, 1, on_ms, off_ms, status)


def time_and_date(at: datetime) -> bytes:
    """Group 50 variation 1: one absolute time."""
    return bytes([50, 1, 0x07, 1]) + int(at.timestamp() * 1000).to_bytes(6, "little")


def clear_restart() -> bytes:
    """Group 80 variation 1: internal indication 7 (device restart) to 0."""
    return bytes([80, 1, 0x00, 7, 7, 0])


def time_delay(milliseconds: int) -> bytes:
    """Group 52 variation 2: how long a restart takes."""
    return bytes([52, 2, 0x07, 1]) + struct.pack("<H", milliseconds)


def file_command(name: str, mode: int, request_id: int) -> bytes:
    """Group 70 variation 3: file command, free format. mode: 0 delete, 1 read, 2 write."""
    octets = name.encode()
    body = struct.pack("<HH6sHIIHHH", 26, len(octets), bytes(6), 0o644, 0, 0, mode, 0, request_id) + octets
    return bytes([70, 3, 0x5B, 1]) + struct.pack("<H", len(body)) + body


def file_status(request_id: int, status: int) -> bytes:
    """Group 70 variation 4: file command status, free format. status: 0 success."""
    body = struct.pack("<IIHHB", 0, 0, 0, request_id, status)
    return bytes([70, 4, 0x5B, 1]) + struct.pack("<H", len(body)) + body
