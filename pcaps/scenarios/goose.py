"""GOOSE on a process bus: a protection device publishes, and somebody else publishes in its name."""

from __future__ import annotations

from pcaps.dialogue import Lab
from pcaps.messages import goose
from pcaps.plant import PROTECTION, ROGUE

HEARTBEAT_S = 1.0
AFTER_A_CHANGE_S = (0.002, 0.004, 0.008, 0.016, 0.032, 0.064)


def _state(lab: Lab, mac: str, state: int, values: tuple[bool, ...], seconds: int) -> None:
    """One state: repeated fast at first, then at the heartbeat."""
    for sequence, pause in enumerate((*AFTER_A_CHANGE_S, *[HEARTBEAT_S] * seconds)):
        lab.raw(goose.publication(mac, state=state, sequence=sequence, values=values))
        lab.wait(pause, jitter=0.01)


def state_changes(lab: Lab) -> None:
    """The protection picks up and trips: state numbers rise, nothing is wrong."""
    for state, values in enumerate(((False, False), (True, False), (True, True), (False, False)), start=41):
        _state(lab, PROTECTION.mac, state, values, 20)


def forged_trip(lab: Lab) -> None:
    """Another card publishes the same control block with a higher state number and a trip; the real one goes on."""
    _state(lab, PROTECTION.mac, 41, (False, False), 30)
    for sequence in range(8):
        lab.raw(goose.publication(ROGUE.mac, state=9000, sequence=sequence, values=(True, True)))
        lab.wait(0.1)
    _state(lab, PROTECTION.mac, 42, (True, False), 20)


def replayed_trip(lab: Lab) -> None:
    """Messages of an earlier trip are sent again, hardware address and all."""
    _state(lab, PROTECTION.mac, 41, (True, True), 5)
    _state(lab, PROTECTION.mac, 42, (False, False), 20)
    for sequence in range(6):
        lab.raw(goose.publication(PROTECTION.mac, state=41, sequence=sequence, values=(True, True)))
        lab.wait(0.01)
    _state(lab, PROTECTION.mac, 43, (False, False), 5)


def values_changed(lab: Lab) -> None:
    """Messages with a trip are put in under the true address, state number and sequence: only the values differ."""
    for sequence in range(40):
        forged = 20 <= sequence < 24
        lab.raw(goose.publication(PROTECTION.mac, state=41, sequence=sequence, values=(forged, forged)))
        lab.wait(1.0007)
