"""The frames of a small classic pcap file, for showing them as hex. The file comes from a sensor: it is hostile."""

from __future__ import annotations

import struct
from dataclasses import dataclass

ORDERS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
SHOWN_FRAMES = 20
SHOWN_BYTES = 1600  # of each frame


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured frame. ts_ns: ns since 1970; length: on the wire; data: its first bytes."""

    ts_ns: int
    length: int
    data: bytes

    @property
    def lines(self) -> list[tuple[str, str, str]]:
        """Offset, hex and printable ASCII of sixteen bytes a line."""
        found = []
        for at in range(0, len(self.data), 16):
            part = self.data[at : at + 16]
            text = "".join(chr(b) if 32 <= b < 127 else "·" for b in part)
            pairs = f"{part[:8].hex(' ')}  {part[8:].hex(' ')}"
            found.append((f"{at:04x}", pairs, text))
        return found


def frames(pcap: bytes) -> list[Frame]:
    """The first frames of a classic pcap (draft-ietf-opsawg-pcap); what is cut off or impossible ends the list."""
    order = ORDERS.get(pcap[:4])
    if order is None or len(pcap) < 24:
        return []
    endian, unit = order
    found: list[Frame] = []
    at = 24
    while at + 16 <= len(pcap) and len(found) < SHOWN_FRAMES:
        seconds, fraction, kept, length = struct.unpack_from(f"{endian}IIII", pcap, at)
        at += 16
        if kept > len(pcap) - at:
            break
        found.append(Frame(seconds * 1_000_000_000 + fraction * unit, length, pcap[at : at + min(kept, SHOWN_BYTES)]))
        at += kept
    return found
