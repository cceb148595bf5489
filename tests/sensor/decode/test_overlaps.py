"""Segments that contradict each other: both readings are decoded, in whatever relation the segments stand.

The relations are Allen's (1983): 13 between two intervals; 409 between three. The segments arrive in the order of their
numbers, and as the relations cover every assignment of places to numbers, they cover every order of arrival.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from support.segments import CONTENT, Segment, Variants, decode
from support.sessions import SESSIONS, Session, dnp3, modbus, s7comm
from support.wire import write_register

from sensor.decode.pdu import Anomaly

Interval = tuple[int, int]


def relations(intervals: int) -> list[tuple[Interval, ...]]:
    """All orders in which the ends of so many intervals can stand, as places from 0 on."""
    found = set()
    for ends in itertools.product(range(2 * intervals), repeat=2 * intervals):
        places = {end: place for place, end in enumerate(sorted(set(ends)))}
        pairs = tuple((places[ends[i]], places[ends[i + 1]]) for i in range(0, 2 * intervals, 2))
        if all(begin < end for begin, end in pairs):
            found.add(pairs)
    return sorted(found)


PAIRS, TRIPLES = relations(2), relations(3)


def test_the_relations_are_complete():
    assert (len(PAIRS), len(TRIPLES)) == (13, 409)


def layers(protocol: str) -> list[Session]:
    """Sessions of equal framing and different content: one for each segment, and one for what lies around them."""
    return {
        "modbus": [modbus(value, unit) for value, unit in ((0x1234, 1), (0x5678, 2), (0x9ABC, 3), (0x4242, 4))],
        "s7comm": [s7comm(0x1100 * n + 0x22, 0x0500 + 0x1010 * n) for n in range(4)],
        "dnp3": [dnp3(0x11 * n + 1, 1024 + n) for n in range(4)],
    }[protocol]


class Overlapping:
    """Sessions with segments in given relations, each followed by both readings as sessions of their own."""

    def __init__(self, protocol: str, forward: bool, same: bool) -> None:
        sessions = layers(protocol)
        streams = [b"".join(s.asked if forward else s.answered) for s in sessions]
        self.streams = [streams[0]] * 4 if same else streams
        self.size = len(streams[0])
        assert {len(stream) for stream in streams} == {self.size}
        self.forward = forward
        self.sessions: list[tuple[list[Segment], bytes, bytes]] = []
        self.port = sessions[0].port

    def add(self, order: list[tuple[int, int, int]]) -> None:
        """(layer, begin, end) in order of arrival; what none of them covers comes last."""
        covered = bytearray(self.size)
        for _, begin, end in order:
            covered[begin:end] = b"\1" * (end - begin)
        edges = [0, *(i for i in range(1, self.size) if covered[i] != covered[i - 1]), self.size]
        order = order + [(0, a, b) for a, b in itertools.pairwise(edges) if not covered[a]]
        first, last = bytearray(self.size), bytearray(self.size)
        for layer, begin, end in reversed(order):
            first[begin:end] = self.streams[layer][begin:end]
        for layer, begin, end in order:
            last[begin:end] = self.streams[layer][begin:end]
        plan = [Segment(layer, begin, end, self.forward) for layer, begin, end in order]
        self.sessions.append((plan, bytes(first), bytes(last)))

    def check(self) -> int:
        """Number of sessions in which the readings differ."""
        streams = list(self.streams)
        for _, first, last in self.sessions:
            streams += [first, last]
        variants = Variants(self.port, streams)
        for i, (plan, _, _) in enumerate(self.sessions):
            variants.add(plan)
            for k in range(2):
                variants.add([Segment(len(self.streams) + 2 * i + k, 0, self.size, self.forward, seq=0)])
        got = decode(variants)
        bounds = np.searchsorted(got.variant, np.arange(variants.count + 1))
        rows = [tuple(row) for row in got.content.tolist()]
        overlap = (got.anomalies & Anomaly.OVERLAP) != 0
        assert not (got.anomalies & (Anomaly.GAP | Anomaly.LIMIT)).any()
        differing = 0
        for i in range(len(self.sessions)):
            session, first, last = ([*range(bounds[3 * i + k], bounds[3 * i + k + 1])] for k in range(3))
            one = [rows[row] for row in first]
            wanted = [rows[row] for row in last if rows[row] not in one]
            # The first reading is there as if nothing had happened, and everything beside it is marked.
            left = list(one)
            for row in session:
                if left and rows[row] == left[0]:
                    left.pop(0)
                else:
                    assert overlap[row], self.sessions[i][0]
            assert left == [], self.sessions[i][0]
            second = [rows[row] for row in session if overlap[row]]
            assert [row for row in wanted if row not in second] == [], self.sessions[i][0]
            assert len(session) <= len(one) + 2 * len(last), "a PDU was read more often than it was sent"
            differing += bool(wanted)
        if differing:
            assert got.counters["overlaps"] >= differing
        return differing


def places(size: int, count: int, shift: int) -> list[int]:
    """Octets at which `count` places stand, the first never at 0 unless `shift` is."""
    step = (size - shift) // count
    return [shift + step * i for i in range(count)]


def cases(size: int) -> Iterator[list[tuple[int, int, int]]]:
    for shift in (0, 1, 5):
        for relation in PAIRS:
            at = places(size, 4, shift)
            yield [(layer, at[a], at[b]) for layer, (a, b) in enumerate(relation)]
    for relation in TRIPLES:
        for shift in (0, 7):
            at = places(size, 6, shift)
            yield [(layer, at[a], at[b]) for layer, (a, b) in enumerate(relation)]
            if shift:  # the same behind a beginning that was read already
                yield [(3, 0, shift), *((layer, at[a], at[b]) for layer, (a, b) in enumerate(relation))]


@pytest.mark.parametrize("forward", [True, False], ids=["asked", "answered"])
@pytest.mark.parametrize("protocol", SESSIONS)
def test_both_readings_are_decoded_in_every_relation_of_two_and_three_segments(protocol, forward):
    sessions = Overlapping(protocol, forward, same=False)
    for case in cases(sessions.size):
        sessions.add(case)
    assert sessions.check() > 500


@pytest.mark.parametrize("forward", [True, False], ids=["asked", "answered"])
@pytest.mark.parametrize("protocol", SESSIONS)
def test_overlaps_with_the_same_octets_are_only_retransmissions(protocol, forward):
    sessions = Overlapping(protocol, forward, same=True)
    for case in cases(sessions.size):
        sessions.add(case)
    assert sessions.check() == 0


def test_a_segment_that_was_shifted_by_an_octet_is_also_read_by_itself():
    """As one sees where somebody between the two ends keeps a connection of his own with each of them."""
    whole = modbus().asked
    stream = b"".join(whole)
    variants = Variants(502, [stream, write_register(9, 7, 77)])
    variants.add([Segment(0, 0, len(stream)), Segment(1, 0, 12, seq=len(stream) - 1)])
    variants.add([Segment(0, 0, len(stream)), Segment(1, 0, 12, seq=13)])
    got = decode(variants)
    for variant in range(2):
        mine = got.variant == variant
        bits = got.anomalies[mine]
        values = got.content[mine][:, CONTENT.index("value")]
        assert not (bits[:3] & Anomaly.OVERLAP).any()
        assert [int(value) for value, bit in zip(values, bits, strict=True) if bit & Anomaly.OVERLAP][-1] == 77
