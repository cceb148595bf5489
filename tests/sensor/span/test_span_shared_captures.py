"""Captures of others: what span-check says about each is what another reckoning, made here, says about it.

That reckoning knows no streaming and no bounds: it takes a capture as a whole, in plain Python.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from support.mirror import MS, SECOND, Seen, faults_of, frames_of

SHARED = Path(__file__).resolve().parents[4] / "shared" / "captures"
CAPTURES = sorted(path for path in SHARED.glob("*/*/capture.pcap*") if path.suffix in (".pcap", ".pcapng"))
SYN, ACK, RST = 2, 16, 4
BY_DESIGN = {0x88B8, 0x88B9, 0x88BA, 0x88A4, 0x88AB, 0x88CD}

pytestmark = [
    pytest.mark.captures,
    pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/captures is not on this machine"),
]

Talk = tuple[bytes, int, bytes, int]


class Segment(NamedTuple):
    """A TCP segment: who to whom, its numbers, and how many bytes it carries on the wire."""

    talk: Talk
    ts_ns: int
    seq: int
    ack: int
    flags: int
    length: int


def network(it: Seen) -> int:
    """Where the IPv4 header begins, -1 where there is none."""
    at = {1: 14, 0: 4, 113: 16, 228: 0, 101: 0, 12: 0}.get(it.link, -1)
    if at < 0:
        return -1
    kind = it.data[12:14] if it.link == 1 else it.data[14:16] if it.link == 113 else b"\x08\x00"
    while it.link == 1 and kind in (b"\x81\x00", b"\x88\xa8"):
        kind, at = it.data[at + 2 : at + 4], at + 4
    sound = kind == b"\x08\x00" and len(it.data) >= at + 20 and it.data[at] >> 4 == 4
    return at if sound else -1


def segments(frames: list[Seen]) -> Iterator[Segment]:
    """The TCP segments of a capture."""
    for it in frames:
        at = network(it)
        if at < 0 or it.data[at + 9] != 6 or int.from_bytes(it.data[at + 6 : at + 8], "big") & 0x3FFF:
            continue
        total = int.from_bytes(it.data[at + 2 : at + 4], "big") or it.wire - at
        tcp = at + (it.data[at] & 15) * 4
        if len(it.data) < tcp + 20:
            continue
        length = min(total - (tcp - at), it.wire - tcp) - (it.data[tcp + 12] >> 4) * 4
        number = [int.from_bytes(it.data[tcp + a : tcp + b], "big") for a, b in ((0, 2), (2, 4), (4, 8), (8, 12))]
        talk = it.data[at + 12 : at + 16], number[0], it.data[at + 16 : at + 20], number[1]
        yield Segment(talk, it.ts_ns, number[2], number[3], it.data[tcp + 13], max(length, 0))


def back(talk: Talk) -> Talk:
    """The other direction."""
    return talk[2], talk[3], talk[0], talk[1]


def one_way(frames: list[Seen]) -> bool:
    """Whether a connection has one direction alone, whose acknowledgements or data go on."""
    acks, data = defaultdict(set), defaultdict(set)
    talks = set()
    for it in segments(frames):
        talks.add(it.talk)
        if it.flags & ACK and not it.flags & RST:
            acks[it.talk].add(it.ack)
        if it.length and not it.flags & (SYN | RST):
            data[it.talk].add(it.seq)
    return any(back(talk) not in talks and (len(acks[talk]) > 3 or len(data[talk]) > 3) for talk in talks)


def gaps(frames: list[Seen]) -> tuple[int, int]:
    """(gaps, segments): runs of bytes that a receiver acknowledged, that the sender went beyond, and nobody saw."""
    lives: Counter[Talk] = Counter()
    begun: dict[Talk, int] = {}
    spans, acked = defaultdict(list), defaultdict(list)
    count = 0
    for it in segments(frames):
        if it.flags & RST:
            continue
        if it.flags & SYN and not it.flags & ACK and begun.get(it.talk) != it.seq:
            begun[it.talk] = it.seq
            lives[it.talk] += 1
            lives[back(it.talk)] += 1
        extra = 1 if it.flags & 3 else 0  # SYN and FIN take a number
        key = it.talk, lives[it.talk]
        if it.length + extra or key in spans:
            spans[key].append((it.seq, it.seq + it.length + extra))
        count += it.length > 0
        if it.flags & ACK:
            acked[back(it.talk), lives[it.talk]].append(it.ack)
    missing = 0
    for key, seen in spans.items():
        base = seen[0][0]
        near = sorted((a - base, b - base) for a, b in seen if abs(a - base) < 1 << 23)
        ends = [ack - base for ack in acked[key] if abs(ack - base) < 1 << 23]
        if not ends or (back(key[0]), key[1]) not in spans:
            continue
        limit, reached = min(max(ends), near[-1][0]), near[0][1]
        for begin, end in near:
            missing += reached < min(begin, limit)
            reached = max(reached, end)
    return missing, count


def copies(frames: list[Seen]) -> bool:
    """Whether somebody's frames come twice, the same bytes, within milliseconds: at least three, and half of them."""
    last: dict[bytes, int] = {}
    twice: defaultdict[bytes, set[bytes]] = defaultdict(set)
    distinct: Counter[bytes] = Counter()
    for it in frames:
        at = network(it)
        if at < 0:
            continue
        tcp = at + (it.data[at] & 15) * 4
        sender = it.data[at + 9 : at + 10] + it.data[at + 12 : at + 20] + it.data[tcp : tcp + 4]
        anonymous = it.data[at + 4 : at + 6] == b"\0\0" and it.data[at + 9] != 6
        within = 2 * MS if anonymous else 20 * MS
        content = it.data[: at + 10] + it.data[at + 12 :]  # a card may fill the checksum in between the two
        if content in last and 0 <= it.ts_ns - last[content] <= within:
            twice[sender].add(content + last[content].to_bytes(8, "big"))
        else:
            last[content] = it.ts_ns
            distinct[sender] += 1
    return any(len(found) >= 3 and 2 * len(found) >= distinct[sender] for sender, found in twice.items())


