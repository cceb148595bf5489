"""Messages in one machine's name that another IP stack has sent."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.findings import MODBUS, Plant, of, the
from support.wire import Talk, udp

from detectors.finding import Finding, Severity
from pcaps.messages import modbus

HMI, OTHER, PLC = "10.1.0.5", "10.1.0.6", "10.1.0.20"
RULE = "address.two-stacks"
IPV4_TTL, IPV6_HOP_LIMIT = 22, 21  # where it stands in an untagged frame


def live(frame: bytes, hops: int, at: int = IPV4_TTL) -> bytes:
    """The frame with another time to live."""
    return frame[:at] + bytes([hops]) + frame[at + 1 :]


class Network:
    """Polling in which every frame's time to live is chosen."""

    def __init__(self) -> None:
        self.plant = Plant()
        self._turn = 0

    def polls(
        self, client: int = 64, server: int = 64, *, by: str = HMI, change: Callable[[bytes, int], bytes] = live
    ) -> None:
        """One exchange on the connection of `by`."""
        self._turn += 1
        talk = self.plant.talk(by, PLC)
        self.plant.sends(change(talk.asks(modbus.adu(self._turn, 1, modbus.read(3, 0, 1))), client))
        self.plant.sends(change(talk.answers(modbus.adu(self._turn, 1, modbus.registers(3, [7]))), server))
        self.plant.wait(1)

    def claims(self, size: int | None = 8) -> list[Finding]:
        return of(self.plant.findings(size=size), RULE)


@pytest.mark.parametrize("size", [1, 3, None])
def test_a_request_from_another_stack_inside_a_conversation_is_told(size: int | None) -> None:
    network = Network()
    for _ in range(5):
        network.polls(128)
    network.polls(64)
    (found,) = network.claims(size)
    assert (found.source_ip, found.destination_ip, found.count) == (HMI, PLC, 1)
    assert found.severity is Severity.MEDIUM
    assert "128 before, these with 64" in found.explanation.en
    assert "modbus" in found.explanation.zh
    assert len(found.evidence.frames) == 1


def test_a_service_that_answers_somebody_else_from_another_stack_is_told() -> None:
    network = Network()
    network.polls(server=128)
    for _ in range(4):
        network.polls(server=64, by=OTHER)
    (found,) = network.claims()
    assert (found.source_ip, found.destination_ip, found.count) == (PLC, OTHER, 4)


def test_clients_behind_one_address_may_differ() -> None:
    plant = Plant()
    for port, hops in ((40001, 64), (40002, 128), (40003, 255)):
        talk = Talk(src=HMI, dst=PLC, sport=port, dport=MODBUS)
        plant.sends(live(talk.asks(modbus.adu(1, 1, modbus.read(3, 0, 1))), hops))
        plant.sends(talk.answers(modbus.adu(1, 1, modbus.registers(3, [7]))))
    assert of(plant.findings(), RULE) == []


def test_another_way_through_the_network_is_no_other_stack() -> None:
    network = Network()
    for hops in (64, 63, 61, 60, 64, 30):
        network.polls(hops, hops + 64)
    assert network.claims() == []


def test_the_hop_limit_of_version_six_is_read_where_it_stands() -> None:
    plant = Plant()
    talk = Talk(src="fd00::5", dst="fd00::20", sport=40001, dport=MODBUS)
    for turn, hops in enumerate((64, 64, 255)):
        ask = talk.asks(modbus.adu(turn, 1, modbus.read(3, 0, 1)))
        plant.sends(live(ask, hops, IPV6_HOP_LIMIT))
    assert the(plant.findings(), RULE).count == 1


def test_a_tagged_frame_is_read_behind_its_tag() -> None:
    plant = Plant()
    talk = Talk(src=HMI, dst=PLC, sport=40001, dport=MODBUS, tags=((0x8100, 7),))
    for turn, hops in enumerate((64, 64, 128)):
        plant.sends(live(talk.asks(modbus.adu(turn, 1, modbus.read(3, 0, 1))), hops, IPV4_TTL + 4))
    assert the(plant.findings(), RULE).count == 1


def test_a_flood_from_another_stack_is_one_finding_with_an_exact_count() -> None:
    plant = Plant()
    plant.sends(live(udp(modbus.adu(1, 1, modbus.read(3, 0, 1)), dport=MODBUS), 128))
    forged = live(udp(modbus.adu(2, 1, modbus.read(3, 0, 1)), dport=MODBUS), 64)
    for _ in range(9000):
        plant.sends(forged)
    assert the(plant.findings(), RULE).count == 9000
