"""The same bytes give the same events, however a network or an adversary cut, ordered, repeated or decorated them.

More random variants: FENGHUO_VARIANTS=1000000 pytest tests/sensor/decode/test_segmentation.py
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from support.segments import ACK, CLIENT_START, PSH, SYN, URG, Segment, Variants, decode
from support.sessions import SESSIONS, Session

from sensor.decode.pdu import Anomaly

RST, FIN = 0x04, 0x01
RANDOM_VARIANTS = int(os.environ.get("FENGHUO_VARIANTS", "15000"))  # of each protocol
TO, BACK = 0, 1  # streams

Plan = list[Segment]


def cut(edges: Iterable[int], forward: bool = True) -> Plan:
    """Segments between the edges."""
    return [Segment(TO if forward else BACK, a, b, forward) for a, b in itertools.pairwise(edges)]


class Bench:
    """All variants of one protocol."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.asked, self.answered = b"".join(session.asked), b"".join(session.answered)
        self.variants = Variants(session.port, [self.asked, self.answered])
        self.to, self.back = len(self.asked), len(self.answered)
        self.plain: Plan = cut([0, self.to]) + cut([0, self.back], forward=False)
        self.variants.add(self.plain)
        self.random = random.Random(session.port)

    def add(self, plan: Iterable[Segment], **how: int | bool) -> None:
        self.variants.add(plan, **how)

    def edges(self, size: int, most: int = 8) -> list[int]:
        inner = self.random.sample(range(1, size), self.random.randint(0, min(most, size - 1)))
        return [0, *sorted(inner), size]

    def together(self, to: Plan, back: Plan) -> Plan:
        """Both directions interleaved: an answer never comes before what it answers."""

        def turn(pdus: list[bytes], octet: int) -> int:
            ends = itertools.accumulate(len(pdu) for pdu in pdus)
            return next(i for i, end in enumerate(ends) if octet < end)

        timed = [(float(turn(self.session.asked, s.begin)), s) for s in to]
        timed += [(turn(self.session.answered, s.end - 1) + 0.5, s) for s in back]
        return [s for _, s in sorted(timed, key=lambda pair: pair[0])]

    def check(self, ignored: Anomaly = Anomaly.SPLIT) -> None:
        got = decode(self.variants)
        expected = np.flatnonzero(got.variant == 0)
        size = len(expected)
        assert size == len(self.session.asked) + len(self.session.answered)
        assert (got.anomalies[expected] & ~Anomaly.SPLIT == 0).all()
        counts = np.bincount(got.variant, minlength=self.variants.count)
        assert np.flatnonzero(counts != size).tolist() == [], "variants with another number of events"
        assert len(got.variant) == size * self.variants.count
        content = got.content.reshape(self.variants.count, size, -1)
        differing = np.flatnonzero((content != content[0]).any(axis=(1, 2)))
        assert differing.tolist() == [], "variants with other events"
        assert np.flatnonzero(got.anomalies & ~int(ignored)).tolist() == [], "events with anomalies"


@pytest.fixture(params=SESSIONS)
def bench(request) -> Bench:
    return Bench(SESSIONS[request.param]())


def test_every_cut_into_two_and_three_in_every_order_of_arrival(bench):
    for edges in itertools.chain(
        ([0, a, bench.to] for a in range(1, bench.to)),
        ([0, a, b, bench.to] for a, b in itertools.combinations(range(1, bench.to), 2)),
    ):
        back = cut([0, bench.back], forward=False)
        for order in itertools.permutations(cut(edges)):
            bench.add([*order, *back])
    for a, b in itertools.combinations(range(1, bench.back), 2):
        bench.add(cut([0, bench.to]) + cut([0, a, b, bench.back], forward=False))
    assert bench.variants.count > 4000
    bench.check()


