"""Sweeps: distinct hosts or ports that never answer, however slowly they are tried."""

from __future__ import annotations

from support.findings import Plant, of, the
from support.wire import SYN, Talk, tcp

from detectors.attacks import sweep
from pcaps.messages import modbus

SCANNER, HMI = "10.1.0.66", "10.1.0.5"


def knocks(plant: Plant, source: str, target: str, port: int, sport: int) -> None:
    plant.sends(tcp(seq=1, flags=SYN, src=source, dst=target, sport=sport, dport=port))


def polled(plant: Plant, server: str, times: int = 20) -> None:
    for n in range(times):
        plant.exchange(HMI, server, modbus.adu(n, 1, modbus.read(3, 0, 1)), modbus.adu(n, 1, modbus.registers(3, [7])))


def test_one_host_an_hour_that_does_not_answer_is_a_sweep_after_eight() -> None:
    plant = Plant()
    for n in range(sweep.ENOUGH_HOSTS):
        knocks(plant, SCANNER, f"10.1.3.{n + 1}", 502, 40000 + n)
        plant.wait(3600)
    found = the(plant.findings(size=1), "scan.hosts")
    assert (found.source_ip, found.destination_ip, found.destination_port) == (SCANNER, "", 502)
    assert (found.protocol, found.count, found.techniques) == ("modbus", 8, ("T0846",))
    assert "8 did not answer (10.1.3.1, 10.1.3.2" in found.explanation.en


def test_seven_hosts_are_no_sweep_yet() -> None:
    plant = Plant()
    for n in range(sweep.ENOUGH_HOSTS - 1):
        knocks(plant, SCANNER, f"10.1.3.{n + 1}", 102, 40000 + n)
    assert not of(plant.findings(), "scan.hosts")


def test_a_master_that_calls_its_dead_devices_again_and_again_is_no_sweep() -> None:
    plant = Plant()
    for again in range(sweep.ATTEMPTS + 1):
        for n in range(20):
            knocks(plant, HMI, f"10.1.3.{n + 1}", 502, 41000 + 100 * again + n)
    plant.wait(60)
    polled(plant, "10.1.0.20", times=1)
    assert not of(plant.findings(), "scan.hosts")


def test_a_master_with_more_devices_that_answer_than_not_is_no_sweep() -> None:
    plant = Plant()
    for n in range(12):
        polled(plant, f"10.1.2.{n + 1}")
    for n in range(sweep.ENOUGH_HOSTS):
        knocks(plant, HMI, f"10.1.3.{n + 1}", 502, 40000 + n)
    assert not of(plant.findings(), "scan.hosts")


def test_fifteen_ports_of_one_device_that_give_nothing_are_a_port_scan() -> None:
    plant = Plant()
    for n in range(sweep.ENOUGH_PORTS):
        knocks(plant, SCANNER, "10.1.0.20", 20 + n, 40000)
        plant.wait(600)
    found = the(plant.findings(size=4), "scan.ports")
    assert (found.source_ip, found.destination_ip, found.count) == (SCANNER, "10.1.0.20", 15)
    assert found.evidence.frames


def test_answers_seen_in_the_middle_of_a_file_transfer_are_no_port_scan() -> None:
    plant = Plant()
    for n in range(40):  # acknowledgements of a server, whose calls were before the capture
        plant.sends(tcp(seq=5, ack=9, flags=16, src="10.1.0.9", dst=HMI, sport=445, dport=50000 + n))
    assert not of(plant.findings(), "scan.ports")


def test_a_flood_of_made_up_addresses_is_bounded_and_raises_nothing() -> None:
    plant = Plant()
    for n in range(3 * sweep.MAX_FOLLOWED):
        talk = Talk(src=f"10.{n >> 8}.{n & 255}.9", dst="10.1.0.20", dport=502, sport=40000)
        plant.sends(talk.handshake()[0])
    found = plant.findings()
    assert not of(found, "detector.failed")
    assert the(found, "flood.connections").count == 3 * sweep.MAX_FOLLOWED
