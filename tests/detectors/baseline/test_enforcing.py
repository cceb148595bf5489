"""Comparing with a baseline: what is outside is claimed once, with expected, observed and first seen; no more."""

from __future__ import annotations

import pytest
from support.findings import S7, Plant, of, the

from detectors.baseline.book import Baseline, State
from detectors.baseline.learner import Learner
from detectors.baseline.review import decide
from detectors.finding import Finding, Severity
from detectors.pipeline import Options, Pipeline
from pcaps.messages import modbus, s7comm

HMI, HISTORIAN, PLC, RTU, ROGUE = "10.1.0.5", "10.1.0.6", "10.1.0.20", "10.1.0.40", "10.1.0.66"


def read(plant: Plant, client: str = HMI, server: str = PLC, address: int = 0, quantity: int = 4, unit: int = 1,
         function: int = 3) -> None:  # fmt: skip
    request = modbus.adu(5, unit, modbus.read(function, address, quantity))
    plant.exchange(client, server, request, modbus.adu(5, unit, modbus.registers(function, [7] * quantity)))


def write(plant: Plant, client: str = HMI, server: str = PLC, address: int = 10) -> None:
    request = modbus.adu(999, 1, modbus.write_register(address, 400))
    plant.exchange(client, server, request, request)


def variables(plant: Plant, db: int = 1, byte: int = 0, client: str = HMI) -> None:
    plant.exchange(client, PLC, s7comm.job(3, s7comm.read_var((0x84, db, byte, 8))),
                   s7comm.ack_data(3, b"\x04\x01", s7comm.read_var_data(bytes(8))), S7)  # fmt: skip


def ordinary() -> Plant:
    """What the baseline is learned from: the operators' station polls and writes, the historian reads."""
    plant = Plant()
    for n in range(20):
        read(plant)
        read(plant, address=100, quantity=10)
        read(plant, server=RTU)
        variables(plant)
        if n % 5 == 0:
            write(plant)
            read(plant, HISTORIAN, address=0, quantity=2)
        plant.wait(1)
    return plant


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    learned = Baseline()
    for _ in Pipeline(detectors=[Learner(learned.merge)]).run(ordinary().batches()):
        pass
    decide(learned, [name for name, _ in learned], State.APPROVED, "li.na", "walked the line", 1)
    return learned


def outside(plant: Plant, baseline: Baseline, size: int | None = None) -> list[Finding]:
    """What is claimed beyond the operations, which are named whether normal or not."""
    found = plant.findings(size, Options(baseline=baseline))
    return [it for it in found if not it.rule_id.startswith("operation.")]


@pytest.mark.parametrize("size", [None, 7])
def test_what_was_learned_is_quiet(baseline: Baseline, size: int | None) -> None:
    assert outside(ordinary(), baseline, size) == []


def test_a_polled_device_that_begins_to_command_is_severe_and_one_finding(baseline: Baseline) -> None:
    plant = ordinary()
    write(plant, client=RTU)
    (found,) = outside(plant, baseline)
    assert (found.rule_id, found.severity, found.source_ip) == ("baseline.role", Severity.HIGH, RTU)
    assert f"only asked, by {HMI}" in found.explanation.en
    assert "write_single_register 10 (unit 1)" in found.explanation.en
    assert "First seen at 2023-" in found.explanation.en
    assert len(found.evidence.frames) == 1


@pytest.mark.parametrize(("act", "severity"), [(write, Severity.HIGH), (read, Severity.MEDIUM)])
def test_a_stranger_is_one_finding_whatever_it_does(baseline: Baseline, act, severity: Severity) -> None:  # type: ignore[no-untyped-def]
    plant = ordinary()
    for _ in range(5):
        act(plant, client=ROGUE)
        read(plant, ROGUE, address=300)
    (found,) = outside(plant, baseline)
    assert (found.rule_id, found.severity, found.count) == ("baseline.new-host", severity, 10)
    assert f"{ROGUE} is not among the baseline's hosts" in found.explanation.en


def test_a_known_host_that_turns_to_another_device_is_a_new_talker(baseline: Baseline) -> None:
    plant = ordinary()
    read(plant, HISTORIAN, RTU)
    (found,) = outside(plant, baseline)
    assert (found.rule_id, found.severity) == ("baseline.new-talker", Severity.MEDIUM)
    assert f"is asked by {HMI} only" in found.explanation.en