def test_any_segmentation_order_and_repetition_in_both_directions(bench):
    for _ in range(RANDOM_VARIANTS):
        to, back = cut(bench.edges(bench.to)), cut(bench.edges(bench.back), forward=False)
        kind = bench.random.randrange(4)
        if kind == 0:
            plan = bench.together(to, back)
        elif kind == 1:  # every frame twice: two mirror sources
            plan = [s for s in bench.together(to, back) for _ in range(2)]
        elif kind == 2:  # any order, and again with other cuts
            to += cut(bench.edges(bench.to))
            back += cut(bench.edges(bench.back), forward=False)
            bench.random.shuffle(to)
            bench.random.shuffle(back)
            plan = to + back
        else:  # single octets here and there, some of them sent again
            to = cut(bench.edges(bench.to, most=28))
            plan = [*to, *bench.random.sample(to, min(3, len(to))), *back]
        bench.add(plan, start=bench.random.choice((CLIENT_START, 2**32 - bench.random.randint(1, bench.to))))
    bench.check()


def test_the_sequence_number_may_wrap_at_every_octet_and_the_capture_may_begin_anywhere(bench):
    for wrap in range(bench.to + 1):
        for a in range(1, bench.to, 3):
            bench.add(cut([0, a, bench.to]) + bench.plain[1:], start=2**32 - wrap)
        bench.add(bench.plain, start=2**32 - wrap, syn=False)
    bench.check()


def tricks(bench: Bench, to: Plan) -> Iterator[Plan]:
    """Frames put between the client's segments that change nothing for the receiver."""
    at = [s.begin for s in to] + [bench.to]
    for i, seq in enumerate(at):
        for odd in (
            Segment(TO, flags=RST, seq=seq),
            Segment(TO, flags=RST | ACK, seq=seq + 100_000),
            Segment(TO, flags=FIN | ACK, seq=seq),
            Segment(TO, flags=FIN | ACK, seq=seq - 3),
            Segment(TO, flags=SYN, seq=seq + 77),
            Segment(TO, flags=SYN, seq=seq + 10_000_000),
            Segment(TO, flags=SYN, seq=seq - 10_000_000),
            Segment(TO, flags=ACK, seq=seq - 1),  # keep-alives (RFC 9293, 3.8.4), without and with an octet
            Segment(BACK, 0, 1, seq=seq - 1),
            Segment(TO, flags=SYN, seq=-1),  # the first SYN again
            Segment(TO, flags=URG | ACK, seq=seq),
            Segment(TO, flags=0, seq=seq),
            Segment(BACK, flags=RST, forward=False, seq=0),
        ):
            yield [*to[:i], odd, *to[i:]]


def test_resets_ends_beginnings_and_keep_alives_between_the_segments_change_nothing(bench):
    for a in range(1, bench.to):
        for plan in tricks(bench, cut([0, a, bench.to])):
            bench.add([*plan, *bench.plain[1:]])
    bench.check()


def test_data_go_on_after_an_end_and_may_be_urgent_or_come_with_the_syn(bench):
    for a in range(1, bench.to):
        one, two = cut([0, a, bench.to])
        back = bench.plain[1:]
        bench.add([one._replace(flags=ACK | FIN), two, *back])
        bench.add([one._replace(flags=ACK | RST), two, *back])
        bench.add([one._replace(flags=ACK | PSH | URG), two._replace(flags=ACK | URG), *back])
        bench.add([one._replace(flags=SYN, seq=-1), two, *back], syn=False)
        bench.add([one, two._replace(flags=ACK | PSH | FIN), *back])
    bench.check()


def test_a_forged_beginning_with_data_takes_nothing_from_the_stream(bench):
    """The forged PDU may be read as well: what the stream gives must be there, whole and in order."""
    first = len(bench.session.asked[0])
    for a in range(1, bench.to):
        one, two = cut([0, a, bench.to])
        for away in (5_000, -5_000, 20_000_000, -20_000_000):
            forged = Segment(TO, 0, first, seq=a + away, flags=SYN)
            bench.add([one, forged._replace(seq=a + away - 1), two, *bench.plain[1:]])
    got = decode(bench.variants)
    rows = np.bincount(got.variant)
    expected = got.content[got.variant == 0]
    assert rows.min() >= len(expected)
    for variant in range(bench.variants.count):
        mine = [tuple(row) for row in got.content[got.variant == variant][:, -1:]]
        found = iter(mine)
        assert all(tuple(row) in found for row in expected[:, -1:]), variant
