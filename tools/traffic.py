"""What the traces of the bench say: polling of each protocol, a busy link, very many connections."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pcaps.messages import dnp3, modbus, s7comm
from tools.traces import ACK, UDP, Bytes, Exchange, Message, Trace, text

VARIANTS = 128  # of a payload whose contents change from turn to turn
POINTS = 8  # different reads that each connection repeats; a divisor of VARIANTS
REGISTERS = 10  # of each response
SEGMENT = 1460  # the most that a TCP segment carries on Ethernet
UNITS = 8  # of the trace whose requests are all different
POLLED, FLOWS = 64, 100_000  # connections
POLLING = ("modbus", "s7comm", "dnp3")  # names of the traces of one protocol


def varied(make: Callable[[int], bytes], variants: int = VARIANTS) -> Bytes:
    """A payload for each turn; all of one length."""
    return np.stack([np.frombuffer(make(turn), np.uint8) for turn in range(variants)])


def readings(turn: int) -> list[int]:
    """Values that wander as those of a process do, in ten bits."""
    return [(turn * 7 + register * 13) & 0x3FF for register in range(REGISTERS)]


def modbus_polling(connections: int = POLLED, clients: int = 4) -> Exchange:
    """Read holding registers: 12 octets there, 29 back."""
    asks = varied(lambda turn: modbus.adu(0, 1, modbus.read(3, 100 * (turn % POINTS), REGISTERS)))
    answers = varied(lambda turn: modbus.adu(0, 1, modbus.registers(3, readings(turn))))
    messages = [Message(True, asks, stamp=0), Message(False, answers, stamp=0)]
    return Exchange(502, messages, connections, clients, protocol="modbus")


def s7comm_polling(connections: int = POLLED, clients: int = 4) -> Exchange:
    """Read variable, one item of a data block, after COTP connection and setup."""

    def asks(turn: int) -> bytes:
        return s7comm.job(0, s7comm.read_var((s7comm.DB, 1 + turn % POINTS, 0, 2 * REGISTERS)))

    def answers(turn: int) -> bytes:
        values = b"".join(value.to_bytes(2, "big") for value in readings(turn))
        return s7comm.ack_data(0, b"\x04\x01", s7comm.read_var_data(values))

    setup = s7comm.setup_communication()
    opening = [
        Message(True, text(s7comm.connect_request()), counted=False),
        Message(False, text(s7comm.connect_confirm()), counted=False),
        Message(True, text(s7comm.job(0xFFFF, setup))),
        Message(False, text(s7comm.ack_data(0xFFFF, setup))),
    ]
    # The reference is the fifth octet of the PDU, behind TPKT (4) and COTP (3).
    messages = [Message(True, varied(asks), stamp=11), Message(False, varied(answers), stamp=11)]
    return Exchange(s7comm.PORT, messages, connections, clients, opening, protocol="s7comm", net=21)


def dnp3_polling(connections: int = POLLED, clients: int = 4) -> Exchange:
    """Integrity poll, answered by eight binary and six analog inputs: five blocks, each with its CRC."""
    master, outstation = dnp3.Station(1, 10, master=True), dnp3.Station(10, 1, master=False)

    def asks(turn: int) -> bytes:
        return master.send(dnp3.request(turn, dnp3.READ, dnp3.INTEGRITY_POLL))

    def answers(turn: int) -> bytes:
        states = [bool(turn >> bit & 1) for bit in range(8)]
        return outstation.send(dnp3.response(turn, dnp3.binary_inputs(states) + dnp3.analog_inputs(readings(turn)[:6])))

    # VARIANTS is a multiple of 64 and 16, so both sequence numbers go on where the payloads begin again.
    messages = [Message(True, varied(asks)), Message(False, varied(answers))]
    return Exchange(dnp3.PORT, messages, connections, clients, protocol="dnp3", net=22)


def modbus_distinct() -> Exchange:
    """Half a million different requests, of which every second writes: each with its answer a behaviour of its own."""
    turn = np.arange(UNITS << 16)
    unit, register = turn % UNITS, turn // UNITS
    writes = unit % 2 == 1

    def made(writing: bytes, reading: bytes, at: int) -> Bytes:
        payloads = np.where(writes[:, None], text(writing), text(reading))
        payloads[:, 6] = unit + 1
        payloads[writes, at], payloads[writes, at + 1] = register[writes] >> 8, register[writes] & 0xFF
        return payloads

    write = modbus.adu(0, 1, modbus.write_register(0, 7))
    asks = made(write, modbus.adu(0, 1, modbus.read(1, 0, 24)), 8)
    asks[:, 8], asks[:, 9] = register >> 8, register & 0xFF
    answers = made(write, modbus.adu(0, 1, modbus.bits(1, [False] * 24)), 8)  # of the same length
    return Exchange(502, [Message(True, asks, stamp=0), Message(False, answers, stamp=0)], 8, 4, protocol="modbus")


def _pieces(message: bytes, *, acked_each: int = 2) -> list[Message]:
    """A long answer in full segments; the client acknowledges every second one."""
    said = []
    for number, at in enumerate(range(0, len(message), SEGMENT), 1):
        said.append(Message(False, text(message[at : at + SEGMENT])))
        if number % acked_each == 0:
            said.append(Message(True, text(b""), flags=ACK))
    return said


def _noise(size: int, variants: int = 16) -> Bytes:
    return np.random.default_rng(size).integers(0, 256, (variants, size), np.uint8)


def other_traffic() -> list[Exchange]:
    """54 frames of what else an office and a control room send, about 700 octets each."""
    page = b"<html>" + b"<tr><td>pump 7</td><td>running</td></tr>" * 230 + b"</html>"
    asks = (
        b"GET /status.html HTTP/1.1\r\nHost: scada.example\r\nUser-Agent: panel\r\nCookie: s="
        + b"5" * 280
        + b"\r\n\r\n"
    )
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(page)
    http = Exchange(80, [Message(True, text(asks)), *_pieces(head + page)], 200, 20, net=30)

    def record(size: int) -> Bytes:
        sealed = _noise(size)
        sealed[:, :5] = np.frombuffer(b"\x17\x03\x03" + (size - 5).to_bytes(2, "big"), np.uint8)
        return sealed

    tls_messages = [Message(True, record(350))]
    for _ in range(4):
        tls_messages += [
            Message(False, record(SEGMENT)),
            Message(False, record(SEGMENT)),
            Message(True, text(b""), flags=ACK),
        ]
    tls_messages += [Message(True, record(180)), Message(False, record(90)), Message(True, text(b""), flags=ACK)]
    tls = Exchange(443, tls_messages, 300, 50, net=31)

    question = b"\x04plc7\x05plant\x07example\x00\x00\x01\x00\x01"
    query = b"\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + question
    reply = (
        b"\x00\x00\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"
        + question
        + b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04"
    )
    found = varied(lambda turn: reply + bytes([10, 20, 16, turn]))
    lookups = [Message(True, text(query), stamp=0), Message(False, found, stamp=0)]
    dns = [Exchange(53, lookups, 100, 50, transport=UDP, net=net) for net in (32, 33)]

    header = b"\xfeSMB" + (64).to_bytes(2, "little") + bytes(6) + (8).to_bytes(2, "little") + bytes(50)
    read = header + (49).to_bytes(2, "little") + bytes(47)
    contents = (
        header[:16]
        + b"\x01"
        + header[17:]
        + (17).to_bytes(2, "little")
        + bytes(14)
        + _noise(5 * SEGMENT, 1)[0].tobytes()
    )
    smb_messages = [Message(True, text(len(read).to_bytes(4, "big") + read))]
    smb_messages += _pieces(len(contents).to_bytes(4, "big") + contents)
    smb = Exchange(445, smb_messages, 40, 20, net=34)

    sizes = (33, 700, 128, SEGMENT, 9, 260, 77)
    tcp_noise = [Message(number % 2 == 0, _noise(size)) for number, size in enumerate(sizes)]
    udp_noise = [Message(True, _noise(size)) for size in (172, 172, 172, 172, 900, 1200)]
    unknown = [
        Exchange(5201, tcp_noise, 50, 10, net=35),
        Exchange(6000, udp_noise, 20, 20, transport=UDP, net=36),
    ]
    return [http, tls, *dns, smb, *unknown]


def traces() -> dict[str, Trace]:
    """All traces by name."""
    made = (
        Trace("modbus", [modbus_polling()]),
        Trace("s7comm", [s7comm_polling()]),
        Trace("dnp3", [dnp3_polling()]),
        Trace("mixed", [modbus_polling(), s7comm_polling(), dnp3_polling(), *other_traffic()]),
        Trace("distinct", [modbus_distinct()]),
        Trace("flows", [modbus_polling(FLOWS, 200)]),
    )
    return {trace.name: trace for trace in made}
