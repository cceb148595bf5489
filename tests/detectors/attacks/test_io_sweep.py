"""One point after the other is switched."""

from __future__ import annotations

import pytest
from support.findings import DNP3, Plant, of, the

from detectors.attacks import io_sweep
from detectors.finding import Severity
from pcaps.messages import dnp3, iec104

SCADA, STRANGER, RTU = "10.1.0.5", "10.1.0.66", "10.1.0.41"
ON, OFF = b"\1", b"\0"


class Connection:
    def __init__(self, plant: Plant, host: str) -> None:
        self.plant, self.host = plant, host
        self.master, self.station = iec104.connect()

    def asks(self, kind: int, address: int, element: bytes, wait: float = 0.5) -> None:
        request = iec104.asdu(kind, iec104.ACTIVATION, 3, (address, element))
        answer = iec104.asdu(kind, iec104.CONFIRMATION, 3, (address, element))
        self.plant.exchange(self.host, RTU, self.master.say(request), self.station.say(answer), iec104.PORT)
        self.plant.wait(wait)

    def sweep(self, points: int, wait: float = 0.5) -> None:
        for address in range(1000, 1000 + points):
            for element in (ON, OFF):
                self.asks(iec104.SINGLE_COMMAND, address, element, wait)


def polled(plant: Plant, seconds: int) -> None:
    scada = Connection(plant, SCADA)
    for _ in range(seconds // 10):
        scada.asks(iec104.INTERROGATION, 0, b"\x14", wait=10)


@pytest.mark.parametrize("size", [None, 3])
def test_a_stranger_that_asks_for_all_points_and_switches_them_is_critical(size: int | None) -> None:
    plant = Plant()
    polled(plant, 300)
    rogue = Connection(plant, STRANGER)
    rogue.asks(iec104.INTERROGATION, 0, b"\x14")
    rogue.sweep(12)
    found = the(plant.findings(size), "io.sweep")
    assert (found.source_ip, found.destination_ip, found.severity) == (STRANGER, RTU, Severity.CRITICAL)
    assert found.techniques == ("T0806", "T0855")
    assert "12 different points" in found.explanation.en
    assert "until it came the station spoke with others only" in found.explanation.en


def test_a_host_alone_that_comes_asks_and_switches_everything_is_high() -> None:
    plant = Plant()
    rogue = Connection(plant, STRANGER)
    rogue.asks(iec104.INTERROGATION, 0, b"\x14")
    rogue.sweep(12)
    assert the(plant.findings(), "io.sweep").severity is Severity.HIGH


def test_an_operator_who_switches_a_few_points_is_no_sweep() -> None:
    plant = Plant()
    polled(plant, 300)
    Connection(plant, SCADA).sweep(io_sweep.ENOUGH - 1)
    assert not of(plant.findings(), "io.sweep")


def test_points_switched_over_an_hour_are_no_sweep() -> None:
    plant = Plant()
    Connection(plant, SCADA).sweep(20, wait=60)
    assert not of(plant.findings(), "io.sweep")


def test_the_usual_dnp3_master_that_operates_many_points_is_a_low_matter() -> None:
    plant = Plant()
    master, outstation = dnp3.Station(1, 41, master=True), dnp3.Station(41, 1, master=False)
    for n in range(12):
        block = dnp3.crob(n, 3)
        request = master.send(dnp3.request(n, dnp3.DIRECT_OPERATE, block))
        plant.exchange(SCADA, RTU, request, outstation.send(dnp3.response(n, block)), DNP3)
    found = the(plant.findings(), "io.sweep")
    assert (found.severity, found.count, found.station) == (Severity.LOW, 12, 41)
