"""Matching on fields."""

from __future__ import annotations

from typing import Any

import pytest

from detectors.matching import parse
from sensor.decode.pdu import Protocol

STOP = {"network.protocol": "s7comm", "s7comm.function": 0x29, "event.kind": "request"}


def test_all_fields_must_hold() -> None:
    assert parse({"s7comm.function": 0x29, "event.kind": "request"}).holds(STOP)
    assert not parse({"s7comm.function": 0x29, "event.kind": "response"}).holds(STOP)
    assert not parse({"s7comm.function": 0x28}).holds(STOP)


def test_an_absent_field_never_matches() -> None:
    assert not parse({"s7comm.service": "_INSE"}).holds(STOP)


def test_one_of_several_values_is_enough() -> None:
    assert parse({"s7comm.function": [0x28, 0x29]}).holds(STOP)


def test_a_star_matches_what_begins_so() -> None:
    wanted = parse({"dnp3.objects": ["g12v*", "g41v1"]})
    assert wanted.holds({"dnp3.objects": ["g60v1", "g12v2"]})
    assert wanted.holds({"dnp3.objects": ["g41v1"]})
    assert not wanted.holds({"dnp3.objects": ["g41v11", "g1v2"]})
    assert not wanted.holds({"dnp3.objects": []})


@pytest.mark.parametrize(
    "wanted",
    [{}, {"no.such.field": 1}, {"s7comm.function": "41"}, {"s7comm.service": 3}, {"s7comm.service": "*"},
     {"s7comm.function": []}, {"s7comm.function": {"a": 1}}, [1], "s7comm.function", None],
)  # fmt: skip
def test_what_cannot_match_is_refused(wanted: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(wanted)


def test_columns_alone_rule_out_only_what_cannot_hold() -> None:
    stop = parse({"s7comm.function": 0x29})
    assert stop.possible(Protocol.S7COMM, 0x29, -1)
    assert not stop.possible(Protocol.S7COMM, 0x04, -1)
    force = parse({"s7comm.userdata.group": 1, "s7comm.userdata.subfunction": 9})
    assert force.possible(Protocol.S7COMM, -1, 0x0109)
    assert not force.possible(Protocol.S7COMM, -1, 0x0401)
    assert not force.possible(Protocol.S7COMM, 0x04, -1)
    stop = parse({"mms.service_code": [41, 44]})
    assert stop.possible(Protocol.MMS, 0, 41)
    assert not stop.possible(Protocol.MMS, 0, 5 | 1 << 8)
    assert not stop.possible(Protocol.MMS, 8, -1)
    stop = parse({"cip.service": 7})
    assert stop.possible(Protocol.ENIP, 0x70, 7)
    assert not stop.possible(Protocol.ENIP, 0x70, 0x4C)
    assert parse({"enip.command": 0x63}).possible(Protocol.ENIP, 0x63, -1)
    assert not parse({"opcua.service_id": 673}).possible(Protocol.OPCUA, 4, 631)
    assert not parse({"bacnet.service": 20, "bacnet.apdu_type": 0}).possible(Protocol.BACNET, 0, 12)
    assert parse({"goose.simulation": True}).possible(Protocol.GOOSE, 1, 1)
