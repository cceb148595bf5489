"""New writers: learned first, then claimed; on a capture by a share of its span, on a live link by time."""

from __future__ import annotations

import pytest
from support.findings import DNP3, Plant, of, the

from detectors.finding import Finding, Severity
from detectors.pipeline import Options
from pcaps.messages import dnp3, modbus

HMI, RTU, ROGUE, PLC = "10.1.0.5", "10.1.0.40", "10.1.0.66", "10.1.0.20"
LIVE = Options(learn_s=60)


def poll(plant: Plant, client: str, server: str, seconds: int) -> None:
    """One read a second."""
    for n in range(seconds):
        plant.exchange(
            client, server, modbus.adu(n, 1, modbus.read(3, 0, 1)), modbus.adu(n, 1, modbus.registers(3, [n]))
        )
        plant.wait(1)


def write(plant: Plant, client: str, server: str = PLC, transaction: int = 7777) -> None:
    request = modbus.adu(transaction, 1, modbus.write_register(10, 400))
    plant.exchange(client, server, request, request)


def writers(findings: list[Finding]) -> list[str]:
    return [it.source_ip for it in findings if it.rule_id in ("writer.new", "writer.polled-device")]


@pytest.mark.parametrize("options", [None, LIVE], ids=["capture", "live"])
def test_a_stranger_that_writes_is_claimed(options: Options | None) -> None:
    plant = Plant()
    poll(plant, HMI, PLC, 100)
    write(plant, ROGUE)
    poll(plant, HMI, PLC, 20)
    found = the(plant.findings(size=40, options=options), "writer.new")
    assert (found.source_ip, found.destination_ip, found.count) == (ROGUE, PLC, 1)
    assert found.severity is Severity.MEDIUM
    assert found.techniques == ("T0855", "T0848")
    assert "not been seen before" in found.explanation.en
    assert "write" in found.explanation.en


@pytest.mark.parametrize("options", [None, LIVE], ids=["capture", "live"])
def test_a_writer_that_wrote_while_learning_is_known_for_good(options: Options | None) -> None:
    plant = Plant()
    poll(plant, HMI, PLC, 5)
    write(plant, HMI)
    poll(plant, HMI, PLC, 100)
    write(plant, HMI)
    assert writers(plant.findings(size=40, options=options)) == []


def test_a_known_reader_that_begins_to_write_weighs_less_than_a_stranger() -> None:
    plant = Plant()
    poll(plant, HMI, PLC, 100)
    write(plant, HMI)
    found = the(plant.findings(), "writer.new")
    assert found.severity is Severity.LOW
    assert "only read" in found.explanation.en


def test_a_second_writer_weighs_more_even_if_it_had_read_before() -> None:
    plant = Plant()
    for n in range(100):
        poll(plant, HMI, PLC, 1)
        poll(plant, ROGUE, PLC, 1)
        if n == 2:
            write(plant, HMI)
    write(plant, ROGUE)
    found = the(plant.findings(), "writer.new")
    assert (found.source_ip, found.severity) == (ROGUE, Severity.MEDIUM)
    assert "only read" in found.explanation.en


def test_a_stranger_that_looks_around_before_it_writes_is_still_a_stranger() -> None:
    plant = Plant()
    poll(plant, HMI, PLC, 100)
    poll(plant, ROGUE, PLC, 3)
    write(plant, ROGUE)
    assert the(plant.findings(), "writer.new").severity is Severity.MEDIUM


def test_a_polled_device_that_gives_commands_is_severe() -> None:
    plant = Plant()
    for _ in range(50):
        poll(plant, HMI, PLC, 1)
        poll(plant, HMI, RTU, 1)
    write(plant, RTU)
    found = the(plant.findings(), "writer.polled-device")
    assert (found.source_ip, found.severity) == (RTU, Severity.HIGH)


def test_a_device_that_just_appeared_is_not_judged() -> None:
    plant = Plant()
    poll(plant, HMI, RTU, 100)
    write(plant, ROGUE, PLC)
    assert writers(plant.findings()) == []


def test_a_short_capture_claims_nothing() -> None:
    plant = Plant()
    poll(plant, HMI, PLC, 5)
    write(plant, ROGUE)
    assert writers(plant.findings()) == []


def test_a_live_sensor_claims_at_once_and_not_at_the_end() -> None:
    plant = Plant()
    poll(plant, HMI, PLC, 80)
    write(plant, ROGUE)
    poll(plant, HMI, PLC, 50)
    records = plant.records(size=10, options=LIVE)
    (record,) = of(records, "writer.new")
    assert record.evidence.frames == (plant_frame(plant, record),)


def plant_frame(plant: Plant, record: Finding) -> int:
    """Number of the frame at the time of the record."""
    times = [int(ts) for batch in plant.batches() for ts in batch.ts_ns]
    return times.index(record.first_ns) + 1


def test_a_live_sensor_learns_each_device_from_its_own_beginning() -> None:
    plant = Plant()
    poll(plant, HMI, PLC, 100)
    poll(plant, HMI, RTU, 30)
    write(plant, ROGUE, RTU)
    assert writers(plant.findings(size=10, options=LIVE)) == []


def test_another_link_address_of_the_same_host_is_another_master() -> None:
    plant = Plant()
    master, rogue = dnp3.Station(1, 4, master=True), dnp3.Station(99, 4, master=True)
    outstation = dnp3.Station(4, 1, master=False)
    for n in range(100):
        plant.exchange(HMI, PLC, master.send(dnp3.request(n % 16, 1, dnp3.all_objects((60, 2)))),
                       outstation.send(dnp3.response(n % 16)), DNP3)  # fmt: skip
        if n == 3:
            plant.asks(HMI, PLC, master.send(dnp3.request(5, 5, dnp3.crob(1, 3))), DNP3)
        plant.wait(1)
    plant.asks(HMI, PLC, rogue.send(dnp3.request(6, 5, dnp3.crob(1, 3))), DNP3)
    assert writers(plant.findings()) == [HMI]


def test_many_writes_of_one_stranger_are_one_finding() -> None:
    plant = Plant()
    poll(plant, HMI, PLC, 100)
    for n in range(30):
        write(plant, ROGUE, transaction=n)
        plant.wait(1)
    found = the(plant.findings(size=20), "writer.new")
    assert found.count == 30
