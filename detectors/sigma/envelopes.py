"""What a protocol puts around the message that a sample writes down: its header, lengths, transaction numbers.

Only what never decides whether a rule matches is added here; see docs/rules.md, "Samples", for what a sample writes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

TCP, UDP, ETHERNET = 6, 17, 0


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a sample.

    body, rest: the octets before and after `|`. asks: it opens an exchange. by_client: who sends it. number: of the
    exchange that it belongs to, from 1 between two hosts; sent, received: I-format messages so far, for telecontrol.
    options: `key=value` of its line.
    """

    body: bytes
    rest: bytes = b""
    asks: bool = True
    by_client: bool = True
    number: int = 1
    sent: int = 0
    received: int = 0
    options: Mapping[str, int] = field(default_factory=dict)


def modbus(said: Said) -> bytes:
    """MBAP header and PDU."""
    return struct.pack(">HHHB", said.number, 0, len(said.body) + 1, said.options.get("unit", 1)) + said.body


def _tpkt(user_data: bytes) -> bytes:
    """TPKT and a COTP data TPDU."""
    return struct.pack(">BBHBBB", 3, 0, 7 + len(user_data), 2, 0xF0, 0x80) + user_data


def s7comm(said: Said) -> bytes:
    """Parameters, and data behind `|`; parameters that begin with 00 or 01 are user data, others a job or its ack."""
    lengths = struct.pack(">HH", len(said.body), len(said.rest))
    if said.body[:1] <= b"\x01":
        head = struct.pack(">BBHH", 0x32, 7, 0, said.number) + lengths
    elif said.asks:
        head = struct.pack(">BBHH", 0x32, 1, 0, said.number) + lengths
    else:
        head = struct.pack(">BBHH", 0x32, 3, 0, said.number) + lengths + said.options.get("error", 0).to_bytes(2, "big")
    return _tpkt(head + said.body + said.rest)


def s7comm_plus(said: Said) -> bytes:
    """Header and trailer of S7comm-plus around opcode, function and the rest."""
    version = said.options.get("version", 2)
    ends = struct.pack(">BBH", 0x72, version, len(said.body)), struct.pack(">BBH", 0x72, version, 0)
    return _tpkt(ends[0] + said.body + ends[1])


def _crc(octets: bytes) -> bytes:
    """CRC-16/DNP (IEEE 1815, 9.2.4.3)."""
    value = 0
    for octet in octets:
        value ^= octet
        for _ in range(8):
            value = (value >> 1) ^ 0xA6BC if value & 1 else value >> 1
    return struct.pack("<H", value ^ 0xFFFF)


def dnp3(said: Said) -> bytes:
    """Link frame, transport octet and application control around function code and objects.

    The options source and destination are link addresses.
    """
    control = 0xC0 if said.asks == said.by_client else 0xF0 if said.asks else 0xD0  # unsolicited, and its confirmation
    segment = bytes([0xC0 | said.number & 0x3F, control | said.number & 0x0F]) + said.body
    master, station = said.options.get("source", 1), said.options.get("destination", 10)
    ends = (station, master) if said.by_client else (master, station)
    header = struct.pack("<BBBBHH", 5, 0x64, 5 + len(segment), 0xC4 if said.by_client else 0x44, *ends)
    blocks = [segment[at : at + 16] for at in range(0, len(segment), 16)]
    return header + _crc(header) + b"".join(block + _crc(block) for block in blocks)


def iec104(said: Said) -> bytes:
    """APCI around an ASDU; a single octet is the control octet of the U format."""
    if len(said.body) == 1:
        return b"\x68\x04" + said.body + bytes(3)
    return struct.pack("<BBHH", 0x68, 4 + len(said.body), said.sent << 1, said.received << 1) + said.body


def enip(said: Said) -> bytes:
    """A CIP message in SendRRData; with the option `command` the data of that encapsulation command."""
    command = said.options.get("command")
    data = said.body
    if command is None:
        command, data = 0x6F, struct.pack("<IHHHHHH", 0, 0, 2, 0, 0, 0xB2, len(data)) + data
    return struct.pack("<HHIIQI", command, len(data), 5, 0, said.number, 0) + data


