"""Indicators from bulletins: addresses, networks, operations; hostile items are left out and named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.findings import S7, Plant, of, the

from detectors.finding import Severity
from detectors.indicators import Indicators
from detectors.pipeline import Options, Pipeline, merge
from pcaps.messages import modbus, s7comm

STRANGER, HMI, PLC = "203.0.113.7", "10.1.0.5", "10.1.0.20"
BULLETIN = {"id": "bulletin--1", "title": "锅炉房攻击"}


def item(kind: str, value: Any, name: str = "indicator--1") -> dict[str, Any]:
    return {"id": name, "type": kind, "value": value, "bulletin": BULLETIN}


def polled(source: str, times: int = 3) -> Plant:
    plant = Plant()
    for n in range(times):
        plant.exchange(source, PLC, modbus.adu(n, 1, modbus.read(3, 0, 1)), modbus.adu(n, 1, modbus.registers(3, [n])))
    return plant


def stopped() -> Plant:
    plant = Plant()
    stop = bytes.fromhex("290000000000") + b"\x09P_PROGRAM"
    plant.exchange(HMI, PLC, s7comm.job(1, stop), s7comm.ack_data(1, b"\x29"), S7)
    return plant


@pytest.mark.parametrize(
    ("kind", "value"),
    [("ip", STRANGER), ("cidr", "203.0.113.0/24"), ("cidr", "203.0.113.99/24"), ("ip", "::ffff:203.0.113.7"),
     ("cidr", "0.0.0.0/0")],
)  # fmt: skip
def test_an_address_of_a_bulletin_is_found_with_the_bulletin_it_stands_in(kind: str, value: str) -> None:
    found = the(polled(STRANGER).findings(options=Options(indicators=[item(kind, value)])), "indicator.address")
    assert (found.source_ip, found.destination_ip, found.count) == (STRANGER, PLC, 6)
    assert found.severity is Severity.HIGH
    assert found.fields == {"indicator.id": "indicator--1", "bulletin.id": "bulletin--1"}
    assert "锅炉房攻击" in found.explanation.zh
    assert found.evidence.frames


@pytest.mark.parametrize(("kind", "value"), [("ip", "203.0.113.8"), ("cidr", "203.0.114.0/24"), ("ip", "2001:db8::1")])
def test_other_addresses_are_not_found(kind: str, value: str) -> None:
    assert not of(polled(STRANGER).findings(options=Options(indicators=[item(kind, value)])), "indicator.address")


@pytest.mark.parametrize(
    "value",
    ["operation.s7comm.stop", {"network.protocol": "s7comm", "s7comm.function": 41}, {"s7comm.service": "P_*"}],
)
def test_an_operation_of_a_bulletin_is_found_with_its_technique(value: Any) -> None:
    findings = stopped().findings(options=Options(indicators=[item("operation", value)]))
    found = the(findings, "indicator.operation")
    assert (found.source_ip, found.destination_ip, found.techniques) == (HMI, PLC, ("T0858",))
    assert the(findings, "operation.s7comm.stop").severity is Severity.CRITICAL


def test_an_operation_that_did_not_happen_is_not_found() -> None:
    value = {"network.protocol": "s7comm", "s7comm.function": 40}
    assert not of(stopped().findings(options=Options(indicators=[item("operation", value)])), "indicator.operation")


@pytest.mark.parametrize(
    "broken",
    [
        item("ip", "not an address"), item("cidr", "10.0.0.0/99"), item("operation", "operation.none"),
        item("operation", {"no.such.field": 1}), item("operation", {}), item("hash", "d41d8cd9"), item("ip", 7),
        {"type": "ip", "value": STRANGER}, {"id": "x", "type": "ip", "value": STRANGER, "bulletin": "text"},
        "text", None,
    ],
)  # fmt: skip
def test_an_item_that_cannot_be_used_is_named_and_the_others_work(broken: Any) -> None:
    options = Options(indicators=[broken, item("ip", STRANGER)])
    assert the(polled(STRANGER).findings(options=options), "indicator.address").count == 6
    detector = Indicators(options.indicators)
    assert len(detector.rejected) == 1
    assert detector.rejected[0][1]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["id", "type", "value", "bulletin", "s7comm.function"]), inner)
        ),
    )
)
def test_no_item_whatever_it_holds_stops_the_detector(thing: Any) -> None:
    assert Indicators([thing, item("ip", STRANGER)]).name == "indicators"


def test_indicators_that_arrive_later_match_from_the_next_batch_on() -> None:
    plant = polled(STRANGER, times=30)
    pipeline = Pipeline()

    def batches() -> Any:
        for number, batch in enumerate(plant.batches(size=10)):
            if number == 3:
                pipeline.use_indicators([item("ip", STRANGER)])
            yield batch

    found = the(merge(pipeline.run(batches())), "indicator.address")
    assert 0 < found.count < 60


def test_a_title_from_outside_is_made_safe() -> None:
    hostile = {"id": "i", "type": "ip", "value": STRANGER, "bulletin": {"id": "b", "title": "\x1b[2J\u202e<script>"}}
    found = the(polled(STRANGER).findings(options=Options(indicators=[hostile])), "indicator.address")
    assert "\x1b" not in found.explanation.en
    assert "\u202e" not in found.explanation.zh
