"""Industrial protocols between the plant and the Internet."""

from __future__ import annotations

import pytest
from support.findings import Plant, of, the

from detectors.finding import Severity
from pcaps.messages import modbus

PLC, PUBLIC = "10.1.0.20", "8.8.4.4"
READ = modbus.read(3, 0, 1), modbus.registers(3, [7])
WRITE = modbus.write_register(1, 2), modbus.write_register(1, 2)


def said(client: str, server: str, pair: tuple[bytes, bytes], port: int = 502) -> Plant:
    plant = Plant()
    plant.exchange(client, server, modbus.adu(1, 1, pair[0]), modbus.adu(1, 1, pair[1]), port)
    return plant


@pytest.mark.parametrize(("pair", "severity"), [(READ, Severity.MEDIUM), (WRITE, Severity.HIGH)])
def test_a_host_on_the_internet_that_reaches_a_device_is_named(pair: tuple[bytes, bytes], severity: Severity) -> None:
    found = the(said(PUBLIC, PLC, pair).findings(), "internet.inbound")
    assert (found.source_ip, found.destination_ip, found.severity) == (PUBLIC, PLC, severity)
    assert found.techniques == ("T0883",)


def test_the_protocol_counts_whatever_the_port() -> None:
    assert the(said(PUBLIC, PLC, READ, port=8502).findings(), "internet.inbound").destination_port == 8502


def test_a_device_that_is_called_on_the_internet_is_a_low_matter() -> None:
    assert the(said(PLC, PUBLIC, READ).findings(), "internet.outbound").severity is Severity.LOW


@pytest.mark.parametrize(("client", "server"), [("8.8.4.4", "8.8.4.5"), ("100.64.1.1", PLC), ("fe80::1", "fe80::2")])
def test_plants_that_use_such_addresses_inside_are_passed_over(client: str, server: str) -> None:
    found = said(client, server, READ).findings()
    assert not of(found, "internet.inbound") + of(found, "internet.outbound")
