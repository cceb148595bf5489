"""Commands without an answer: a silent device, or a mirror port that copies one direction."""

from __future__ import annotations

from support.findings import Plant, of, the

from detectors.finding import Severity
from pcaps.messages import modbus

HMI, PLC = "10.1.0.5", "10.1.0.20"


def read(plant: Plant, n: int) -> None:
    plant.exchange(HMI, PLC, modbus.adu(n, 1, modbus.read(3, 0, 1)), modbus.adu(n, 1, modbus.registers(3, [n])))


def command(plant: Plant, n: int) -> None:
    plant.asks(HMI, PLC, modbus.adu(n, 1, modbus.write_coil(3, on=True)))


def test_a_command_after_which_the_device_is_silent_is_claimed() -> None:
    plant = Plant()
    read(plant, 1)
    command(plant, 2)
    plant.wait(60)
    command(plant, 3)
    plant.wait(60)
    plant.asks(HMI, PLC, modbus.adu(4, 1, modbus.read(3, 0, 1)))
    found = the(plant.findings(), "command.unanswered")
    assert (found.count, found.severity, found.station) == (2, Severity.MEDIUM, 1)
    assert "answered nothing more" in found.explanation.en
    assert found.evidence.frames
    assert not of(plant.findings(), "capture.one-way")


def test_a_device_that_answers_everything_but_the_command_weighs_less() -> None:
    plant = Plant()
    read(plant, 1)
    command(plant, 2)
    plant.wait(60)
    read(plant, 3)
    found = the(plant.findings(), "command.unanswered")
    assert (found.count, found.severity) == (1, Severity.LOW)


def test_a_command_repeated_until_it_is_answered_is_no_finding() -> None:
    plant = Plant()
    command(plant, 1)
    plant.wait(1)
    command(plant, 1)
    plant.answers(HMI, PLC, modbus.adu(1, 1, modbus.write_coil(3, on=True)))
    plant.wait(60)
    read(plant, 2)
    assert not of(plant.findings(), "command.unanswered")


def test_a_command_at_the_very_end_of_a_capture_may_still_be_answered() -> None:
    plant = Plant()
    read(plant, 1)
    command(plant, 2)
    assert not of(plant.findings(), "command.unanswered")


def test_reads_without_answers_are_not_commands() -> None:
    plant = Plant()
    read(plant, 1)
    plant.asks(HMI, PLC, modbus.adu(2, 1, modbus.read(3, 0, 1)))
    plant.wait(60)
    read(plant, 3)
    assert plant.findings() == []


def test_a_capture_of_one_direction_says_so_instead() -> None:
    plant = Plant()
    talk = plant.talk(HMI, PLC)
    for n in range(6):
        plant.sends(talk.asks(modbus.adu(n, 1, modbus.write_coil(3, on=True))))
        plant.wait(20)
    found = the(plant.findings(), "capture.one-way")
    assert found.severity is Severity.INFORMATIONAL
    assert found.techniques == ()
    assert not of(plant.findings(), "command.unanswered")