def opcua(said: Said) -> bytes:
    """A message of the service `service` (its encoding id) with its header, behind which the body follows.

    Without that option the body is a whole chunk but for its length: HELF and the rest.
    """
    service = said.options.get("service")
    if service is None:
        return said.body[:4] + struct.pack("<I", 4 + len(said.body)) + said.body[4:]
    time = struct.pack("<q", 0x01DC_5BA0_0000_0000)
    if said.asks:
        header = bytes(2) + time + struct.pack("<II", said.number, 0) + b"\xff\xff\xff\xff" + bytes(4) + bytes(3)
    else:
        header = time + struct.pack("<II", said.number, said.options.get("status", 0)) + b"\0" + bytes(4) + bytes(3)
    sequence = struct.pack("<IIII", 9, 1, said.number, said.number)
    chunk = sequence + struct.pack("<BBH", 1, 0, service) + header + said.body
    return b"MSGF" + struct.pack("<I", 8 + len(chunk)) + chunk


def bacnet(said: Said) -> bytes:
    """BVLC and NPDU around an APDU; the option layer=2 gives the NPDU, layer=1 the BVLC function and what follows."""
    layer = said.options.get("layer", 3)
    if layer == 1:
        return struct.pack(">BBH", 0x81, said.body[0], 3 + len(said.body)) + said.body[1:]
    confirmed = said.body[:1] < b"\x10"  # the sender of a confirmed request expects an answer
    npdu = said.body if layer == 2 else bytes([1, 4 if confirmed else 0]) + said.body
    return struct.pack(">BBH", 0x81, 0x0A, 4 + len(npdu)) + npdu


def ber(tag: bytes, content: bytes) -> bytes:
    """One element with a definite length (X.690, 8.1.3)."""
    size = len(content)
    if size < 0x80:
        return tag + bytes([size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return tag + bytes([0x80 | len(octets)]) + octets + content


def mms(said: Said) -> bytes:
    """Session, presentation and the confirmed PDU with its invoke id around a service; layer=1: the body is the PDU."""
    pdu = said.body
    if said.options.get("layer") != 1:
        invoke = ber(b"\x02", said.number.to_bytes(2, "big"))
        pdu = ber(b"\xa0" if said.asks else b"\xa1", invoke + pdu)
    return _tpkt(b"\x01\x00\x01\x00" + ber(b"\x61", ber(b"\x30", b"\x02\x01\x03" + ber(b"\xa0", pdu))))


def goose(said: Said) -> bytes:
    """APPID, length and two reserved words before the PDU (IEC 61850-8-1, annex C)."""
    return struct.pack(">HHI", said.options.get("appid", 0x3001), 8 + len(said.body), 0) + said.body


@dataclass(frozen=True, slots=True)
class Envelope:
    """How messages of a protocol travel: put: the octets of one message; options that its lines may have."""

    put: Callable[[Said], bytes]
    port: int
    transport: int = TCP
    options: frozenset[str] = frozenset()


ENVELOPES: Mapping[str, Envelope] = {
    "modbus": Envelope(modbus, 502, options=frozenset({"unit"})),
    "s7comm": Envelope(s7comm, 102, options=frozenset({"error"})),
    "s7comm_plus": Envelope(s7comm_plus, 102, options=frozenset({"version"})),
    "dnp3": Envelope(dnp3, 20000, options=frozenset({"source", "destination"})),
    "iec104": Envelope(iec104, 2404),
    "enip": Envelope(enip, 44818, options=frozenset({"command"})),
    "opcua": Envelope(opcua, 4840, options=frozenset({"service", "status"})),
    "bacnet": Envelope(bacnet, 47808, UDP, frozenset({"layer"})),
    "mms": Envelope(mms, 102, options=frozenset({"layer"})),
    "goose": Envelope(goose, 0x88B8, ETHERNET, frozenset({"appid"})),
}
