"""Where values of tags stand in the PDUs of a behaviour, so that they are decoded by columns.

Modbus: from the address and quantity of the request. S7comm: from the first PDU of the behaviour; a row counts only
where its PDU has the same length and the same item header in front of the value.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from detectors.tags.file import BITS, Tag
from sensor.decode.pdu import Outcome, Protocol

MBAP, RTU = 7, 1  # octets in front of the Modbus PDU
# Function -> (space, whether it writes, octets of the PDU in front of the first value). MAP 6.1 to 6.16.
_READS = {1: ("coil", 2), 2: ("di", 2), 3: ("hr", 2), 4: ("ir", 2)}
_WRITES = {5: ("coil", 3), 6: ("hr", 3), 15: ("coil", 6), 16: ("hr", 6)}
_BYTES = {"abcd": (0, 1, 2, 3), "badc": (1, 0, 3, 2), "cdab": (2, 3, 0, 1), "dcba": (3, 2, 1, 0)}
S7_JOB, S7_ACK = 10, 12  # octets of the header of a job, of an ack with data
S7_READ, S7_WRITE, S7ANY, S7_OK = 4, 5, 0x10, 0xFF
_S7_AREAS = {0x81: "I", 0x82: "Q", 0x83: "M", 0x84: "DB"}
_S7_BITS = {1: 1, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 32, 8: 32}  # transport size of a variable -> bits of one


class Place(NamedTuple):
    """Where one tag's value stands. octets: offsets of four octets, the highest first; a shorter value repeats its own.

    shift: bit in the last octet. length: what the PDU's length must be, -1 for any that reaches far enough; header:
    offset of four octets that must be `expected`, -1 for none.
    """

    tag: int
    octets: tuple[int, int, int, int]
    shift: int = 0
    length: int = -1
    header: int = -1
    expected: int = 0


class Points:
    """Tags of one device and station in one space, by number."""

    def __init__(self, tags: Sequence[tuple[int, Tag]]) -> None:
        self.tags = sorted(tags, key=lambda it: it[1].at)
        self.numbers = [tag.at for _, tag in self.tags]

    def within(self, first: int, last: int) -> Iterator[tuple[int, Tag]]:
        """Tags whose number lies between two."""
        for at in range(bisect.bisect_left(self.numbers, first), bisect.bisect_right(self.numbers, last)):
            yield self.tags[at]


def octets(at: int, tag: Tag) -> tuple[int, int, int, int]:
    """Offsets of a value's octets, the highest first; a shorter value stands in the last ones."""
    size = max(BITS[tag.type] // 8, 1)
    if size == 4:
        a, b, c, d = (at + step for step in _BYTES[tag.order])
        return a, b, c, d
    last = (at + 1, at) if size == 2 and tag.order in ("badc", "dcba") else (at, at + size - 1)
    return last[0], last[0], last[0], last[1]


def modbus_space(b: Any) -> tuple[str, int] | None:
    """(space, offset of the first value) of a behaviour whose PDUs carry values; None where they carry none."""
    head = RTU if b.protocol == Protocol.MODBUS_RTU else MBAP
    known = (_READS if b.outcome == Outcome.ANSWERED else _WRITES).get(int(b.function))
    return (known[0], head + known[1]) if known and b.object >= 0 else None


def modbus(b: Any, points: Points, begin: int) -> Iterator[Place]:
    """Places of tags in the PDUs of a Modbus behaviour; begin: offset of the first value."""
    first, count = int(b.object), max(int(b.quantity), 1)
    for number, tag in points.within(first, first + count - 1):
        step = tag.at - first
        if tag.type == "bool":
            at = begin + (step >> 3)
            yield Place(number, (at, at, at, at), shift=step & 7)
        elif step + tag.bits // 16 <= count:
            yield Place(number, octets(begin + 2 * step, tag))


def s7comm(request: bytes, pdu: bytes, spaces: dict[str, Points], *, writes: bool) -> Iterator[Place]:
    """Places of tags in the PDUs of a read's answer, or of a write.

    request: the job that names the variables; pdu: the first PDU that carries values, the same one for a write.
    """
    if len(request) < S7_JOB + 2 or request[S7_JOB] != (S7_WRITE if writes else S7_READ):
        return
    data = (S7_JOB if writes else S7_ACK) + int.from_bytes(pdu[6:8], "big")
    at = S7_JOB + 2
    for _ in range(request[S7_JOB + 1]):
        item = request[at : at + 12]
        if len(item) < 12 or item[2] != S7ANY or len(pdu) < data + 4:
            return  # another way to address: what follows cannot be told
        at += 12
        size, length = pdu[data + 1], int.from_bytes(pdu[data + 2 : data + 4], "big")
        held = (length + 7) >> 3 if size in (3, 4, 5) else length
        good = writes or pdu[data] == S7_OK
        if good:
            yield from _s7_values(item, pdu, data, spaces)
        else:
            held = 0
        data += 4 + held + (held & 1)


def _s7_values(item: bytes, pdu: bytes, data: int, spaces: dict[str, Points]) -> Iterator[Place]:
    """Places of tags in one data item that begins at pdu[data]."""
    block, area = int.from_bytes(item[6:8], "big"), _S7_AREAS.get(item[8], "")
    points = spaces.get(f"DB{block}" if area == "DB" else area)
    bits = _S7_BITS.get(item[3], 0) * int.from_bytes(item[4:6], "big")
    if points is None or not bits:
        return
    first = int.from_bytes(item[9:12], "big")
    expected = int.from_bytes(pdu[data : data + 4], "big")
    for number, tag in points.within(first, first + bits - 1):
        step = tag.at - first
        if step + tag.bits > bits or (tag.type != "bool" and step & 7):
            continue
        at = data + 4 + (step >> 3)
        single = item[3] == 1  # a bit alone stands in the lowest bit of its octet
        shift = 0 if single else tag.at & 7
        places = (at, at, at, at) if tag.type == "bool" else octets(at, tag)
        yield Place(number, places, shift if tag.type == "bool" else 0, len(pdu), data, expected)
