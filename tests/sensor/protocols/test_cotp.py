"""TPKT and COTP: where a TPKT ends, what a TPDU carries, and any bytes at all."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.protocols import cotp
from sensor.schema import FIELDS

CONNECTION_REQUEST = bytes.fromhex(
    "03 00 0016"  # TPKT: version, reserved, length 22
    "11 E0"  # length indicator 17, CR
    "0000 0001 00"  # destination reference, source reference, class 0
    "C0 01 0A"  # TPDU size 2**10
    "C1 02 0100"  # calling TSAP: PG, rack 0, slot 0
    "C2 02 0122"  # called TSAP: PG, rack 1, slot 2
)
CONNECTION_CONFIRM_NAMED = bytes.fromhex(
    "03 00 0024"  # TPKT, length 36
    "1F D0"  # length indicator 31, CC
    "0001 1430 00"  # references, class 0
    "C0 01 09"  # TPDU size 2**9
    "C1 02 1000"  # calling TSAP: a connection resource, rack 0, slot 0
    "C2 0F 53494D415449432D524F4F542D4F50"  # called TSAP: SIMATIC-ROOT-OP
    "00"  # a parameter code without its length: one octet too many
)
DATA_LAST = bytes.fromhex(
    "03 00 0009"  # TPKT, length 9
    "02 F0 80"  # length indicator 2, DT, number 0 with EOT
    "3201"
)
DATA_MORE = bytes.fromhex("03 00 0008 02 F0 05 AA")  # number 5 without EOT
DISCONNECT = bytes.fromhex(
    "03 00 000B"  # TPKT, length 11
    "06 80"  # length indicator 6, DR
    "0001 1430 80"  # references, normal disconnect
)
REFUSED = bytes.fromhex("03 00 0009 04 70 0001 02")  # ER: invalid TPDU type


def frame(octets: bytes, kernel=cotp.frame) -> int:
    return int(kernel(np.frombuffer(octets, dtype=np.uint8), 0, len(octets)))


def plain(kernel):
    """The readable form of a compiled function; the function itself where nothing is compiled."""
    return getattr(kernel, "py_func", kernel)


def data(octets: bytes, kernel=cotp.data) -> tuple[int, int, int]:
    code, start, eot = kernel(np.frombuffer(octets, dtype=np.uint8), 0, len(octets))
    return int(code), int(start), int(eot)


@pytest.mark.parametrize("tpkt", [CONNECTION_REQUEST, CONNECTION_CONFIRM_NAMED, DATA_LAST, DISCONNECT, REFUSED])
def test_a_tpkt_is_as_long_as_its_header_says_however_much_follows(tpkt):
    assert frame(tpkt) == len(tpkt)
    assert frame(tpkt + b"\x03\x00") == len(tpkt)


def test_a_tpkt_that_has_begun_waits_until_version_length_and_code_are_there():
    assert [frame(DATA_LAST[:n]) for n in range(len(DATA_LAST) + 1)] == [0] * 6 + [9] * 4


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        ("02", "version 2"),
        ("0300 0006", "shorter than the smallest TPDU"),
        ("0300 0009 01", "no TPDU header has one octet"),
        ("0300 0009 FF", "length indicator 255 is reserved"),
        ("0300 0009 05", "the header is longer than the TPKT"),
        ("0300 0009 02 30", "30 is no TPDU"),
    ],
)
def test_what_cannot_begin_a_tpkt_is_refused_at_the_octet_that_shows_it(octets, why):
    wrong = bytes.fromhex(octets)
    assert frame(wrong) == -1, why
    assert frame(wrong[:-1]) == 0, "one octet earlier it could still have been one"


def test_the_reserved_octet_is_not_judged():
    assert frame(DATA_LAST[:1] + b"\xff" + DATA_LAST[2:]) == len(DATA_LAST)


def test_user_data_follows_the_header_and_eot_ends_the_message():
    assert data(DATA_LAST) == (cotp.DT, 7, 1)
    assert data(DATA_MORE) == (cotp.DT, 7, 0)
    assert data(CONNECTION_REQUEST) == (cotp.CR, 22, 1)


def test_user_data_never_begins_behind_the_end():
    assert data(bytes.fromhex("0300 0009 60 F0 80 32 01")) == (cotp.DT, 9, 1)
    assert data(b"\x03\x00") == (0, 2, 1)


def test_a_connection_request_says_rack_slot_and_kind_of_connection():
    assert cotp.explain(CONNECTION_REQUEST) == {
        "cotp.tpdu_code": 0xE0,
        "cotp.tpdu": "connection_request",
        "cotp.destination_reference": 0,
        "cotp.source_reference": 1,
        "cotp.class": 0,
        "cotp.tpdu_size": 1024,
        "cotp.source_tsap": "0100",
        "cotp.source_connection_type": "pg",
        "cotp.source_rack": 0,
        "cotp.source_slot": 0,
        "cotp.destination_tsap": "0122",
        "cotp.destination_connection_type": "pg",
        "cotp.destination_rack": 1,
        "cotp.destination_slot": 2,
    }


def test_a_tsap_of_text_is_shown_as_text_and_a_cut_parameter_is_an_anomaly():
    fields = cotp.explain(CONNECTION_CONFIRM_NAMED)
    assert fields["cotp.destination_tsap"] == "SIMATIC-ROOT-OP"
    assert fields["cotp.source_connection_type"] == "resource"
    assert "cotp.destination_rack" not in fields
    assert fields["anomalies"] == ["length"]


def test_reasons_are_named():
    assert cotp.explain(DISCONNECT)["cotp.reason"] == "normal_disconnect"
    assert cotp.explain(REFUSED)["cotp.reason"] == "invalid_tpdu_type"


def test_a_tsap_with_control_characters_is_shown_as_hex():
    hostile = bytes.fromhex("03 00 0010 0B E0 0000 0001 00 C1 03 1B5B41")
    assert cotp.explain(hostile)["cotp.source_tsap"] == "1b5b41"


@given(st.binary(max_size=80))
def test_any_bytes_are_framed_alike_compiled_and_plain_and_never_raise(octets):
    size = frame(octets)
    assert size == frame(octets, plain(cotp.frame))
    assert size in (0, -1) or size >= cotp.SMALLEST
    code, start, eot = data(octets)
    assert (code, start, eot) == data(octets, plain(cotp.data))
    assert 0 <= start <= len(octets)
    assert eot in (0, 1)


@given(st.binary(max_size=40))
def test_explaining_any_bytes_gives_known_fields_as_json(rest):
    for code in cotp.TPDU_NAMES:
        tpkt = b"\x03\x00" + (6 + len(rest)).to_bytes(2, "big") + bytes([1 + len(rest), code]) + rest
        fields = cotp.explain(tpkt)
        json.dumps(fields)
        assert set(fields) <= set(FIELDS)


@given(st.binary(max_size=40))
def test_judgement_never_turns_back_as_octets_arrive(octets):
    seen = [frame(octets[:n]) for n in range(len(octets) + 1)]
    decided = [size for size in seen if size != 0]
    assert len(set(decided)) <= 1, "once decided, more octets change nothing"
    assert 0 not in seen[seen.index(decided[0]) :] if decided else True
