"""Clocks set far from the present."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from support.findings import BEGINS_NS, DNP3, Plant, of, the

from detectors.finding import Severity
from pcaps.messages import dnp3, iec104

MASTER, RTU = "10.1.0.5", "10.1.0.41"
NOW = datetime.fromtimestamp(BEGINS_NS / 1e9, UTC)


def set_to(at: datetime) -> Plant:
    plant = Plant()
    request = dnp3.request(3, dnp3.WRITE, dnp3.time_and_date(at))
    answer = dnp3.Station(41, 1, master=False).send(dnp3.response(3))
    plant.exchange(MASTER, RTU, dnp3.Station(1, 41, master=True).send(request), answer, DNP3)
    return plant


@pytest.mark.parametrize(("days", "severity"), [(10, Severity.LOW), (-4000, Severity.MEDIUM), (4000, Severity.MEDIUM)])
def test_a_time_days_or_years_away_is_named(days: int, severity: Severity) -> None:
    found = the(set_to(NOW + timedelta(days=days)).findings(), "clock.far")
    assert (found.source_ip, found.destination_ip, found.severity) == (MASTER, RTU, severity)
    assert f"which is {abs(days)} days" in found.explanation.en


@pytest.mark.parametrize("hours", [0, 14, -14, 40])
def test_time_zones_and_small_errors_are_none(hours: int) -> None:
    assert not of(set_to(NOW + timedelta(hours=hours)).findings(), "clock.far")


def test_a_time_of_iec_104_counts_too() -> None:
    plant = Plant()
    master, _ = iec104.connect()
    element = bytes([0, 0, 0, 0, 1, 1, 5])  # 1 January 2005 (CP56Time2a)
    clock = master.say(iec104.asdu(iec104.CLOCK, iec104.ACTIVATION, 3, (0, element)))
    plant.asks(MASTER, RTU, clock, iec104.PORT)
    assert "2005-01-01" in the(plant.findings(), "clock.far").explanation.zh
