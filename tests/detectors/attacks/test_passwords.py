"""Logins that are refused again and again."""

from __future__ import annotations

from support.findings import S7, Plant, of, the

from detectors.finding import Severity
from pcaps.messages import s7comm

LAPTOP, PLC = "10.1.0.66", "10.1.0.20"
WRONG = 0xD602


def tries(plant: Plant, reference: int, error: int) -> None:
    request = s7comm.userdata_request(
        reference, 5, 1, bytes([0x64 + reference, 0x51, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66])
    )
    answer = s7comm.userdata_response(reference, 5, 1, None, error=error)
    plant.exchange(LAPTOP, PLC, request, answer, S7)


def test_three_wrong_passwords_are_guessing_even_one_an_hour() -> None:
    plant = Plant()
    for reference in range(1, 4):
        tries(plant, reference, WRONG)
        plant.wait(3600)
    found = the(plant.findings(size=1), "password.guessing")
    assert (found.source_ip, found.destination_ip, found.count) == (LAPTOP, PLC, 3)
    assert (found.severity, found.techniques) == (Severity.HIGH, ("T0859", "T0812"))


def test_a_password_mistyped_twice_is_not() -> None:
    plant = Plant()
    for reference, error in ((1, WRONG), (2, WRONG), (3, 0)):
        tries(plant, reference, error)
    assert not of(plant.findings(), "password.guessing")


def test_guessing_that_succeeds_is_critical() -> None:
    plant = Plant()
    for reference, error in ((1, WRONG), (2, WRONG), (3, WRONG), (4, 0)):
        tries(plant, reference, error)
    found = the(plant.findings(), "password.guessing")
    assert found.severity is Severity.CRITICAL
    assert "a login succeeded" in found.explanation.en
