"""Conversations written as dialogues, given out as Ethernet frames with correct numbers and checksums.

A scenario says who speaks and what; `Lab` keeps the clock and the frames, `TcpDialogue` the sequence numbers. The same
seed gives the same bytes, so that a capture can be rebuilt and compared.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Literal

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from pcaps.plant import Host

BEGINS = datetime(2026, 3, 2, 0, 0, 0, tzinfo=UTC)  # a Monday, 08:00 in China
MSS = 1460
DELAYED_ACK_NS = 40_000_000
THINKING_S = 0.003
SHORTEST_FRAME = 60  # Ethernet pads below this; the frame check sequence is not captured

Side = Literal["client", "server"]
OTHER: dict[Side, Side] = {"client": "server", "server": "client"}


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame.

    ts_ns: capture time in ns since 1970 UTC; data: its bytes from the Ethernet header on; mirror: as in `Host`.
    """

    ts_ns: int
    data: bytes
    mirror: int = 0


class Lab:
    """One capture in the making.

    seed: names the capture; ports, initial sequence numbers and jitter follow from it alone.
    """

    def __init__(self, seed: str, begins: datetime = BEGINS) -> None:
        self.random = random.Random(seed)
        self.now_ns = int(begins.timestamp()) * 1_000_000_000
        self._frames: list[Frame] = []
        self._ip_ids: dict[str, int] = {}
        self.copies_only_to: Host | None = None  # a mirror port that copies one direction; None copies everything

    def wait(self, seconds: float, jitter: float = 0.0) -> None:
        """Let time pass: `seconds`, give or take `jitter` of it (0.05 = five percent)."""
        self.now_ns += int(seconds * 1e9 * (1 + self.random.uniform(-jitter, jitter)))

    def tcp(
        self, client: Host, server: Host, port: int, *, tags: Sequence[int] = (), midstream: bool = False
    ) -> TcpDialogue:
        """A connection from client to server; it opens with a handshake unless the capture began later.

        tags: VLAN identifiers, outermost first; two of them are 802.1ad around 802.1Q.
        """
        dialogue = TcpDialogue(self, client, server, port, tuple(tags))
        if not midstream:
            dialogue.handshake()
        return dialogue

    def udp(self, source: Host, destination: Host, payload: bytes, *, ports: tuple[int, int]) -> None:
        """One datagram."""
        self.emit(source, destination, UDP(sport=ports[0], dport=ports[1]) / Raw(payload))
        self.now_ns += 3_000_000

    def emit(
        self, source: Host, destination: Host, transport: Packet, tags: Sequence[int] = (), ts_ns: int | None = None
    ) -> bytes:
        """Put one packet on the wire, at `ts_ns` or now, and return the frame."""
        ether = Ether(src=source.mac, dst=destination.mac)
        for depth, tag in enumerate(tags):
            ether /= Dot1AD(vlan=tag) if depth < len(tags) - 1 else Dot1Q(vlan=tag)
        if ":" in source.ip:
            network: Packet = IPv6(src=source.ip, dst=destination.ip, hlim=64)
        else:
            ip_id = self._ip_ids.get(source.ip, self.random.randrange(0x10000))
            self._ip_ids[source.ip] = (ip_id + 1) & 0xFFFF
            network = IP(src=source.ip, dst=destination.ip, ttl=64, id=ip_id, flags="DF")
        data = bytes(ether / network / transport)
        data += bytes(max(0, SHORTEST_FRAME - len(data)))
        if self.copies_only_to in (None, destination):
            mirror = max(source.mirror, destination.mirror)
            self._frames.append(Frame(self.now_ns if ts_ns is None else ts_ns, data, mirror))
        return data

    def raw(self, data: bytes) -> None:
        """Put a frame on the wire that is no IP packet (ARP, GOOSE), filled up to the shortest that Ethernet allows."""
        self._frames.append(Frame(self.now_ns, data + bytes(max(0, SHORTEST_FRAME - len(data)))))

    def repeat(self, data: bytes) -> None:
        """Put a frame on the wire once more, as it was: a retransmission."""
        self._frames.append(Frame(self.now_ns, data))

    def frames(self) -> list[Frame]:
        """All frames in the order of time."""
        return sorted(self._frames, key=lambda frame: frame.ts_ns)


