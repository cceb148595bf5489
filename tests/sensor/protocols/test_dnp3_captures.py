"""DNP3 in captures of real devices: what others say is in them must come out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sensor.capture.source import open_capture
from sensor.decode.decoder import Decoder
from sensor.schema import FIELDS

CAPTURES = Path(__file__).resolve().parents[4] / "shared" / "captures" / "dnp3"
pytestmark = [
    pytest.mark.captures,
    pytest.mark.skipif(not CAPTURES.is_dir(), reason="../shared/captures/dnp3 is not on this machine"),
]

Events = list[dict[str, Any]]


@cache
def events(name: str) -> Events:
    """Every PDU of a capture at full depth."""
    (path,) = (CAPTURES / name).glob("capture.pcap*")
    decoder = Decoder()
    batches = decoder.decode(open_capture(path))
    return [decoder.view.fields(batch, row) for batch in batches for row in range(batch.size)]


def count(name: str, of: Callable[[dict[str, Any]], Any]) -> Counter[Any]:
    return Counter(of(event) for event in events(name))


# What the makers of the captures say was done in them, by the names of the functions.
FUNCTIONS = {
    "zeek__dnp3_select_operate": {"select": 1, "operate": 1, "response": 2},
    "zeek__dnp3_del_measure": {"delay_measure": 1, "response": 1},
    "zeek__dnp3_en_spon": {"enable_unsolicited": 1, "response": 1},
    "zeek__dnp3_udp_write": {"write": 1, "response": 1},
    "iti__direct_operate_no_ack_crob": {"direct_operate_nr": 1},
    "iti__lan_time_sync": {"record_current_time": 1, "write": 1, "response": 2},
    "iti__file_write": {"open_file": 1, "write": 1, "close_file": 1, "response": 3},
    "iti__auth_control_challenge_response": {
        "direct_operate": 1,
        "authenticate_resp": 1,
        "authenticate_req": 1,
        "response": 1,
    },
}


@pytest.mark.parametrize(("name", "functions"), FUNCTIONS.items())
def test_each_capture_of_one_operation_shows_that_operation_and_nothing_wrong(name, functions):
    assert count(name, lambda e: e["dnp3.function"]) == functions
    assert not any("anomalies" in e or "dnp3.undecoded" in e for e in events(name))


def test_the_attacks_on_the_test_bed_are_all_there():
    name = "quickdraw__dnp3_test_data_part1"
    requests = Counter(
        (e.get("dnp3.function"), e["dnp3.link.destination"] >= 0xFFFD)
        for e in events(name)
        if e["event.kind"] == "request"
    )
    assert requests["cold_restart", False] == 2
    assert requests["warm_restart", False] == 2
    assert (requests["disable_unsolicited", False], requests["disable_unsolicited", True]) == (5, 2)
    assert (requests["stop_appl", False], requests["stop_appl", True]) == (2, 2)


def test_a_control_and_its_status_are_read_alike_in_request_and_echo():
    select, response, operate, result = events("zeek__dnp3_select_operate")
    for event in (select, response, operate, result):
        assert event["dnp3.command"] == ["latch on point 1"]
        assert event["event.action"] == "command"
    assert response["request.frame"] == select["frame"]
    assert result["dnp3.command_status"] == ["success"]


CONTROL = re.compile(
    r"g12v1 point (\d+): \w[\w ]*, code (\w+) (close|trip), count (\d+), on (\d+) ms, off (\d+) ms(?:, (\w+))?"
)


def test_every_control_of_an_ordinary_day_is_what_zeek_says_it_is():
    name = "icsnpp-dnp3__dnp3_example"
    ours: Counter[tuple[str, ...]] = Counter()
    for event in events(name):
        for point in event.get("dnp3.points", ()):
            if control := CONTROL.fullmatch(point):
                ours[event["dnp3.function"], *(part or "-" for part in control.groups())] += 1
    theirs: Counter[tuple[str, ...]] = Counter()
    for line in (CAPTURES / name / "zeek-icsnpp-baseline" / "dnp3_control.log").read_text().splitlines():
        if not line.startswith("#"):
            block, function, index, trip, kind, _, *rest = line.split("\t")[11:]
            assert block == "Control Relay Output Block"
            words = (function, index, kind.replace(" ", "_"), trip, *rest)
            theirs[tuple(word.lower() for word in words)] += 1
    assert ours == theirs
    assert ours.total() > 500


@pytest.mark.parametrize(
    ("name", "file"), [("zeek__dnp3_file_read", "./test.xml"), ("iti__file_write", "./helloworld.txt")]
)
def test_the_names_of_files_are_read(name, file):
    assert [e["dnp3.file.name"] for e in events(name) if e.get("dnp3.function") == "open_file"] == [file]


def test_segments_are_put_together_on_udp_as_on_tcp():
    responses = [e for e in events("zeek__dnp3_udp_read") if e.get("dnp3.function") == "response"]
    assert all("split" in e["anomalies"] and "dnp3.undecoded" not in e for e in responses)
    assert max(len(e["dnp3.objects"]) for e in responses) > 1


@pytest.mark.parametrize("name", sorted(p.name for p in CAPTURES.glob("iti__*")) if CAPTURES.is_dir() else ["none"])
def test_conformance_tests_of_a_real_stack_decode_to_the_last_octet(name):
    for event in events(name):
        assert not {"length", "checksum"} & set(event.get("anomalies", ()))
        assert "dnp3.undecoded" not in event
        assert set(event) <= set(FIELDS)
