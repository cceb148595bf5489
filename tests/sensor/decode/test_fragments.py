"""IP fragments: the same bytes give the same datagram, however they were cut; contradictions give every reading."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.encapsulation import erspan_3, frame, over_ip
from support.fragments import Piece, cut, fragmented
from support.wire import MASTER, PLC, frames, read_coils, tcp, udp

from sensor.compiled import njit
from sensor.decode import fragments
from sensor.decode.decoder import Decoder
from sensor.decode.pdu import Anomaly
from sensor.decode.state import (
    COUNTERS,
    DATAGRAM_BYTES,
    DATAGRAM_WAYS,
    DATAGRAMS,
    ENDS,
    FRAGMENTS_EACH,
    READINGS_EACH,
    READINGS_OF_FRAME,
    REASSEMBLE_WITHIN_NS,
    new_state,
)

ENDS6 = ("2001:db8::5", "2001:db8::20")


class Arrival(NamedTuple):
    """A fragment as it arrives."""

    to: int
    data: bytes
    more: bool
    family: int = 4
    datagram: int = 1
    kind: int = 17
    ts_ns: int = 0


@njit(boundscheck=True)
def feed(state, rows, data, out, found):
    """Add fragments, a row of numbers for each; (step, begin, end, marks) of each reading. One call for all of them."""
    s = state[0]
    used, packet = s.used[0], s.packet[0]
    used.assembled = 0
    count = at = 0
    for step in range(len(rows)):
        to, size, more, family, datagram, kind, ts_ns = rows[step]
        packet.family, packet.datagram, packet.kind, packet.more = family, datagram, kind, more
        packet.src_lo, packet.dst_lo, packet.vlan, packet.segment, packet.marks = 5, 20, -1, -1, 0
        packet.at, packet.end, packet.stop, packet.piece_at = at, at + size, at + size, to
        at += size
        used.readings_left = READINGS_OF_FRAME
        fragments.add(s, data, packet, ts_ns, step)
        while used.ready:
            row = fragments.take(s, out)
            if row >= 0 and s.ready[row].frame == step:
                found[count, 0], found[count, 1], found[count, 2], found[count, 3] = (
                    step,
                    packet.at,
                    packet.end,
                    packet.marks,
                )
                count += 1
    return count


class Receiver:
    """The compiled functions on a table of their own: each fragment gives the readings that it makes whole."""

    def __init__(self) -> None:
        self.state = new_state({}, 7)
        self.out = np.zeros(1 << 23, np.uint8)
        self.found = np.zeros((1 << 16, 4), np.int64)

    def take(self, pieces: Iterable[Arrival]) -> list[list[bytes]]:
        """The readings after each piece."""
        arrivals = list(pieces)
        rows = np.array(
            [(a.to, len(a.data), a.more, a.family, a.datagram, a.kind, a.ts_ns) for a in arrivals], np.int64
        )
        data = np.frombuffer(bytearray(b"".join(a.data for a in arrivals)) + bytearray(1), np.uint8)
        readings: list[list[bytes]] = [[] for _ in arrivals]
        for step, begin, end, marks in self.found[: feed(self.state, rows.reshape(-1, 7), data, self.out, self.found)]:
            readings[step].append(self.out[begin:end].tobytes())
            self.marks = Anomaly(int(marks))
        return readings

    def add(self, piece: Piece, **others: int) -> list[bytes]:
        return self.take([Arrival(*piece, **others)])[0]

    def count(self, name: str) -> int:
        return int(self.state[0].counters[0][name])


@pytest.fixture(scope="module")
def shared() -> Receiver:
    return Receiver()


@pytest.fixture
def receiver(shared: Receiver) -> Receiver:
    fragments.close(shared.state[0])
    shared.state[0].counters[0] = np.zeros(1, COUNTERS)[0]
    return shared


def expected(pieces: list[Piece]) -> list[list[bytes]]:
    """The readings after each piece, by dictionaries: what the compiled form is held against."""
    past: dict[int, int] = {}  # last bytes of all that came before the datagram was last whole
    generation: list[Piece] = []
    whole = latest = overlays = 0
    contradicted = False
    answers = []
    for piece in pieces:
        before = past | {to + k: octet for to, data, _ in generation for k, octet in enumerate(data)}
        generation.append(piece)
        written = [(to + k, octet) for to, data, _ in generation for k, octet in enumerate(data)]
        first: dict[int, int] = {}
        for place, octet in written:
            first.setdefault(place, octet)
        last = dict(written)
        conflict = any(first[place] != octet for place, octet in written)
        everything = past | last
        news = everything != before
        if not piece[2]:
            end = piece[0] + len(piece[1])
            news, latest = news or end != latest, end
        filled = next(k for k in itertools.count() if k not in first)
        reach = next(k for k in itertools.count() if k not in everything)
        said = dict.fromkeys(to + len(data) for to, data, more in generation if not more)
        ends = [end for end in list(said)[:ENDS] if end <= filled]
        readings = []
        if not ends and whole and news and 0 < latest <= reach:
            contradicted = True
            overlays += 1
            if overlays <= READINGS_EACH:
                readings.append(bytes(everything[k] for k in range(latest)))
        if ends:
            changed = contradicted or any(past.get(place, octet) != octet for place, octet in first.items())
            if changed or conflict or ends != [whole]:
                for end in ends:
                    readings.append(bytes(first[k] for k in range(end)))
                    if conflict:
                        readings.append(bytes(last[k] for k in range(end)))
            whole, past, generation, contradicted = ends[-1], everything, [], False
        answers.append(readings)
    return answers


def rest(readings: list[list[bytes]]) -> list[bytes]:
    return [reading for each in readings for reading in each]


DATA = bytes(range(1, 45))


@pytest.mark.parametrize("family", [4, 6])
def test_every_cut_in_two_and_three_in_every_order_gives_the_datagram_with_the_last_fragment(receiver, family):
    arrivals, wanted = [], []
    for edges in [*itertools.combinations(range(8, 44, 8), 1), *itertools.combinations(range(8, 44, 8), 2)]:
        for order in itertools.permutations(cut(DATA, *edges)):
            arrivals += [Arrival(*piece, family=family, datagram=len(wanted)) for piece in order]
            wanted += [[]] * len(edges) + [[DATA]]
    assert receiver.take(arrivals) == wanted
    assert receiver.marks == Anomaly.FRAGMENTED
    assert receiver.count("datagrams_reassembled") == wanted.count([DATA]) > 60
    assert receiver.count("datagrams_conflicting") == receiver.count("datagrams_retired") == 0


def test_fragments_sent_twice_give_the_datagram_once(receiver):
    pieces = cut(DATA, 16, 24)
    doubled = [piece for piece in pieces for _ in range(2)]
    for number, order in enumerate((doubled, pieces + pieces, doubled[::-1])):
        assert rest(receiver.take(Arrival(*piece, datagram=number) for piece in order)) == [DATA]
    assert receiver.count("datagrams_conflicting") == 0
    assert receiver.count("fragments_repeated") == 9


@pytest.mark.parametrize("family", [4, 6])
def test_three_fragments_in_any_relation_give_what_the_model_gives(receiver, family):
    """All triples of intervals over four places, with equal and with contradicting bytes."""
    intervals = list(itertools.combinations(range(5), 2))
    arrivals, wanted = [], []
    for number, triple in enumerate(itertools.product(intervals, repeat=3)):
        for contradicting in (False, True):
            pieces = []
            for k, (a, b) in enumerate(triple):
                data = bytes(n + (64 * k if contradicting else 0) for n in range(8 * a, 8 * b))
                pieces.append((8 * a, data, b < 4))
            datagram = 2 * number + contradicting
            arrivals += [Arrival(*piece, family=family, datagram=datagram) for piece in pieces]
            wanted += expected(pieces)
    found = receiver.take(arrivals)
    assert found == wanted
    assert sum(map(len, found)) > 300


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 20), st.integers(0, 2), st.booleans()), max_size=14))
@settings(max_examples=400, deadline=None)
def test_any_sequence_of_fragments_gives_what_the_model_gives(shared, drawn):
    fragments.close(shared.state[0])
    pieces = [(8 * at, bytes([value]) * size, more) for at, size, value, more in drawn]
    assert shared.take(Arrival(*piece) for piece in pieces) == expected(pieces)


@given(st.lists(st.tuples(st.integers(0, 8191), st.integers(0, 1480), st.booleans(), st.integers(0, 3)), max_size=12))
@settings(max_examples=60, deadline=None)
def test_fragments_anywhere_are_survived(shared, drawn):
    arrivals = [Arrival(8 * at, bytes(size), more, datagram=datagram) for at, size, more, datagram in drawn]
    assert all(0 < len(reading) <= DATAGRAM_BYTES for reading in rest(shared.take(arrivals)))


def test_the_longest_datagram_is_put_together_and_a_longer_one_is_not(receiver):
    data = random.Random(1).randbytes(DATAGRAM_BYTES)
    pieces = cut(data, *range(1480, DATAGRAM_BYTES, 1480))
    assert rest(receiver.take(Arrival(*piece) for piece in pieces)) == [data]
    assert receiver.count("fragments_oversize") == 0
    assert receiver.add((65528, bytes(8), False), datagram=2) == []
    assert receiver.count("fragments_oversize") == 1
    assert rest(receiver.take(Arrival(*piece, datagram=2) for piece in cut(DATA, 16))) == [DATA]
    assert receiver.marks == Anomaly.FRAGMENTED | Anomaly.ILLEGAL


def test_the_smallest_fragments_are_put_together(receiver):
    data = random.Random(2).randbytes(DATAGRAM_BYTES)
    pieces = cut(data, *range(8, DATAGRAM_BYTES, 8))
    random.Random(3).shuffle(pieces)
    assert rest(receiver.take(Arrival(*piece) for piece in pieces)) == [data]
    assert receiver.count("fragments_tiny") == 0  # eight bytes hold the header of UDP
    assert receiver.take([Arrival(0, DATA[:8], True)] * (FRAGMENTS_EACH + 3))[-1] == []
    assert receiver.count("fragments_refused") > 0


@pytest.mark.parametrize(("kind", "size", "tiny"), [(6, 16, 1), (6, 24, 0), (17, 8, 0), (1, 8, 0)])
def test_a_first_fragment_without_the_whole_transport_header_is_marked(receiver, kind, size, tiny):
    assert rest(receiver.take(Arrival(*piece, kind=kind) for piece in cut(DATA, size))) == [DATA]
    assert receiver.count("fragments_tiny") == tiny
    assert receiver.marks == Anomaly.FRAGMENTED | (Anomaly.ILLEGAL if tiny else 0)


def test_a_late_fragment_that_contradicts_gives_a_further_reading(receiver):
    """The first that the sensor sees may never have reached the receiver."""
    bogus, real = b"B" * 16, DATA[:16]
    assert receiver.add((0, bogus, True)) == []
    assert receiver.add((16, DATA[16:], False)) == [bogus + DATA[16:]]
    assert receiver.add((0, real, True)) == [DATA]
    assert receiver.marks == Anomaly.FRAGMENTED | Anomaly.OVERLAP
    assert receiver.count("datagrams_conflicting") == 1


def test_a_false_end_hides_nothing(receiver):
    first, second, third = cut(DATA, 16, 32)
    false = (16, DATA[16:17], False)
    early = receiver.take(Arrival(*piece) for piece in (first, false, second, third))
    assert (early[1], early[-1]) == ([DATA[:17]], [DATA])
    late = receiver.take(Arrival(*piece, datagram=2) for piece in (false, third, (40, b"", False), second, first))
    assert late[-1] == [DATA[:17], DATA, DATA[:40]]
    assert receiver.count("datagrams_conflicting") == 2


def test_an_identification_used_again_gives_each_datagram(receiver):
    others = [bytes([n]) * 40 for n in range(1, 40)]
    found = [rest(receiver.take(Arrival(*piece) for piece in cut(data, 16))) for data in others]
    assert all(data in readings for data, readings in zip(others, found, strict=True))
    assert receiver.count("readings_refused") > 0  # mixtures of old and new are given up to a cap only


def test_fragments_of_other_datagrams_are_not_mixed_in(receiver):
    first, second = cut(DATA, 16)
    assert receiver.add(first) == []
    assert receiver.add(second, datagram=2) == []
    assert receiver.add(second, kind=6) == []
    assert receiver.add(second, family=6) == []
    assert receiver.add(second) == [DATA]


def test_of_ipv6_the_first_fragment_says_the_protocol_and_two_that_differ_give_both(receiver):
    first, second = cut(DATA, 16)
    assert receiver.add(second, family=6, kind=60) == []
    assert receiver.add(first, family=6, kind=6) == [DATA]
    assert receiver.state[0].packet[0].kind == 6
    assert receiver.add(first, family=6, kind=17) == []
    assert receiver.add(second, family=6, kind=17) == [DATA, DATA]
    assert receiver.count("datagrams_conflicting") == 1


def test_what_does_not_become_whole_in_time_is_forgotten_and_counted(receiver):
    first, second = cut(DATA, 16)
    receiver.add(first, ts_ns=0)
    assert receiver.add(second, ts_ns=REASSEMBLE_WITHIN_NS + 1) == []
    assert receiver.count("datagrams_expired") == 1
    assert receiver.add(first, ts_ns=2 * REASSEMBLE_WITHIN_NS) == [DATA]
    fragments.close(receiver.state[0])
    assert receiver.count("datagrams_expired") == 1
    receiver.add(first)
    fragments.close(receiver.state[0])
    assert receiver.count("datagrams_expired") == 2


def test_a_flood_of_first_fragments_is_bounded_and_counted(receiver):
    flood = 3 * DATAGRAMS
    receiver.take(Arrival(0, DATA[:16], True, datagram=number, ts_ns=number) for number in range(flood))
    kept = flood - receiver.count("datagrams_retired")
    assert DATAGRAM_WAYS < kept <= DATAGRAMS
    assert receiver.add((16, DATA[16:], False), datagram=flood - 1) == [DATA]  # the youngest is among them


def decoded(*packets: bytes, **options) -> tuple[list[tuple[int, int, Anomaly]], Decoder]:
    """((frame, transaction, anomalies) of each event, the decoder)."""
    decoder = Decoder(seed=7)
    rows = []
    for batch in decoder.decode([frames(packets, **options)]):
        c = batch.columns
        rows += zip(c.frame.tolist(), c.transaction.tolist(), map(Anomaly, c.anomalies.tolist()), strict=True)
    return rows, decoder


TINY = Anomaly.FRAGMENTED | Anomaly.ILLEGAL


@pytest.mark.parametrize("ends", [(MASTER, PLC), ENDS6])
@pytest.mark.parametrize(("edges", "marks"), [((8,), TINY), ((16, 24), TINY), ((24,), Anomaly.FRAGMENTED)])
@pytest.mark.parametrize("order", [1, -1])
def test_a_request_in_fragments_is_the_same_event_on_the_frame_that_completes_it(ends, edges, marks, order):
    packet = tcp(read_coils(9), seq=5, src=ends[0], dst=ends[1])[14:]
    pieces = fragmented(packet, *edges)[::order]
    rows, decoder = decoded(*pieces)
    assert rows == [(len(pieces), 9, marks)]
    talk = decoder.view.conversation(0)
    assert (talk.ip_a, talk.port_a, talk.ip_b, talk.port_b) == (ends[0], 50000, ends[1], 502)
    assert decoder.counters()["ip_fragments"] == len(pieces)


def test_both_readings_of_contradicting_fragments_are_events():
    one, two = (udp(read_coils(transaction), dport=502)[14:] for transaction in (1, 2))
    (head, tail), (_, other) = fragmented(one, 8), fragmented(two, 8)
    rows, decoder = decoded(tail, other, head)
    marks = Anomaly.FRAGMENTED | Anomaly.OVERLAP
    assert rows == [(3, 1, marks), (3, 2, marks)]
    assert decoder.counters()["datagrams_conflicting"] == 1


def test_fragments_of_a_tunnel_and_fragments_within_a_tunnel_are_put_together():
    inner = tcp(read_coils(5), seq=5)[14:]
    outer = over_ip(erspan_3(frame(inner, 0x0800)), 47)[14:]
    rows, _ = decoded(*fragmented(outer, 24, 64))
    assert rows == [(3, 5, Anomaly.FRAGMENTED)]
    within = [over_ip(erspan_3(piece), 47) for piece in fragmented(inner, 24)]
    assert decoded(*within)[0] == [(2, 5, Anomaly.FRAGMENTED)]
    both = [piece for number, packet in enumerate(within) for piece in fragmented(packet[14:], 32, ident=number)]
    assert decoded(*both)[0] == [(4, 5, Anomaly.FRAGMENTED)]