@dataclass(slots=True)
class TcpDialogue:
    """One TCP connection. `client(...)` and `server(...)` speak; sequence numbers and acknowledgements follow."""

    lab: Lab
    client_host: Host
    server_host: Host
    port: int
    tags: tuple[int, ...] = ()
    client_port: int = field(init=False)
    next_seq: dict[Side, int] = field(init=False)
    owes_ack: tuple[Side, int] | None = field(init=False, default=None)  # who must acknowledge, and until when

    def __post_init__(self) -> None:
        self.client_port = self.lab.random.randrange(49152, 65536)
        self.next_seq = {side: self.lab.random.randrange(1 << 32) for side in OTHER}

    def handshake(self) -> None:
        """SYN, SYN-ACK, ACK."""
        opening: tuple[tuple[Side, str], ...] = (("client", "S"), ("server", "SA"), ("client", "A"))
        for side, flags in opening:
            self._segment(side, flags=flags)
            self.lab.now_ns += 400_000

    def client(self, data: bytes, cuts: Sequence[int] = (), order: Sequence[int] = ()) -> list[bytes]:
        """The client sends `data`, see `say`; the server thinks."""
        frames = self.say("client", data, cuts, order)
        self.lab.wait(THINKING_S, jitter=0.4)
        return frames

    def server(self, data: bytes, cuts: Sequence[int] = (), order: Sequence[int] = ()) -> list[bytes]:
        """The server sends `data`, see `say`; the client thinks."""
        frames = self.say("server", data, cuts, order)
        self.lab.wait(THINKING_S, jitter=0.4)
        return frames

    def exchange(self, request: bytes, response: bytes) -> None:
        """The client asks, the server answers."""
        self.client(request)
        self.server(response)

    def say(self, side: Side, data: bytes, cuts: Sequence[int] = (), order: Sequence[int] = ()) -> list[bytes]:
        """One side sends `data` in one segment, or in several.

        cuts: offsets at which a new segment begins; without them, every MSS bytes.
        order: the order in which the segments reach the wire, as indexes; in turn by default.
        Returns the frames in the order of the stream, for retransmissions.
        """
        self._settle_ack(side)
        edges = [0, *(cuts or range(MSS, len(data), MSS)), len(data)]
        parts = [(begin, data[begin:end]) for begin, end in pairwise(edges)]
        first_seq = self.next_seq[side]
        frames = [b""] * len(parts)
        for index in order or range(len(parts)):
            begin, part = parts[index]
            frames[index] = self._segment(side, part, seq=first_seq + begin)
            self.lab.now_ns += 60_000
        self.next_seq[side] = (first_seq + len(data)) & 0xFFFFFFFF
        self.owes_ack = self.owes_ack or (OTHER[side], self.lab.now_ns + DELAYED_ACK_NS)
        return frames

    def close(self) -> None:
        """Both sides finish."""
        for side in OTHER:
            self._settle_ack(side)
            self._segment(side, flags="FA")
            self.lab.now_ns += 400_000
        self._segment("client", flags="A")

    def reset(self, side: Side) -> None:
        """One side breaks the connection off."""
        self._segment(side, flags="RA")
        self.lab.now_ns += 400_000

    def _settle_ack(self, speaker: Side) -> None:
        """Send the acknowledgement that is owed, unless the one who owes it speaks in time and carries it along."""
        if self.owes_ack is None:
            return
        debtor, due_ns = self.owes_ack
        if self.lab.now_ns >= due_ns:
            self._segment(debtor, ts_ns=due_ns)
            self.owes_ack = None
        elif speaker == debtor:
            self.owes_ack = None

    def _segment(
        self, side: Side, data: bytes = b"", *, flags: str = "", seq: int | None = None, ts_ns: int | None = None
    ) -> bytes:
        """Put one segment on the wire. SYN and FIN take a sequence number; `say` counts the data."""
        hosts = {"client": self.client_host, "server": self.server_host}
        ports = {"client": self.client_port, "server": self.port}
        other = OTHER[side]
        tcp = TCP(
            sport=ports[side],
            dport=ports[other],
            seq=(self.next_seq[side] if seq is None else seq) & 0xFFFFFFFF,
            ack=0 if flags == "S" else self.next_seq[other],
            flags=flags or ("PA" if data else "A"),
            window=64240 if side == "client" else 8192,
            options=[("MSS", MSS)] if "S" in flags else [],
        )
        if "S" in flags or "F" in flags:
            self.next_seq[side] = (self.next_seq[side] + 1) & 0xFFFFFFFF
        return self.lab.emit(hosts[side], hosts[other], tcp / Raw(data) if data else tcp, self.tags, ts_ns)
