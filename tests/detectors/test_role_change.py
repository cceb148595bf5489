"""Devices that were only asked and begin to ask."""

from __future__ import annotations

import pytest
from support.findings import Plant, of, the

from detectors.finding import Finding, Severity
from detectors.pipeline import Options
from pcaps.messages import modbus

HMI, RTU, PLC, OTHER = "10.1.0.5", "10.1.0.40", "10.1.0.20", "10.1.0.21"
RULE = "role.device-asks"
BOTH = pytest.mark.parametrize("options", [None, Options(learn_s=60)], ids=["capture", "live"])


def poll(plant: Plant, client: str, server: str, times: int = 1, address: int = 0) -> None:
    """Reads, one a second."""
    for n in range(times):
        plant.exchange(
            client, server, modbus.adu(n, 1, modbus.read(3, address, 1)), modbus.adu(n, 1, modbus.registers(3, [n]))
        )
        plant.wait(1)


def claims(plant: Plant, options: Options | None = None) -> list[Finding]:
    return of(plant.findings(size=30, options=options), RULE)


@BOTH
def test_a_device_that_begins_to_read_others_is_told_once(options: Options | None) -> None:
    plant = Plant()
    poll(plant, HMI, RTU, 100)
    for server in (PLC, OTHER):
        for address in range(3):
            poll(plant, RTU, server, address=address)
    poll(plant, HMI, RTU, 30)
    (found,) = claims(plant, options)
    assert (found.source_ip, found.destination_ip, found.severity) == (RTU, PLC, Severity.MEDIUM)
    assert found.techniques == ("T0848", "T0846")
    assert found.evidence.frames


@BOTH
def test_one_that_has_asked_from_the_beginning_is_a_gateway(options: Options | None) -> None:
    plant = Plant()
    poll(plant, RTU, PLC)
    poll(plant, HMI, RTU, 100)
    poll(plant, RTU, OTHER, 3)
    assert claims(plant, options) == []


@BOTH
def test_one_that_just_appeared_is_not_judged(options: Options | None) -> None:
    plant = Plant()
    poll(plant, HMI, PLC, 100)
    poll(plant, HMI, RTU, 12)
    poll(plant, RTU, PLC, 3)
    assert claims(plant, options) == []


def test_one_that_writes_is_left_to_the_finding_that_weighs_more() -> None:
    plant = Plant()
    poll(plant, HMI, RTU, 100)
    poll(plant, HMI, PLC, 2)
    poll(plant, RTU, PLC, 2)
    request = modbus.adu(9, 1, modbus.write_register(1, 1))
    plant.exchange(RTU, PLC, request, request)
    assert claims(plant) == []


def test_the_exchange_counts_are_those_of_the_device() -> None:
    plant = Plant()
    poll(plant, HMI, RTU, 100)
    poll(plant, RTU, PLC, 7)
    assert the(plant.findings(), RULE).count == 7
