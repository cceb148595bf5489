"""Reports that were switched off and stay off."""

from __future__ import annotations

from datetime import UTC, datetime

from support.findings import DNP3, Plant, of, the

from pcaps.messages import dnp3, iec104

MASTER, ROGUE, RTU = "10.1.0.5", "10.1.0.66", "10.1.0.41"


class Outstation:
    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.number = 0
        self.master, self.station = dnp3.Station(1, 41, master=True), dnp3.Station(41, 1, master=False)

    def polled(self, times: int, function: int = dnp3.READ, source: str = MASTER) -> None:
        for _ in range(times):
            self.number = (self.number + 1) % 16
            request = self.master.send(dnp3.request(self.number, function, dnp3.EVENT_CLASSES))
            self.plant.exchange(source, RTU, request, self.station.send(dnp3.response(self.number)), DNP3)
            self.plant.wait(5)

    def reports(self, times: int) -> None:
        for n in range(times):
            event = dnp3.binary_event(3, state=True, at=datetime(2026, 3, 2, tzinfo=UTC))
            self.plant.answers(MASTER, RTU, self.station.send(dnp3.unsolicited(n % 16, event)), DNP3)
            self.plant.wait(5)


def test_a_device_that_reported_and_was_silenced_for_good_is_named() -> None:
    plant = Plant()
    rtu = Outstation(plant)
    rtu.reports(5)
    rtu.polled(1, dnp3.DISABLE_UNSOLICITED, ROGUE)
    rtu.polled(80)
    found = the(plant.findings(size=10), "reporting.off")
    assert (found.source_ip, found.destination_ip, found.station, found.techniques) == (ROGUE, RTU, 41, ("T0804",))


def test_a_device_that_is_told_to_report_again_is_no_finding() -> None:
    plant = Plant()
    rtu = Outstation(plant)
    rtu.reports(5)
    rtu.polled(1, dnp3.DISABLE_UNSOLICITED)
    rtu.polled(3)
    rtu.polled(1, dnp3.ENABLE_UNSOLICITED)
    rtu.polled(80)
    assert not of(plant.findings(size=10), "reporting.off")


def test_a_master_that_never_wanted_reports_switches_them_off_at_its_start() -> None:
    plant = Plant()
    rtu = Outstation(plant)
    rtu.reports(1)
    rtu.polled(1, dnp3.DISABLE_UNSOLICITED)
    rtu.polled(80)
    assert not of(plant.findings(size=10), "reporting.off")


def controlled(plant: Plant, octet: int, source: str = MASTER) -> None:
    plant.exchange(source, RTU, iec104.control(octet), iec104.control(octet << 1 & 0xFC | 3), iec104.PORT)


def test_transfer_stopped_while_the_station_stays_connected_is_named() -> None:
    plant = Plant()
    controlled(plant, iec104.STARTDT)
    controlled(plant, iec104.STOPDT)
    for _ in range(20):
        plant.wait(20)
        controlled(plant, 0x43)
    found = the(plant.findings(size=6), "reporting.off")
    assert (found.protocol, found.destination_ip) == ("iec104", RTU)


def test_a_standby_connection_takes_over() -> None:
    plant = Plant()
    controlled(plant, iec104.STARTDT)
    controlled(plant, iec104.STOPDT)
    controlled(plant, iec104.STARTDT, "10.1.0.6")
    for _ in range(20):
        plant.wait(20)
        controlled(plant, 0x43)
    assert not of(plant.findings(), "reporting.off")
