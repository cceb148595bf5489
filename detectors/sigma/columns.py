"""Which fields columns decide: most events are told apart by their codes and are never described.

Of a request the codes in the columns say what stands in its code fields, so that a condition over them is decided once
for each combination of codes. Rules that ask for a field that is not steady (steady.py) are evaluated event by event.
tests/detectors/sigma/test_naive_matching.py holds this against every event of every capture at hand.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from detectors.sigma.steady import CODES, EXACT, FUNCTION_FIELDS, SUBFUNCTION_FIELDS
from detectors.sigma.tree import Node, weaker
from sensor.decode.pdu import ABSENT, Kind, Outcome, Protocol
from sensor.view import EXPLAINERS


class Codes(NamedTuple):
    """What the columns say about a kind of event. function, subfunction: None where they are left open."""

    protocol: int
    kind: int
    outcome: int
    function: int | None = None
    subfunction: int | None = None

    def fields(self) -> dict[str, Any]:
        """The fields that follow, as a description would give them."""
        known: dict[str, Any] = {
            "network.protocol": EXPLAINERS[self.protocol][0],
            "event.kind": Kind(self.kind).name.lower(),
            "event.outcome": Outcome(self.outcome).name.lower(),
        }
        if self.kind == Kind.RESPONSE:  # its codes are those of its request
            return known
        product = known["network.protocol"]
        if self.function is not None and self.function != ABSENT and product in FUNCTION_FIELDS:
            known[FUNCTION_FIELDS[product]] = self.function
        grouped = self.protocol == Protocol.S7COMM and self.function != ABSENT  # user data has no function
        if self.subfunction is not None and self.subfunction != ABSENT and not grouped:
            for name, part in SUBFUNCTION_FIELDS.get(product, {}).items():
                known[name] = part(self.subfunction)
        return known

    def open(self) -> frozenset[str]:
        """Code fields about which nothing is known."""
        if self.kind == Kind.RESPONSE:
            return CODES
        unknown: set[str] = set()
        if self.function is None:
            unknown.update(FUNCTION_FIELDS.values())
        if self.function is None or self.subfunction is None:
            unknown.update(*(fields.keys() for fields in SUBFUNCTION_FIELDS.values()))
        return frozenset(unknown)


def by_codes(node: Node, unknown: frozenset[str]) -> Node:
    """A condition over code fields that holds for every event for which `node` may hold.

    A code in a column does not say that the field is there, for the PDU may be cut: so nothing follows below a "not".
    """
    return weaker(node, lambda name, positive: name in EXACT or (positive and name in CODES and name not in unknown))
