"""Frames made byte by byte, for tests of the decoder: no dependency, every octet in sight."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

import numpy as np

from sensor.capture.frames import FrameBatch

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
MASTER, PLC = "10.1.0.5", "10.1.0.20"
SECOND = 1_000_000_000


def ethernet(payload: bytes, ethertype: int, tags: Sequence[tuple[int, int]] = ()) -> bytes:
    """An Ethernet II frame; `tags` are (TPID, VLAN id) from the outside in."""
    stack = b"".join(struct.pack("!HH", tpid, vlan) for tpid, vlan in tags)
    return bytes(12) + stack + struct.pack("!H", ethertype) + payload


def ip(payload: bytes, protocol: int, src: str, dst: str) -> tuple[int, bytes]:
    """(EtherType, packet) of IPv4 or IPv6, by the kind of address."""
    a, b = ip_address(src), ip_address(dst)
    if a.version == 4:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol, 0)
        return 0x0800, head + a.packed + b.packed + payload
    return 0x86DD, struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + a.packed + b.packed + payload


def tcp(
    payload: bytes = b"",
    *,
    seq: int,
    ack: int = 0,
    flags: int = ACK | PSH,
    src: str = MASTER,
    dst: str = PLC,
    sport: int = 50000,
    dport: int = 502,
    tags: Sequence[tuple[int, int]] = (),
) -> bytes:
    """One TCP segment in an Ethernet frame."""
    head = struct.pack("!HHIIBBHHH", sport, dport, seq % 2**32, ack % 2**32, 0x50, flags, 8192, 0, 0)
    ethertype, packet = ip(head + payload, 6, src, dst)
    return ethernet(packet, ethertype, tags)


def udp(payload: bytes, *, src: str = MASTER, dst: str = PLC, sport: int = 50000, dport: int = 20000) -> bytes:
    """One UDP datagram in an Ethernet frame."""
    ethertype, packet = ip(struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload, 17, src, dst)
    return ethernet(packet, ethertype)


@dataclass
class Talk:
    """A TCP conversation that keeps its own sequence numbers; the methods give frames."""

    src: str = MASTER
    dst: str = PLC
    sport: int = 50000
    dport: int = 502
    client_seq: int = 1000
    server_seq: int = 9000
    tags: Sequence[tuple[int, int]] = field(default_factory=tuple)

    def handshake(self) -> list[bytes]:
        """SYN, SYN-ACK, ACK."""
        syn = self._frame(b"", SYN, forward=True)
        self.client_seq += 1
        syn_ack = self._frame(b"", SYN | ACK, forward=False)
        self.server_seq += 1
        return [syn, syn_ack, self._frame(b"", ACK, forward=True)]

    def asks(self, payload: bytes) -> bytes:
        """The client's next segment."""
        frame = self._frame(payload, ACK | PSH, forward=True)
        self.client_seq = (self.client_seq + len(payload)) % 2**32
        return frame

    def answers(self, payload: bytes) -> bytes:
        """The server's next segment."""
        frame = self._frame(payload, ACK | PSH, forward=False)
        self.server_seq = (self.server_seq + len(payload)) % 2**32
        return frame

    def _frame(self, payload: bytes, flags: int, *, forward: bool) -> bytes:
        if forward:
            return tcp(
                payload, seq=self.client_seq, ack=self.server_seq, flags=flags,
                src=self.src, dst=self.dst, sport=self.sport, dport=self.dport, tags=self.tags,
            )  # fmt: skip
        return tcp(
            payload, seq=self.server_seq, ack=self.client_seq, flags=flags,
            src=self.dst, dst=self.src, sport=self.dport, dport=self.sport, tags=self.tags,
        )  # fmt: skip


def frames(
    packets: Iterable[bytes],
    *,
    link: int = 1,
    first: int = 1,
    step_ns: int = SECOND // 1000,
    cut: dict[int, int] | None = None,
) -> FrameBatch:
    """A FrameBatch of the packets, `step_ns` apart; `cut` maps an index to how many bytes the capture kept of it."""
    whole = list(packets)
    kept = [packet[: (cut or {}).get(i, len(packet))] for i, packet in enumerate(whole)]
    lengths = np.array([len(packet) for packet in kept], np.int32)
    count = len(whole)
    return FrameBatch(
        data=np.frombuffer(bytearray(b"".join(kept)), np.uint8),
        ts_ns=1_700_000_000 * SECOND + np.arange(first - 1, first - 1 + count, dtype=np.int64) * step_ns,
        offset=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)[:-1]]).astype(np.int64)
        if count
        else np.zeros(0, np.int64),
        captured=lengths,
        wire=np.array([len(packet) for packet in whole], np.int32),
        link=np.full(count, link, np.int32),
        first=first,
    )


def read_coils(transaction: int, address: int = 0, quantity: int = 8, unit: int = 1) -> bytes:
    """A Modbus/TCP request, function 1."""
    return struct.pack("!HHHBBHH", transaction, 0, 6, unit, 1, address, quantity)


def coils(transaction: int, bits: int = 0x55, unit: int = 1) -> bytes:
    """Its answer with one octet of coils."""
    return struct.pack("!HHHBBBB", transaction, 0, 4, unit, 1, 1, bits)


def refusal(transaction: int, function: int = 1, code: int = 2, unit: int = 1) -> bytes:
    """An exception response."""
    return struct.pack("!HHHBBB", transaction, 0, 3, unit, function | 0x80, code)


def write_register(transaction: int, address: int, value: int, unit: int = 1) -> bytes:
    """A Modbus/TCP request, function 6; its answer is the same bytes."""
    return struct.pack("!HHHBBHH", transaction, 0, 6, unit, 6, address, value)
