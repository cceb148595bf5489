"""What is hunted for: conditions over columns, and addresses, networks and hashes that an index finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network

from detectors.sigma.rule import SigmaRule
from detectors.sigma.steady import by_behaviour, steady_fields
from detectors.sigma.tree import FALSE, Node, all_of, any_of, fields_of
from sensor.archive.catalogue import Entry
from sensor.archive.columns import ARCHIVE
from sensor.archive.terms import ADDRESSES, INDEXED, span_of, term

_REQUEST: Node = ["in", "event.kind", ["request"]]
_OF_BEHAVIOURS = frozenset(ARCHIVE) - {"archive.kept_for", "archive.alert"}


@dataclass(frozen=True, slots=True)
class Condition:
    """A rule or a query. behaviours, events: what is asked of the rows of each; FALSE: nothing.

    possible: for the part that only single events answer, what behaviours must satisfy for it to hold.
    """

    name: str
    title: str
    behaviours: Node
    events: Node
    possible: Node


@dataclass(frozen=True, slots=True)
class Sought:
    """An indicator that an index answers: from `low` to `high`, both included (sensor/archive/terms.py)."""

    name: str
    title: str
    low: bytes
    high: bytes


def condition(name: str, title: str, node: Node) -> Condition:
    """A condition, divided: what is the same in all events of a behaviour is asked of behaviours, where every event was
    counted; the rest of the events that were kept one by one.
    """
    fields = frozenset(fields_of(node))
    of_behaviours: list[Node] = []
    of_events: list[Node] = []
    possible: list[Node] = []
    for request, here in ((True, _REQUEST), (False, ["not", _REQUEST])):
        steady = steady_fields(request=request)
        decided = fields <= steady | _OF_BEHAVIOURS
        (of_behaviours if decided else of_events).append(all_of([here, node]))
        if not decided:
            possible.append(all_of([here, by_behaviour(node, steady)]))
    if not of_events:
        return Condition(name, title, node, FALSE, FALSE)
    return Condition(name, title, any_of(of_behaviours), any_of(of_events), any_of(possible))


def of_rules(rules: Iterable[SigmaRule]) -> list[Condition]:
    """Rules as what is hunted for."""
    return [condition(rule.id, rule.title, rule.condition) for rule in rules]


def needed(node: Node) -> list[tuple[bytes, bytes]] | None:
    """Spans of octets (sensor/archive/terms.py) of which a file must hold a term where a row is to satisfy `node`.

    None where that cannot be said.
    """
    head, *rest = node
    if head == "and":
        found = [spans for part in rest if (spans := needed(part)) is not None]
        return min(found, key=len) if found else None
    if head == "or":
        parts = [needed(part) for part in rest]
        return None if None in parts else [span for spans in parts for span in spans or ()]
    if head == "in" and rest[0] in INDEXED:
        terms = [term(value) if isinstance(value, str) else None for value in rest[1]]
        return None if None in terms else [(octets, octets) for octets in terms if octets is not None]
    if head == "cidr" and rest[0] in ADDRESSES:
        return [span_of(ip_network(rest[1], strict=False))]
    return [] if head == "false" else None


def impossible(node: Node, entry: Entry) -> bool:
    """Whether no row of a file can satisfy the condition, as far as its columns and protocols tell."""
    head, *rest = node
    if head == "false":
        return True
    if head == "and":
        return any(impossible(part, entry) for part in rest)
    if head == "or":
        return all(impossible(part, entry) for part in rest)
    if head in ("true", "not") or (head == "exists" and not rest[1]):
        return False
    if head == "in" and rest[0] == "network.protocol":
        return not any(isinstance(value, str) and value.lower() in entry.protocols for value in rest[1])
    return any(name not in entry.columns for name in fields_of(node))
