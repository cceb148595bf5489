"""Short sessions of each protocol: what a client asks and a server answers, PDU by PDU."""

from __future__ import annotations

import struct
from typing import NamedTuple

from support import s7
from support.dnp3_wire import hexed, link_frame
from support.wire import coils, read_coils, refusal, write_register


class Session(NamedTuple):
    """Request i is answered by answer i."""

    port: int
    asked: list[bytes]
    answered: list[bytes]


def tpkt(pdu: bytes, last: bool = True) -> bytes:
    """A TPKT with one DT TPDU."""
    return struct.pack(">BBHBBB", 3, 0, 7 + len(pdu), 2, 0xF0, 0x80 if last else 0) + pdu


def transport(fragment: bytes, sequence: int = 0, **link: int) -> bytes:
    """A DNP3 fragment in one link frame."""
    return link_frame(bytes([0xC0 | sequence]) + fragment, **link)


def in_two(fragment: bytes, sequence: int, **link: int) -> bytes:
    """A DNP3 fragment in two link frames."""
    half = len(fragment) // 2
    return link_frame(bytes([0x40 | sequence]) + fragment[:half], **link) + link_frame(
        bytes([0x80 | sequence + 1]) + fragment[half:], **link
    )


def modbus(value: int = 0x1234, unit: int = 1) -> Session:
    """A read, a write, a read that is refused."""
    write = write_register(2, 7, value, unit)
    return Session(
        502,
        [read_coils(1, value & 0xFF, 8, unit), write, read_coils(3, 99, 8, unit)],
        [coils(1, value & 0xFF, unit), write, refusal(3, 1, 2, unit)],
    )


def s7comm(value: int = 0x1234, reference: int = 0x0500) -> Session:
    """A read of one word, a write of one, the read again in two COTP fragments."""
    item = f"12 0A 10 04 0001 {value & 0xFFFF:04X} 84 000010"
    read = s7.job(f"04 01 {item}", reference=reference)
    again = s7.job(f"04 01 {item}", reference=reference + 2)
    write = s7.job(f"05 01 {item}", f"00 04 0010 {value & 0xFFFF:04X}", reference=reference + 1)
    got = f"FF 04 0010 {value & 0xFFFF:04X}"
    return Session(
        102,
        [tpkt(read), tpkt(write), tpkt(again[:9], last=False) + tpkt(again[9:])],
        [
            tpkt(s7.ack_data("04 01", got, reference=reference)),
            tpkt(s7.ack_data("05 01", "FF", reference=reference + 1)),
            tpkt(s7.ack_data("04 01", got, reference=reference + 2)),
        ],
    )


def dnp3(value: int = 0x12, outstation: int = 1024) -> Session:
    """A class poll, an operation of a relay, a read in two segments."""
    to, back = {"source": 1, "destination": outstation}, {"source": outstation, "destination": 1, "control": 0x44}
    operate = f"0C01 28 0100 {value & 0xFF:02X}00 03 01 64000000 64000000 00"
    return Session(
        20000,
        [
            transport(hexed("C1 01 3C0206"), 1, **to),
            transport(hexed(f"C2 05 {operate}"), 2, **to),
            in_two(hexed("C3 01 3C0106 3C0206 3C0306"), 3, **to),
        ],
        [
            transport(hexed("C1 81 0000 0101 00 0007", f"{value & 0xFF:02X}"), 1, **back),
            transport(hexed(f"C2 81 0000 {operate}"), 2, **back),
            in_two(hexed("C3 81 0000 1E02 00 0001 010100 010300"), 3, **back),
        ],
    )


SESSIONS = {"modbus": modbus, "s7comm": s7comm, "dnp3": dnp3}
