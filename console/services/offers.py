"""What a bulletin written from a finding could offer to others, and what of it goes out unless the author says more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from console.services.publishing import is_private
from console.sharing.patterns import Match, NotUsableError, address_match, operation_match
from console.store.models import Finding

# Fields that say which operation it was, the same at every plant. Unit numbers, addresses, block names and values say
# what this plant has, and stay here.
OPERATION_FIELDS = {
    "modbus": ("modbus.function_code", "modbus.subfunction_code"),
    "s7comm": ("s7comm.function", "s7comm.userdata.group", "s7comm.userdata.subfunction", "s7comm.service"),
    "dnp3": ("dnp3.function_code",),
}


@dataclass(frozen=True, slots=True)
class Offer:
    """One indicator that could go out. offered: chosen before the author has chosen."""

    match: Match
    offered: bool


def offers(finding: Finding, pdus: Iterable[Mapping[str, Any]]) -> list[Offer]:
    """Operation first, then addresses. An address goes out by itself only if it is public: others name the plant's own
    devices and mean nothing elsewhere."""
    made: list[Offer] = []
    operation = _operation(finding, pdus)
    if operation is not None:
        made.append(Offer(operation, offered=True))
    for text in dict.fromkeys((finding.source_ip, finding.destination_ip)):
        try:
            match = address_match(text)
        except NotUsableError:
            continue
        made.append(Offer(match, offered=not is_private(match)))
    return made


def _operation(finding: Finding, pdus: Iterable[Mapping[str, Any]]) -> Match | None:
    names = OPERATION_FIELDS.get(finding.protocol, ())
    for fields in (finding.fields, *pdus):
        chosen = {name: fields[name] for name in names if name in fields}
        if not chosen:
            continue
        try:
            return operation_match({"network.protocol": finding.protocol, **chosen}, finding.rule_id)
        except NotUsableError:
            continue
    return None