def test_a_historian_that_writes_uses_a_new_function(baseline: Baseline) -> None:
    plant = ordinary()
    write(plant, HISTORIAN)
    found = the(outside(plant, baseline), "baseline.new-function")
    assert (found.source_ip, found.severity, found.station) == (HISTORIAN, Severity.MEDIUM, 1)
    assert "Baseline: read_holding_registers (unit 1)" in found.explanation.en


def test_another_unit_behind_the_same_address_is_outside(baseline: Baseline) -> None:
    plant = ordinary()
    read(plant, unit=9)
    assert the(outside(plant, baseline), "baseline.new-function").station == 9


@pytest.mark.parametrize("size", [None, 9])
def test_addresses_outside_the_learned_ranges_are_named(baseline: Baseline, size: int | None) -> None:
    plant = ordinary()
    read(plant, address=2, quantity=4)
    read(plant, address=102, quantity=2)  # inside what was learned, never asked like this
    write(plant, address=11)
    found = of(outside(plant, baseline, size), "baseline.new-object")
    assert sorted(it.severity for it in found) == [Severity.MEDIUM]
    assert "write_single_register 11" in found[0].explanation.en
    assert "read_holding_registers 2-5" in found[0].explanation.en
    assert "102" not in found[0].explanation.en


def test_s7_areas_are_compared_by_octet(baseline: Baseline) -> None:
    plant = ordinary()
    variables(plant, byte=4)
    found = the(outside(plant, baseline), "baseline.new-object")
    assert "read_variable DB1 4.0-11.7" in found.explanation.en
    assert "read_variable on DB1 0.0-7.7 only" in found.explanation.en


def test_lines_that_nobody_approved_or_somebody_refused_say_so() -> None:
    learned = Baseline()
    for _ in Pipeline(detectors=[Learner(learned.merge)]).run(ordinary().batches()):
        pass
    decide(learned, [name for name, _ in learned], State.APPROVED, "li.na", "walked the line", 1)
    writes = [name for name, it in learned.exchanges.items() if it.name == "write_single_register"]
    history = [name for name, it in learned.exchanges.items() if it.client == HISTORIAN]
    decide(learned, writes, State.LEARNED, "", "", 0)
    decide(learned, history, State.REFUSED, "wang.wei", "decommissioned in May", 2)
    found = outside(ordinary(), learned)
    assert "seen 4 times while learning" in the(found, "baseline.not-approved").explanation.en
    assert the(found, "baseline.not-approved").fields == {"baseline.line": writes[0]}
    assert "wang.wei refused this line: decommissioned in May" in the(found, "baseline.refused").explanation.en


def test_a_flood_of_strangers_is_bounded_and_counted_exactly(baseline: Baseline) -> None:
    plant = ordinary()
    for n in range(3000):
        plant.datagram(f"10.9.{n // 250}.{n % 250 + 1}", PLC, modbus.adu(1, 1, modbus.read(3, 0, 1)), 502)
    found = of(outside(plant, baseline), "baseline.new-host")
    assert sum(it.count for it in found) == 3000
    assert len(found) <= 2049


def test_another_hardware_address_is_claimed_once() -> None:
    plant, swapped = ordinary(), Plant()
    learned = Baseline()
    for batch in plant.batches():
        batch.data.flags.writeable = False
    plant._packets = [(at, _from(packet, b"\x02\x00\x00\x00\x00\x01")) for at, packet in plant._packets]
    for _ in Pipeline(detectors=[Learner(learned.merge)]).run(plant.batches()):
        pass
    decide(learned, [name for name, _ in learned], State.APPROVED, "li.na", "walked the line", 1)
    swapped = ordinary()
    swapped._packets = [(at, _from(packet, b"\x02\x00\x00\x00\x00\x99")) for at, packet in swapped._packets]
    found = of(outside(swapped, learned), "baseline.mac-changed")
    assert sorted(it.source_ip for it in found) == sorted([HMI, HISTORIAN, PLC, RTU])
    assert "02:00:00:00:00:99. Baseline: 02:00:00:00:00:01" in found[0].explanation.en


def _from(packet: bytes, mac: bytes) -> bytes:
    return packet[:6] + mac + packet[12:]
