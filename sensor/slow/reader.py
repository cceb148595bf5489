"""SlowReader: frames in, notices of slow protocols out."""

from __future__ import annotations

import secrets
from collections import namedtuple
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from sensor.capture.frames import FrameBatch
from sensor.decode.packet import Tunnel
from sensor.decode.slow_frames import ARP, KNOWN, MOST, PROFINET, SLOW, SLOW_STATE, select
from sensor.records import untouched
from sensor.slow import arp, dcp, dhcp, lldp, names, switches
from sensor.slow.message import Message, Notice
from sensor.slow.octets import ip, mac

LLDP, SLOW_PROTOCOLS = 0x88CC, 0x8809  # EtherTypes; the second is that of IEEE 802.3, annex 57A
LLC_TYPES = range(3, 1501)  # lengths that an 802.3 frame has in place of an EtherType
MAX_BYTES = 2048  # of one message looked at: they fit into a frame
A_SECOND = 1000  # messages read in a second of a live link, at most: a flood must not hold up the rest
SECOND_NS = 10**9

Reader = Callable[[bytes], dict[str, Any]]
# Rows as numbers: to ask a record for one takes a microsecond.
_Row = cast("Any", namedtuple)("_Row", SLOW.names)

ETHERTYPES: dict[int, tuple[str, Reader]] = {
    ARP: ("arp", arp.read),
    LLDP: ("lldp", lldp.read),
    PROFINET: ("profinet_dcp", dcp.read),
}
PORTS: dict[int, tuple[str, Reader]] = {
    67: ("dhcp", dhcp.read),
    68: ("dhcp", dhcp.read),
    546: ("dhcpv6", dhcp.read_v6),
    547: ("dhcpv6", dhcp.read_v6),
    53: ("dns", names.read),
    5353: ("mdns", names.read),
    5355: ("llmnr", names.read),
    137: ("netbios", names.read_netbios),
}

_TYPES = np.zeros(1 << 16, np.uint8)
_TYPES[[*ETHERTYPES, SLOW_PROTOCOLS, *LLC_TYPES]] = 1
_PORTS = np.zeros(1 << 16, np.uint8)
_PORTS[list(PORTS)] = 1


class SlowReader:
    """Keeps the distinct messages of a run, at most KNOWN at a time. refused: messages that were not read."""

    def __init__(self) -> None:
        self._state = untouched(1, SLOW_STATE)
        self._state[0].seed = secrets.randbits(64)
        self._rows = np.zeros(MOST, SLOW)
        self._messages: dict[int, Message | None] = {}
        self._room = float(A_SECOND)
        self._clock_ns = -1

    @staticmethod
    def compile_ahead() -> None:
        """Compile, or load, what reading calls: on a live link frames wait while a compiler runs."""
        wide, narrow = np.zeros(1, np.int64), np.zeros(1, np.int32)
        SlowReader().read(FrameBatch(np.zeros(64, np.uint8), wide, wide, narrow, narrow, narrow, 1))

    @property
    def refused(self) -> int:
        """Messages that were not read: MOST or A_SECOND was reached."""
        return int(self._state[0].refused)

    def read(self, frames: FrameBatch) -> list[Notice]:
        """What the slow protocols said in a batch of frames, each distinct message once, by its first frame."""
        if not frames.size:
            return []
        used = select(
            frames.data, frames.ts_ns, frames.offset, frames.captured, frames.wire, frames.link, frames.first,
            _TYPES, _PORTS, self._allowed(frames), self._state, self._rows,
        )  # fmt: skip
        self._room -= used
        notices = []
        for row in map(_Row._make, self._rows[:used].tolist()):
            if row.new:
                if len(self._messages) >= KNOWN:  # the kernel has forgotten them too
                    self._messages.clear()
                self._messages[row.number] = _parsed(frames.data, row)
            if (message := self._messages.get(row.number)) is not None:
                notices.append(Notice(message, bool(row.new), row.count, row.first_ns, row.last_ns, row.frame))
        return notices

    def _allowed(self, frames: FrameBatch) -> int:
        """How many messages of this batch may be read. A capture is not hurried by anything."""
        if frames.clock_ns < 0:
            return MOST
        passed = (frames.clock_ns - self._clock_ns) / SECOND_NS if self._clock_ns >= 0 else 0.0
        self._clock_ns = frames.clock_ns
        self._room = min(self._room + max(passed, 0.0) * A_SECOND, float(A_SECOND))
        return max(int(self._room), 0)


def _parsed(data: npt.NDArray[np.uint8], row: Any) -> Message | None:
    """The message of a SLOW row; None where its frame has nothing to do with any of the protocols."""
    content = data[row.at : min(row.end, row.at + MAX_BYTES)].tobytes()
    udp = row.dst_port >= 0
    if udp:
        known = PORTS.get(row.dst_port) or PORTS.get(row.src_port)
    else:
        known = ETHERTYPES.get(row.ethertype) or _other(row.ethertype, content)
    if known is None:
        return None
    protocol, read = known
    head = data[row.ethernet : row.ethernet + 12].tobytes() if row.ethernet >= 0 else b""
    octets = 16 if row.family == 6 else 4
    source = (row.src_hi << 64 | row.src_lo) & ((1 << 8 * octets) - 1)
    destination = (row.dst_hi << 64 | row.dst_lo) & ((1 << 8 * octets) - 1)
    return Message(
        number=row.number,
        protocol=protocol,
        source_mac=mac(head[6:]),
        destination_mac=mac(head),
        source_ip=ip(source.to_bytes(octets, "big")) if udp else "",
        destination_ip=ip(destination.to_bytes(octets, "big")) if udp else "",
        source_port=row.src_port if udp else None,
        destination_port=row.dst_port if udp else None,
        vlan=row.vlan if row.vlan >= 0 else None,
        tunnel=Tunnel(row.tunnel).name.lower() if row.tunnel else None,
        segment=row.segment if row.segment >= 0 else None,
        fields=read(content),
    )


def _other(ethertype: int, content: bytes) -> tuple[str, Reader] | None:
    """What an 802.3 frame, or one of the slow protocols of IEEE 802.3, carries."""
    if ethertype == SLOW_PROTOCOLS:
        return ("lacp", switches.read_lacp) if content[:1] == bytes([switches.LACP]) else None
    if content.startswith(switches.SPANNING_TREE):
        return "stp", switches.read_spanning_tree
    if content.startswith(switches.SNAP_CDP):
        return "cdp", switches.read_cdp
    return None
