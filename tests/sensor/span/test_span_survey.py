"""The survey itself: any bytes, any batches, both forms of the compiled code, tunnels, and tables that are full."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.mirror import MS, SECOND, Seen, batch_of, faults_of, frames_of, survey_of, with_tag
from support.wire import MASTER, PLC, Talk, coils, ethernet, ip, read_coils, tcp, udp

from detectors.span_check import SpanCheck
from sensor.span import tables, walk
from sensor.span.examine import examine
from sensor.span.seen import seen
from sensor.span.survey import Survey

ROOT = Path(__file__).resolve().parents[3]
PCAPS = ROOT / "pcaps"
START = 1_750_000_000 * SECOND


def told(survey: Survey) -> str:
    """Everything that a survey says, to compare."""
    return json.dumps([seen(survey), [[it.id, it.evidence, it.frames] for it in examine(survey)]], sort_keys=True)


def poll(count: int, **ends: object) -> list[bytes]:
    """A handshake and so many reads with their answers."""
    talk = Talk(**ends)  # type: ignore[arg-type]
    packets = talk.handshake()
    for i in range(count):
        packets += [talk.asks(read_coils(i)), talk.answers(coils(i))]
    return packets


def spaced(packets: list[bytes], step_ns: int = 40_000_003) -> list[Seen]:
    """The packets at regular times."""
    return [Seen(START + i * step_ns, it, len(it)) for i, it in enumerate(packets)]


@pytest.mark.parametrize("name", ["mixed/three_protocols.pcapng", "mixed/segmentation.pcap", "mixed/segment_lost.pcap"])
def test_batches_and_seeds_make_no_difference(name: str) -> None:
    frames = frames_of(PCAPS / name)
    assert len({told(survey_of(frames, batch=size)) for size in (1, 7, len(frames))}) == 1


def test_the_compiled_and_the_readable_form_say_the_same() -> None:
    names = ["mixed/one_direction.pcap", "mixed/segment_lost.pcap", "mixed/vlan_and_ipv6.pcap", "s7comm/stop.pcap"]
    paths = [str(PCAPS / name) for name in names]
    compiled = io.StringIO()
    assert SpanCheck(form="jsonl", lang="en", complain=print, out=compiled).captures(paths) == 1
    command = [sys.executable, "-W", "ignore", "fenghuo.py", "span-check", "--format", "jsonl", "--lang", "en", *paths]
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)}
    readable = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert readable.returncode == 1
    assert readable.stdout == compiled.getvalue()
    assert len(readable.stdout.splitlines()) == len(names)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.binary(max_size=120), st.integers(-(2**62), 2**62), st.integers(0, 2**31 - 1)), max_size=30)
)
def test_any_bytes_at_any_time_are_judged_without_an_error(frames: list[tuple[bytes, int, int]]) -> None:
    seen_frames = [Seen(ts, data, max(wire, len(data)), link) for data, ts, wire in frames for link in (1, 113, 101, 0)]
    survey = survey_of(seen_frames)
    assert survey.counts.frames == len(seen_frames)
    assert json.loads(told(survey))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_mutated_traffic_is_judged_without_an_error_and_within_bounds(data: st.DataObject) -> None:
    packets = [bytearray(it) for it in poll(20)]
    for _ in range(data.draw(st.integers(1, 40))):
        packet = packets[data.draw(st.integers(0, len(packets) - 1))]
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    order = data.draw(st.permutations(range(len(packets))))
    survey = survey_of(spaced([bytes(packets[i]) for i in order]))
    sides = survey.sides
    assert json.loads(told(survey))
    assert (sides["lost"] >= 0).all()
    assert (sides["gaps"] <= survey.counts.frames * tables.HELD).all()
    assert int(sides["frames"].sum()) <= survey.counts.frames


def test_order_and_repetition_of_segments_make_no_loss() -> None:
    talk = Talk()
    handshake = talk.handshake()
    data = [talk.asks(bytes([i]) * 100) for i in range(40)]
    done = talk.answers(b"done")
    shuffled = [data[i ^ 1] for i in range(40)]  # neighbours swapped
    survey = survey_of(spaced([*handshake, *shuffled, *data[10:20], done]))
    assert int(survey.sides["payload"].sum()) == 40 * 100 + 4
    assert int(survey.sides["lost"].sum()) == 0


@pytest.mark.parametrize("start", [1000, 2**32 - 700, 2**31 - 500])
def test_lost_bytes_are_counted_exactly_also_where_the_numbers_wrap(start: int) -> None:
    talk = Talk(client_seq=start)
    frames = talk.handshake()
    for i in range(60):
        frames += [talk.asks(bytes(33)), talk.answers(coils(i))]
    lost = {17, 18, 55, 90}  # of the client's: 17 and 55
    kept = [it for i, it in enumerate(frames) if i not in lost]
    survey = survey_of(spaced(kept))
    client, server = survey.sides[0]
    assert (int(client["lost"]), int(client["gaps"])) == (66, 2)
    assert (int(server["lost"]), int(server["gaps"])) == (2 * len(coils(0)), 2)


def erspan(inner: bytes, sequence: int) -> bytes:
    """The frame in ERSPAN type II, as a switch mirrors it to a far collector."""
    gre = b"\x10\x00\x88\xbe" + sequence.to_bytes(4, "big")
    header = (0x1000).to_bytes(2, "big") + (0x0001).to_bytes(2, "big") + bytes(4)
    kind, packet = ip(gre + header + inner, 47, "192.0.2.1", "192.0.2.2")
    return ethernet(packet, kind)


def test_what_erspan_carries_is_judged_and_the_tunnel_is_told() -> None:
    packets = poll(100)
    carried = spaced([erspan(it, i) for i, it in enumerate(packets)])
    survey = survey_of(carried)
    assert examine(survey) == []
    assert seen(survey)["tunnels"] == {"ERSPAN": len(packets)}
    assert seen(survey)["industrial"] == {"Modbus": len(packets)}
    half = [it for it, packet in zip(carried, packets, strict=True) if packet[34:36] != b"\x01\xf6"]
    assert set(faults_of(half)) == {"span.one-way"}


def test_more_conversations_than_there_is_room_for_are_counted_and_do_no_harm() -> None:
    survey = Survey()
    survey.counts.conversations = tables.MAX_CONVERSATIONS  # as after a flood
    survey.run([batch_of(spaced([tcp(seq=i, sport=1024 + i) for i in range(50)]))])
    assert survey.counts.refused == 50
    assert seen(survey)["refused"] == 50


def test_vlans_tunnels_and_lengths_stand_among_the_figures() -> None:
    frames = [with_tag(it, 30 + i % 2) for i, it in enumerate(spaced(poll(60)))]
    figures = seen(survey_of([*frames, *spaced([udp(b"x" * 400)])]))
    assert figures["untagged"] == 1
    assert set(figures["vlans"]) == {"30", "31"}
    assert figures["largest"] == 442


def test_the_busiest_moment_is_told() -> None:
    quiet = spaced(poll(50), 100 * MS)
    burst = [
        Seen(START + 3 * SECOND + i, it, 1250)
        for i, it in enumerate([udp(bytes(1208), sport=i + 1) for i in range(100)])
    ]
    figures = seen(survey_of(sorted([*quiet, *burst], key=lambda it: it.ts_ns)))
    assert figures["mbit_peak"] == pytest.approx(100 * 1250 * 8 / (walk.PEAK_NS / 1000), rel=0.05)


def test_endpoints_are_named_as_people_write_them() -> None:
    survey = survey_of(
        spaced([tcp(seq=1, src="2001:db8::1", dst="2001:db8::2"), tcp(seq=1), ethernet(bytes(46), 0x8892)])
    )
    names = [survey.name(row) for row in range(3)]
    assert names == [
        "[2001:db8::1]:50000 - [2001:db8::2]:502",
        f"{MASTER}:50000 - {PLC}:502",
        "00:00:00:00:00:00 - 00:00:00:00:00:00",
    ]
    assert np.all(survey.sides["frames"].sum(axis=1) == 1)
