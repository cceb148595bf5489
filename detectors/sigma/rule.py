"""A Sigma rule that is ready to run, and the form in which it is kept between runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from detectors.finding import Severity, Text
from detectors.knowledge import Rule
from detectors.sigma.tree import TRUE, Node

EXCHANGE = ("network.protocol", "event.kind", "event.outcome")  # nothing that one would filter by
CLASSES = ("read", "write", "control", "critical", "engineering", "recon", "evasion", "session", "report")


@dataclass(frozen=True, slots=True)
class SigmaRule(Rule):
    """A Rule that says by a condition over fields when it holds.

    id: the Sigma rule's `name`, uuid: its `id`. product: protocol of its log source, "" for any. condition: see
    tree.py; it asks for the protocol too. kind: one of CLASSES, "" where none is given. from_device: condition under
    which the device itself sends the PDU (an S7 download is fetched by the PLC): who is asked there is who acts.
    answers: False where the standard provides no answer. taken_back: id of the rule for what undoes this at once, ""
    for none. generate: False for a rule that only serves correlations. path: its file.
    """

    uuid: str
    title: str
    product: str
    condition: Node
    kind: str = ""
    from_device: Node | None = None
    answers: bool = True
    taken_back: str = ""
    generate: bool = True
    false_positives: Text = field(default=Text("", ""))
    path: str = ""

    def constants(self) -> dict[str, int | str]:
        """Fields that have one value whenever this rule matches: worth filtering by."""
        parts = self.condition[1:] if self.condition[0] == "and" else [self.condition]
        return {
            part[1]: part[2][0] for part in parts if part[0] == "in" and len(part[2]) == 1 and part[1] not in EXCHANGE
        }


@dataclass(frozen=True, slots=True)
class Correlation(Rule):
    """A Rule over several events of other rules. window_ns: length of the sliding window.

    type: event_count, value_count, temporal or temporal_ordered. rules: their ids, in order. group_by: fields that
    the events of a group have in common; aliases: by name in group_by, the field that each rule uses for it.
    operator, count: what the number must be (of events, of values of `value_field`, of rules).
    """

    uuid: str
    title: str
    type: str
    rules: tuple[str, ...]
    window_ns: int
    group_by: tuple[str, ...]
    operator: str
    count: int
    value_field: str = ""
    aliases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    kind: str = ""
    generate: bool = True
    false_positives: Text = field(default=Text("", ""))
    path: str = ""


@dataclass(frozen=True, slots=True)
class Aggravation:
    """What makes matches of some classes worse: sent to all devices at once, for instance.

    condition: over the fields of the request. unless_answered: does not count when a device answered (a Modbus/TCP
    device may be addressed as unit 0). refusals: counts only when the device refused at least so often.
    """

    product: str
    condition: Node
    classes: frozenset[str]
    unless_answered: bool
    refusals: int
    severity: Severity
    note: Text


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that cannot be used: where, and what to do about it. column: from 1, 0 where none is known."""

    path: str
    line: int
    column: int
    why: str

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.path, self.line, self.column) if part)
        return f"{place}: {self.why}"


def pack(value: Any) -> Any:
    """A rule, aggravation or text as what JSON can hold."""
    if isinstance(value, Text):
        return [value.zh, value.en]
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, Severity):
        return value.name
    if isinstance(value, (SigmaRule, Correlation, Aggravation)):
        return {name: pack(getattr(value, name)) for name in _names(type(value))}
    return value


def unpack(kind: type[Any], packed: Mapping[str, Any]) -> Any:
    """The inverse of pack for SigmaRule, Correlation and Aggravation."""
    return kind(**{name: _UNPACK[name](value) if name in _UNPACK else value for name, value in packed.items()})


def _text(value: Any) -> Text:
    return Text(*value)


_UNPACK: Mapping[str, Callable[[Any], Any]] = {
    "name": _text, "saw": _text, "why": _text, "check": _text, "note": _text, "false_positives": _text,
    "severity": Severity.__getitem__, "techniques": tuple, "rules": tuple, "group_by": tuple, "classes": frozenset,
}  # fmt: skip


def _names(kind: type[Any]) -> list[str]:
    return [name for name in kind.__dataclass_fields__ if not name.startswith("_")]


def everything(product: str) -> Node:
    """The condition that only the log source makes."""
    return ["in", "network.protocol", [product]] if product else TRUE
