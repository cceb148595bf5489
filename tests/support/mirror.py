"""Captures broken on purpose, as a wrong mirror port breaks them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np

from sensor.capture.frames import FrameBatch
from sensor.capture.source import open_capture
from sensor.span.examine import examine
from sensor.span.fault import Fault
from sensor.span.survey import Survey

MS = 1_000_000
SECOND = 1_000 * MS


class Seen(NamedTuple):
    """One frame as it was captured."""

    ts_ns: int
    data: bytes
    wire: int
    link: int = 1


def frames_of(path: Path) -> list[Seen]:
    """All frames of a capture."""
    return [
        Seen(int(ts), batch.data[at : at + size].tobytes(), int(wire), int(link))
        for batch in open_capture(path)
        for ts, at, size, wire, link in zip(
            batch.ts_ns, batch.offset, batch.captured, batch.wire, batch.link, strict=True
        )
    ]


def batch_of(frames: Sequence[Seen], first: int = 1) -> FrameBatch:
    """The frames as one batch."""
    sizes = np.array([len(it.data) for it in frames], np.int64)
    return FrameBatch(
        data=np.frombuffer(bytearray(b"".join(it.data for it in frames)), np.uint8),
        ts_ns=np.array([it.ts_ns for it in frames], np.int64),
        offset=np.cumsum(sizes) - sizes,
        captured=sizes.astype(np.int32),
        wire=np.array([it.wire for it in frames], np.int32),
        link=np.array([it.link for it in frames], np.int32),
        first=first,
    )


def survey_of(frames: Sequence[Seen], vlans: Sequence[int] = (), batch: int = 1000) -> Survey:
    """A settled survey of the frames, given in batches."""
    survey = Survey(vlans)
    survey.run(batch_of(frames[at : at + batch], at + 1) for at in range(0, len(frames), batch))
    return survey


def faults_of(frames: Sequence[Seen], vlans: Sequence[int] = ()) -> dict[str, Fault]:
    """What the checks say about the frames, by id."""
    return {fault.id: fault for fault in examine(survey_of(frames, vlans))}


def ports(frame: Seen) -> tuple[bytes, bytes, int, int] | None:
    """(source, destination, source port, destination port) of untagged IPv4 with TCP or UDP."""
    data = frame.data
    if len(data) < 38 or data[12:14] != b"\x08\x00" or data[23] not in (6, 17):
        return None
    at = 14 + (data[14] & 15) * 4
    return data[26:30], data[30:34], *struct.unpack_from("!HH", data, at)


def only(frames: Sequence[Seen], wanted: Callable[[Seen], bool]) -> list[Seen]:
    """The frames that are wanted."""
    return [it for it in frames if wanted(it)]


def without_sender(frames: Sequence[Seen], port: int) -> list[Seen]:
    """Without what is sent from this port: the direction of the answers is not mirrored."""
    return only(frames, lambda it: (ends := ports(it)) is None or ends[2] != port)


def doubled(frames: Sequence[Seen], delay_ns: int, change: Callable[[bytes], bytes] = bytes) -> list[Seen]:
    """Every frame a second time, later and changed."""
    copies = [it._replace(ts_ns=it.ts_ns + delay_ns, data=change(it.data)) for it in frames]
    copies = [it._replace(wire=len(it.data)) for it in copies]
    return sorted([*frames, *copies], key=lambda it: it.ts_ns)


def cut(frames: Sequence[Seen], length: int) -> list[Seen]:
    """With a snap length."""
    return [it._replace(data=it.data[:length]) for it in frames]


def tagged(data: bytes, vlan: int) -> bytes:
    """With an 802.1Q tag."""
    return data[:12] + struct.pack("!HH", 0x8100, vlan) + data[12:]


def with_tag(frame: Seen, vlan: int) -> Seen:
    """With an 802.1Q tag."""
    return frame._replace(data=tagged(frame.data, vlan), wire=frame.wire + 4)


def routed(data: bytes) -> bytes:
    """Behind a router: other MAC addresses, the time to live one less, the checksum adapted."""
    ttl, total = data[22] - 1, struct.unpack_from("!H", data, 24)[0] + 0x100
    checksum = struct.pack("!H", (total & 0xFFFF) + (total >> 16))
    return b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02" + data[12:22] + bytes([ttl]) + data[23:24] + checksum + data[26:]


def lossy(frames: Sequence[Seen], share: float, seed: int) -> list[Seen]:
    """Without a random share of the frames."""
    random = Random(seed)
    return only(frames, lambda it: random.random() >= share)


def shifted(frames: Sequence[Seen], at: int, by_ns: int) -> list[Seen]:
    """With a clock that is set from frame `at` (from 0) on."""
    return [*frames[:at], *(it._replace(ts_ns=it.ts_ns + by_ns) for it in frames[at:])]
