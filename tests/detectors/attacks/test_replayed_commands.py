"""Recorded commands that are played back in another connection."""

from __future__ import annotations

import pytest
from support.findings import MODBUS, S7, Plant, of, the
from support.wire import Talk

from detectors.attacks.replayed_commands import ENOUGH
from pcaps.messages import modbus, s7comm

HMI, ROGUE, PLC = "10.1.0.5", "10.1.0.66", "10.1.0.20"
Recorded = list[tuple[int, int]]  # number, value


def connects(plant: Plant, client: str, port: int, number: int = 0) -> None:
    """A new connection of a client."""
    talk = Talk(src=client, dst=PLC, dport=port, sport=41000 + number)
    plant._talks[client, PLC, port] = talk
    for packet in talk.handshake():
        plant.sends(packet)


def write(plant: Plant, client: str, number: int, value: int, port: int = MODBUS) -> None:
    if port == MODBUS:
        adu = modbus.adu(number, 1, modbus.write_register(8, value))
        plant.exchange(client, PLC, adu, adu, port)
    else:
        parameter, data = s7comm.write_var(s7comm.DB, 10, 40, value.to_bytes(2, "big"))
        answer = s7comm.ack_data(number, b"\x05\x01", b"\xff")
        plant.exchange(client, PLC, s7comm.job(number, parameter, data), answer, port)


def session(plant: Plant, *, commands: int = 8, port: int = MODBUS, first: int = 900, step: int = 7) -> Recorded:
    """The operators' station connects and writes a value now and then; what a listener records."""
    connects(plant, HMI, port)
    recorded = [(first + step * n, 500 + n) for n in range(commands)]
    for number, value in recorded:
        plant.wait(15)
        write(plant, HMI, number, value, port)
    return recorded


@pytest.mark.parametrize("size", [None, 1, 5])
@pytest.mark.parametrize("port", [MODBUS, S7])
@pytest.mark.parametrize("who", [ROGUE, HMI])
def test_a_recording_played_back_is_named_under_any_address(who: str, port: int, size: int | None) -> None:
    plant = Plant()
    recorded = session(plant, port=port)
    connects(plant, who, port, 1)
    for number, value in recorded:
        write(plant, who, number, value, port)
        plant.wait(0.2)
    found = the(plant.findings(size), "replay.commands")
    assert (found.source_ip, found.destination_ip, found.techniques) == (who, PLC, ("T0855",))
    assert found.count == len(recorded)
    assert "with the numbers that they had" in found.explanation.en


def played(recorded: Recorded, how: str) -> Recorded:
    """What comes in the second connection, none of it a recording."""
    return {
        "other numbers": [(number + 1, value) for number, value in recorded],
        "other values": [(number, value + 1) for number, value in recorded],
        "backwards": recorded[::-1],
        "few": recorded[: ENOUGH - 1],
        "interrupted": [it for pair in zip(recorded, [(1, 1)] * 9, strict=False) for it in pair],
    }[how]


@pytest.mark.parametrize("how", ["other numbers", "other values", "backwards", "few", "interrupted"])
def test_commands_that_are_no_recording_are_quiet(how: str) -> None:
    plant = Plant()
    recorded = session(plant)
    connects(plant, ROGUE, MODBUS, 1)
    for number, value in played(recorded, how):
        write(plant, ROGUE, number, value)
    assert not of(plant.findings(), "replay.commands")


def test_a_client_that_begins_every_session_alike_is_no_recording() -> None:
    plant = Plant()
    for again in range(4):
        connects(plant, HMI, MODBUS, again)
        for number in range(1, 12):
            write(plant, HMI, number, 500 + number)
            plant.wait(3)
    assert not of(plant.findings(), "replay.commands")


def test_a_client_that_counts_on_when_it_connects_anew_is_no_recording() -> None:
    plant = Plant()
    number = 1
    for again in range(4):
        connects(plant, HMI, MODBUS, again)
        for _ in range(10):
            number += 1
            write(plant, HMI, number, 500 + number % 10)
            plant.wait(3)
    assert not of(plant.findings(), "replay.commands")