def kind_of(it: Seen) -> int:
    """The EtherType of an Ethernet frame, behind its tag."""
    at = 16 if it.data[12:14] == b"\x81\x00" else 12
    return int.from_bytes(it.data[at : at + 2], "big")


def plain(frames: list[Seen]) -> set[str]:
    """Faults that need no connections."""
    found = set()
    times = [it.ts_ns for it in frames]
    if min(times) < 946_684_800 * SECOND:
        found.add("span.clock-unset")
    if len(times) >= 20 and not any(time % (10 * MS) for time in times):
        found.add("span.clock-coarse")
    if any(earlier - later >= SECOND for earlier, later in pairwise(times)):
        found.add("span.clock-back")
    if any(
        len(it.data) < it.wire and (at := network(it)) >= 0
        and at + int.from_bytes(it.data[at + 2 : at + 4], "big") > len(it.data)
        for it in frames
    ):  # fmt: skip
        found.add("span.cut")
    ethernet = [it for it in frames if it.link == 1]
    if (
        len(ethernet) == len(frames) >= 5
        and all(it.data[0] & 1 for it in ethernet)
        and not any(kind_of(it) in BY_DESIGN for it in ethernet)
    ):
        found.add("span.only-broadcast")
    return found


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: "/".join(path.parts[-3:-1]))
def test_every_fault_is_true_and_every_other_capture_gives_none(path: Path) -> None:
    frames = frames_of(path)
    expected = plain(frames)
    if one_way(frames):
        expected.add("span.one-way")
    if copies(frames):
        expected.add("span.doubled")
    found = set(faults_of(frames))
    missing = {"span.loss", "span.silence", "span.one-way-since"}
    assert found - missing == expected
    lost, seen = gaps(frames)
    if found & missing:
        assert lost
    elif lost:
        assert lost <= 2
        assert lost < 0.002 * seen
    if "span.silence" in found:
        times = sorted(it.ts_ns for it in frames)
        assert max(later - earlier for earlier, later in pairwise(times)) >= 5 * SECOND
