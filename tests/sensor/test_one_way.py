"""Over a link with one direction: what was sent is delivered, or proven missing, to the unit."""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ledger import EPOCH, Books, graded, noise, told

from sensor.one_way import sender as sender_module
from sensor.one_way.inbox import GRACE_S, Inbox
from sensor.one_way.receiver import Receiver
from sensor.one_way.sender import OneWayOptions, OneWaySender
from sensor.one_way.wire import (
    CHUNK_BYTES,
    GROUP,
    PARCEL,
    STATE,
    Datagram,
    Puzzle,
    body_of,
    cut,
    key_name,
    keys_of,
    records_in,
    sign,
    verified,
)
from sensor.spool import Spool
from sensor.spool_files import LOSS, Record

KEY = "fhs_key"
KEYS = keys_of(KEY)


def datagrams(body: bytes) -> list[Datagram]:
    chunks = cut(body)
    data = -(-len(body) // CHUNK_BYTES)
    return [Datagram(PARCEL, EPOCH, 1, 9, 0, len(body), n, data, len(chunks) - data, it) for n, it in enumerate(chunks)]


@given(st.binary(min_size=1, max_size=40_000), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_one_lost_chunk_of_each_group_is_made_again_in_any_order(body, chance):
    sent = datagrams(body)
    groups = sent[0].parity
    assert groups == -(-sent[0].data // GROUP)
    for group in range(groups):
        mine = [it for it in sent if (it.number - (it.data if it.number >= it.data else 0)) % groups == group]
        sent.remove(chance.choice(mine))
    chance.shuffle(sent)
    puzzle = Puzzle()
    bodies = [puzzle.put(it) for it in sent]
    assert bodies[-1] == body
    assert bodies[:-1] == [None] * (len(bodies) - 1)


def test_two_lost_chunks_of_a_group_are_not_made_up(tmp_path):
    sent = datagrams(bytes(range(256)) * 40)
    puzzle = Puzzle()
    assert [puzzle.put(it) for it in sent[2 * sent[0].parity + 1 :]] == [None] * (len(sent) - 2 * sent[0].parity - 1)


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_a_datagram_that_was_changed_anywhere_is_not_believed(data):
    whole = sign(KEYS, datagrams(b"body")[0])
    assert verified(KEYS, whole) == datagrams(b"body")[0]
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    assert verified(KEYS, changed) is None
    assert verified(KEYS, whole[: data.draw(st.integers(75, len(whole) - 1))]) is None
    assert verified(keys_of("another key"), whole) is None


@given(st.binary(max_size=200))
def test_what_is_no_datagram_of_ours_names_no_key(data):
    assert key_name(data) is None or data.startswith(b"FHW1")


def test_numbers_that_make_no_sense_are_refused_even_with_the_right_signature():
    good = datagrams(b"x" * 5000)[0]
    for change in (
        {"kind": 3}, {"first": 0}, {"first": 10}, {"data": 0}, {"data": 60_000}, {"parity": 9}, {"number": 6},
        {"length": 0}, {"length": 1 << 31}, {"payload": b"short"},
    ):  # fmt: skip
        assert verified(KEYS, sign(KEYS, good._replace(**change))) is None, change


def test_a_bomb_is_no_body():
    import zlib

    with pytest.raises(ValueError, match="too long"):
        records_in(zlib.compress(b"s\0" + bytes(50_000_000)))
    for rubbish in (b"", b"rubbish", zlib.compress(b"s\0rubbish")):
        with pytest.raises(ValueError):  # noqa: PT011  (each says something else)
            records_in(rubbish)


def test_records_travel_whole():
    records = [Record(n, b'{"n":%d}' % n, 1 + n % 5, f"rule.{n % 3}", n) for n in range(1, 50)]
    records.append(Record(60, b"{}", LOSS, "shed", 22, 11))
    assert records_in(body_of("press-line", records)) == ("press-line", records)


# --- the inbox


def open_spool(folder, **options):
    return Spool(folder, told, **{"clock": lambda: EPOCH, "epoch": EPOCH, **options})


def records(first, last):
    return [
        Record(n, b'{"finding.id":"s/1/%d","rule.id":"r","rule.severity":"low","finding.count":1}' % n, 2, "r")
        for n in range(first, last + 1)
    ]


def drained(spool):
    spool.flush()
    books = Books()
    books.drain(spool)
    return books


def test_what_comes_in_any_order_is_put_in_order(tmp_path):
    inbox = Inbox(open_spool(tmp_path))
    for first in (21, 1, 11):
        inbox.put(records(first, first + 9))
    assert inbox.spool.taken == 30
    assert len(drained(inbox.spool).stored) == 1
    assert inbox.missing == 0


def test_a_gap_is_missing_only_after_the_sender_said_so_and_a_moment_passed(tmp_path):
    inbox = Inbox(open_spool(tmp_path))
    inbox.put(records(1, 5))
    inbox.put(records(9, 9))
    inbox.released(0, 1e9)
    assert inbox.spool.taken == 5
    inbox.released(12, 100.0)
    inbox.released(12, 100.0 + GRACE_S - 0.1)
    assert inbox.spool.taken == 5
    inbox.put(records(6, 6))
    inbox.released(12, 100.0 + GRACE_S)
    assert (inbox.spool.taken, inbox.missing) == (12, 5)
    inbox.put(records(7, 7))
    assert inbox.late == 1, "it was counted as missing"
    books = drained(inbox.spool)
    assert books.known == dict.fromkeys([1, 2, 3, 4, 5, 6, 9], "r") | dict.fromkeys([7, 8, 10, 11, 12], "missing")


def test_what_waits_in_memory_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("sensor.one_way.inbox.MAX_HELD_BYTES", 2000)
    inbox = Inbox(open_spool(tmp_path))
    inbox.put(records(50, 99))
    assert inbox._held_bytes <= 2000
    assert (inbox.spool.taken, inbox.missing) == (99, 49)


# --- both ends with real sockets and a link that loses


class Link:
    """A diode that loses: datagrams come in at one port and go out to another, but for some."""

    def __init__(self, share: float, seed: int) -> None:
        self._in = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._in.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._in.bind(("127.0.0.1", 0))
        self._in.settimeout(0.05)
        self._out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.port = self._in.getsockname()[1]
        self.share, self.to, self.lost, self.carried = share, 0, 0, 0
        self._chance, self._stop = Random(seed), threading.Event()
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    def _carry(self) -> None:
        while not self._stop.is_set():
            try:
                data = self._in.recv(65_535)
            except TimeoutError:
                continue
            if self.to == 0 or self._chance.random() < self.share:
                self.lost += 1
            else:
                self.carried += 1
                self._out.sendto(data, ("127.0.0.1", self.to))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._in.close()
        self._out.close()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(sender_module, "REPEAT_AFTER_S", 0.05)
    monkeypatch.setattr("sensor.one_way.inbox.GRACE_S", 0.3)


def send_all(folder, link, count, copies, chance):
    """The spool of a sensor with `count` findings, sent over the link; how many of each rule there were."""
    spool = Spool(folder, told, clock=lambda: EPOCH)
    made = Books()
    for n in range(count):
        severity = chance.choice((2, 3, 5))
        spool.append(graded(f"rule.{severity}", severity, noise(chance, 300)))
        made.stored[f"rule.{severity}", severity] += 1
        if n % 100 == 0:
            spool.flush()
    spool.flush()
    options = OneWayOptions("127.0.0.1", link.port, copies, 100_000_000)
    sender = OneWaySender(options, KEY, spool, "s")
    sender.drain(threading.Event(), 60)
    assert (spool.acknowledged, sender.sent) == (count, count)
    sender.close()
    spool.close()
    return made


@pytest.mark.parametrize(("share", "copies"), [(0.0, 1), (0.01, 2), (0.05, 2), (0.05, 1), (0.3, 1)])
def test_delivered_and_reported_missing_is_what_was_sent_exactly(tmp_path, quick, share, copies):
    link = Link(share, seed=int(share * 100) + copies)
    receiver = Receiver(("127.0.0.1", 0), "http://127.0.0.1:9", [KEY], tmp_path / "in", lambda *_: {})
    link.to = receiver.port
    stop = threading.Event()
    thread = threading.Thread(target=receiver.run, args=(stop,))
    thread.start()
    try:
        made = send_all(tmp_path / "out", link, 6000, copies, Random(1))
        end = time.monotonic() + 60
        (source,) = receiver.sources.values()
        while time.monotonic() < end and (not source._lives or source._lives[EPOCH].spool.safe < 6000):
            time.sleep(0.05)
    finally:
        stop.set()
        thread.join(20)
        link.close()
    spool = open_spool(tmp_path / "in" / KEYS.name.hex() / str(EPOCH))
    books = drained(spool)
    spool.close()
    assert sorted(books.known) == list(range(1, 6001))
    missing = sum(why == "missing" for why in books.known.values())
    assert sum(books.stored.values()) + missing == 6000
    assert missing == books.untold
    assert all(books.stored[key] <= made.stored[key] for key in books.stored)
    assert (link.lost > 0) == (share > 0)
    if share <= 0.01:
        assert missing == 0, "two copies and parity mend this"
    if share == 0.3:
        assert missing > 0
    assert receiver.strange == 0


def test_what_strangers_send_is_counted_and_nothing_else(tmp_path):
    receiver = Receiver(("127.0.0.1", 0), "http://127.0.0.1:9", [KEY], tmp_path / "in", lambda *_: {})
    stranger = sign(keys_of("stolen"), Datagram(STATE, 1, 0, 0, 1 << 40, 0, 0, 0, 0, b"{}"))
    forged = stranger[:5] + KEYS.name + stranger[13:]
    for data in (b"", b"hello", b"FHW1" + bytes(90), stranger, forged):
        receiver._take(data)
    assert (receiver.datagrams, receiver.strange) == (5, 5)
    assert not (tmp_path / "in").exists()
    receiver._socket.close()


def test_a_sender_that_is_killed_sends_again_what_was_not_sent_often_enough(tmp_path, quick):
    link = Link(0.0, 1)
    spool = Spool(tmp_path / "out", told, clock=lambda: EPOCH)
    for _ in range(100):
        spool.append(graded("rule", 2))
    spool.flush()
    sender = OneWaySender(OneWayOptions("127.0.0.1", link.port, 3), KEY, spool, "s")
    sender.step()
    assert spool.acknowledged == 0
    sender.close()
    spool.close()
    spool = Spool(tmp_path / "out", told)
    sender = OneWaySender(OneWayOptions("127.0.0.1", link.port, 3), KEY, spool, "s")
    sender.drain(threading.Event(), 60)
    assert spool.acknowledged == 100
    sender.close()
    spool.close()
    link.close()


def test_the_rate_is_kept():
    slept = []
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder), told)
        chance = Random(3)
        for _ in range(200):
            spool.append(graded("rule", 2, noise(chance, 500)))
        spool.flush()
        options = OneWayOptions("127.0.0.1", 9, copies=1, bits_per_second=100_000)
        sender = OneWaySender(options, KEY, spool, "s", sleep=slept.append)
        sender.step()
        sent_bits = sender.datagrams * (CHUNK_BYTES + 80) * 8
        # the sleeps are not slept here, so each one is counted from the same moment: the last one is the longest
        assert max(slept) == pytest.approx(sent_bits / 100_000, rel=0.15)
        sender.close()
        spool.close()
