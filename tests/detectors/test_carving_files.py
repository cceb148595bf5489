"""Files of FTP, TFTP and HTTP are put together from the frames that carried them, and only those are looked at."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from support.findings import Plant
from support.wire import ACK, FIN, PSH, SYN, Talk, ethernet, tcp, udp

from detectors.carving import files as limits
from detectors.carving.carver import Carving, Watcher
from detectors.carving.ftp import Control
from detectors.carving.http import Half
from detectors.carving.select import packets, rows_with_ports
from detectors.carving.tcp import Direction
from detectors.pipeline import Options, Pipeline
from pcaps.messages import modbus

CLIENT, SERVER = "10.1.0.5", "10.1.0.20"
FIRMWARE = bytes(range(256)) * 20


def carved(plant, size=None):
    """Every artifact."""
    found = []
    watcher = Watcher(lambda artifact, _: found.append(artifact) or (), lambda *_: ())
    list(Pipeline(Options(), [Carving(None, [watcher])]).run(plant.batches(size)))
    return found


def ends(plant, talk):
    """Both ends close."""
    plant.sends(talk._frame(b"", FIN | ACK, forward=True))
    plant.sends(talk._frame(b"", FIN | ACK, forward=False))


def ftp_transfer(plant, commands, data, *, to_server, port=4021, active=False):
    """A control connection and its data connection."""
    control = Talk(src=CLIENT, dst=SERVER, sport=40001, dport=21)
    for frame in control.handshake():
        plant.sends(frame)
    for asked, answered in commands:
        plant.sends(control.asks(asked))
        plant.sends(control.answers(answered))
    carrier = (
        Talk(src=SERVER, dst=CLIENT, sport=20, dport=port) if active
        else Talk(src=CLIENT, dst=SERVER, sport=40002, dport=port)
    )  # fmt: skip
    for frame in carrier.handshake():
        plant.sends(frame)
    says = carrier.answers if to_server == active else carrier.asks
    for at in range(0, len(data), 1000):
        plant.sends(says(data[at : at + 1000]))
    ends(plant, carrier)


PASSIVE = (b"PASV\r\n", b"227 Entering Passive Mode (10,1,0,20,15,181)\r\n")


@pytest.mark.parametrize("size", [None, 1, 7])
def test_a_file_stored_over_a_passive_connection(size):
    plant = Plant()
    ftp_transfer(
        plant,
        [(b"USER loader\r\n", b"331 ?\r\n"), (b"PASS hidden-secret\r\n", b"230 ok\r\n"), PASSIVE,
         (b"STOR /flash/fw.bin\r\n", b"150 go\r\n")],
        FIRMWARE, to_server=True,
    )  # fmt: skip
    (made,) = carved(plant, size)
    assert (made.name, made.data, made.complete) == ("/flash/fw.bin", FIRMWARE, True)
    assert (made.source, made.destination, made.device, made.to_device) == (CLIENT, SERVER, SERVER, True)
    assert made.frames
    assert "hidden-secret" not in str(made.describe())


def test_a_file_fetched_over_an_extended_passive_connection():
    plant = Plant()
    passive = (b"EPSV\r\n", b"229 Entering Extended Passive Mode (|||4021|)\r\n")
    ftp_transfer(plant, [passive, (b"RETR conf.xml\r\n", b"150 go\r\n")], b"<a/>" * 9, to_server=False)
    (made,) = carved(plant)
    assert (made.name, made.source, made.to_device) == ("conf.xml", SERVER, False)


def test_a_file_stored_over_an_active_connection():
    plant = Plant()
    active = (b"PORT 10,1,0,5,15,181\r\n", b"200 ok\r\n")
    ftp_transfer(plant, [active, (b"STOR x.apx\r\n", b"150 go\r\n")], b"APX" * 50, to_server=True, active=True)
    (made,) = carved(plant)
    assert (made.name, made.data, made.destination) == ("x.apx", b"APX" * 50, SERVER)


def test_a_listing_of_a_folder_is_no_file():
    plant = Plant()
    ftp_transfer(plant, [PASSIVE, (b"LIST\r\n", b"150 here\r\n")], b"-rw-r--r-- x\r\n", to_server=False)
    assert carved(plant) == []


def test_segments_out_of_order_and_sent_twice_give_the_same_file():
    plant, talk = Plant(), Talk(src=CLIENT, dst=SERVER, sport=40001, dport=80)
    for frame in talk.handshake():
        plant.sends(frame)
    head = b"PUT /up/logic.bin HTTP/1.1\r\nContent-Length: 3000\r\nAuthorization: Basic c2VjcmV0\r\n\r\n"
    frames = [talk.asks(head), *(talk.asks(bytes([n]) * 1000) for n in (1, 2, 3))]
    for number in (0, 3, 1, 1, 2):
        plant.sends(frames[number])
    (made,) = carved(plant)
    assert made.data == bytes([1]) * 1000 + bytes([2]) * 1000 + bytes([3]) * 1000
    assert (made.name, made.complete, made.details["http.method"]) == ("logic.bin", True, "PUT")
    assert "c2VjcmV0" not in str(made.describe())


def test_a_segment_that_is_missing_makes_a_file_incomplete():
    plant, talk = Plant(), Talk(src=CLIENT, dst=SERVER, sport=40001, dport=80)
    for frame in talk.handshake():
        plant.sends(frame)
    plant.sends(talk.asks(b"POST /a HTTP/1.1\r\nContent-Length: 3000\r\n\r\n"))
    plant.sends(talk.asks(bytes(1000)))
    talk.asks(bytes(1000))
    plant.sends(talk.asks(bytes(1000)))
    ends(plant, talk)
    (made,) = carved(plant)
    assert (made.missing, made.complete, len(made.data)) == (1000, False, 2000)


def test_responses_are_named_by_what_was_asked():
    plant, talk = Plant(), Talk(src=CLIENT, dst=SERVER, sport=40001, dport=8080)
    for frame in talk.handshake():
        plant.sends(frame)
    plant.sends(talk.asks(b"GET /a/first.js?x=1 HTTP/1.1\r\n\r\nHEAD /b HTTP/1.1\r\n\r\nGET /third HTTP/1.1\r\n\r\n"))
    plant.sends(talk.answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n0123456789abcdef\r\n"))
    plant.sends(talk.answers(b"4\r\nwxyz\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"))
    plant.sends(talk.answers(b"HTTP/1.1 200 OK\r\nContent-Type: text/html; a=b\r\n\r\n" + b"<p>" * 20))
    ends(plant, talk)
    found = carved(plant)
    assert [(it.name, it.data) for it in found] == [("first.js", b"0123456789abcdefwxyz"), ("third", b"<p>" * 20)]
    assert found[1].details["http.media_type"] == "text/html"


@pytest.mark.parametrize("block_size", [512, 1024])
def test_a_file_written_by_tftp(block_size):
    plant, data = Plant(), FIRMWARE[:2100]
    option = b"" if block_size == 512 else b"blksize\0001024\0"
    plant.sends(udp(b"\0\2fw.img\0octet\0" + option, src=CLIENT, dst=SERVER, sport=3000, dport=69))
    answer = b"\0\6" + option if option else b"\0\4\0\0"
    plant.sends(udp(answer, src=SERVER, dst=CLIENT, sport=5555, dport=3000))
    for number, at in enumerate(range(0, len(data) + 1, block_size), 1):
        payload = b"\0\3" + number.to_bytes(2, "big") + data[at : at + block_size]
        for _ in range(2):  # each is sent twice
            plant.sends(udp(payload, src=CLIENT, dst=SERVER, sport=3000, dport=5555))
    (made,) = carved(plant)
    assert (made.name, made.data, made.complete, made.to_device) == ("fw.img", data, True, True)


def test_nothing_is_looked_at_where_no_such_conversation_goes_on():
    plant = Plant()
    for number in range(30):
        plant.exchange(CLIENT, SERVER, modbus.adu(number, 1, modbus.read(3, 0, 1)),
                       modbus.adu(number, 1, modbus.registers(3, [5])))  # fmt: skip
    carving = Carving()
    list(Pipeline(Options(), [carving]).run(plant.batches()))
    assert not carving._files._watched


def test_frames_of_wanted_ports_are_found_behind_tags_and_over_ipv6():
    wanted = np.zeros(65536, np.bool_)
    wanted[21] = True
    plant = Plant()
    plant.sends(tcp(b"USER a\r\n", seq=1, dport=21))
    plant.sends(tcp(b"USER b\r\n", seq=1, dport=21, tags=[(0x88A8, 5), (0x8100, 6)]))
    plant.sends(tcp(b"USER c\r\n", seq=1, src="fe80::1", dst="fe80::2", dport=21))
    plant.sends(tcp(b"no", seq=1, dport=22))
    plant.sends(ethernet(bytes(60), 0x88CC))
    plant.sends(bytes(10))
    (frames,) = plant.batches()
    rows = rows_with_ports(frames, wanted)
    assert [it.payload for it in packets(frames, rows)] == [b"USER a\r\n", b"USER b\r\n", b"USER c\r\n"]


def test_followed_connections_are_bounded(monkeypatch):
    monkeypatch.setattr(limits, "MAX_FLOWS", 3)
    plant = Plant()
    for number in range(8):
        plant.sends(tcp(b"GET / HTTP/1.1\r\n", seq=1, sport=1000 + number, dport=80))
    carving = Carving()
    findings = list(Pipeline(Options(), [carving]).run(plant.batches()))
    assert len(carving._files._connections) <= 3
    assert [it.rule_id for it in findings] == ["carving.limit"]


@settings(max_examples=50, deadline=None)
@given(some.binary(min_size=1, max_size=400), some.lists(some.integers(1, 60), min_size=1, max_size=9), some.randoms())
def test_any_cutting_and_order_of_a_stream_gives_its_octets(data, cuts, random):
    pieces, at, turn = [], 0, 0
    while at < len(data):
        step = cuts[turn % len(cuts)]
        pieces.append((at, data[at : at + step]))
        at, turn = at + step, turn + 1
    order = pieces + random.sample(pieces, len(pieces) // 2)
    random.shuffle(order)
    direction, begin = Direction(), 2**32 - 50
    direction.add(begin - 1, SYN, b"")
    out = b"".join(direction.add((begin + at) % 2**32, ACK | PSH, piece) for at, piece in order)
    assert (out, direction.missing) == (data, 0)


@settings(max_examples=50, deadline=None)
@given(some.lists(some.binary(max_size=80), max_size=6))
def test_any_octets_may_come_on_these_ports(parts):
    half = Half(deque())
    control = Control("10.0.0.1", "10.0.0.2")
    for part in parts:
        for lead in (b"", b"HTTP/1.1 200 OK\r\n", b"227 ", b"PORT "):
            assert all(len(body.data) <= 80 * len(parts) * 4 for body in half.add(lead + part))
            control.add(lead + part, from_client=bool(len(part) % 2))
    list(half.rest())
