"""Values outside the range that people approved."""

from __future__ import annotations

import pytest
from support.findings import Plant, of, the

from detectors.baseline.book import Baseline, State
from detectors.baseline.learner import Learner
from detectors.baseline.review import decide
from detectors.baseline.values import LEAST_WRITES
from detectors.finding import Severity
from detectors.pipeline import Options, Pipeline
from pcaps.messages import modbus

HMI, PLC = "10.1.0.5", "10.1.0.20"


def writes(values: list[int], address: int = 8) -> Plant:
    plant = Plant()
    for n, value in enumerate(values):
        pdus = modbus.adu(n, 1, modbus.read(3, 0, 2)), modbus.adu(n, 1, modbus.registers(3, [1, 2]))
        plant.exchange(HMI, PLC, *pdus)
        adu = modbus.adu(1000 + n, 1, modbus.write_register(address, value))
        plant.exchange(HMI, PLC, adu, adu)
        plant.wait(5)
    return plant


def learned(values: list[int], *, approve: bool = True) -> Options:
    baseline = Baseline()
    for _ in Pipeline(detectors=[Learner(baseline.merge)]).run(writes(values).batches()):
        pass
    if approve:
        decide(baseline, [name for name, _ in baseline], State.APPROVED, "li.na", "walked the line", 1)
    return Options(baseline=baseline)


RANGE = [500 + n for n in range(0, 40, 2)]


@pytest.mark.parametrize("size", [None, 1, 7])
def test_a_value_outside_is_told_with_what_was_expected(size: int | None) -> None:
    found = the(writes([510, 545, 520, 545]).findings(size, learned(RANGE)), "baseline.new-value")
    assert (found.source_ip, found.destination_ip, found.station, found.count) == (HMI, PLC, 1, 2)
    assert (found.severity, found.techniques) == (Severity.LOW, ("T0836",))
    assert "write_single_register 8 = 545" in found.explanation.en
    assert "write_single_register with values 500 to 538" in found.explanation.en


@pytest.mark.parametrize("value", [538 + 39, 500 - 39, 65535, 0])
def test_a_value_further_out_than_the_range_is_wide_weighs_more(value: int) -> None:
    assert the(writes([value]).findings(None, learned(RANGE)), "baseline.new-value").severity is Severity.MEDIUM


def test_what_lies_inside_is_quiet() -> None:
    assert not of(writes([500, 538, 519]).findings(None, learned(RANGE)), "baseline.new-value")


@pytest.mark.parametrize("values", [[500] * 20, RANGE[: LEAST_WRITES - 1]], ids=["one value", "few writes"])
def test_too_little_learned_is_no_range(values: list[int]) -> None:
    assert not of(writes([900]).findings(None, learned(values)), "baseline.new-value")


def test_a_line_that_nobody_approved_says_nothing_of_values() -> None:
    found = writes([900]).findings(None, learned(RANGE, approve=False))
    assert not of(found, "baseline.new-value")
    assert [it for it in found if it.rule_id.startswith("baseline.")]


def test_an_object_outside_its_line_is_told_as_such_and_not_by_its_value() -> None:
    found = writes([900], address=77).findings(None, learned(RANGE))
    assert of(found, "baseline.new-object")
    assert not of(found, "baseline.new-value")
