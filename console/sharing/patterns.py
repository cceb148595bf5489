"""An indicator that a sensor can match, to and from what STIX carries: a STIX pattern or a Sigma rule.

Addresses travel as STIX patterns (STIX 2.1, part 9), operation behaviours as Sigma rules (pattern_type "sigma") in our
field names, log source `category: ics_network, product: <protocol>`. What comes in may use far more of both languages
than a sensor matches: that is kept and shown, and NotUsableError says why it does not go to sensors.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from sensor.schema import FIELDS

MatchType = Literal["ip", "cidr", "operation"]
MAX_PATTERN_CHARS = 16_384  # so at most some 500 addresses in one pattern
MAX_FIELDS = 16
# Broader networks than these match half of the world: a mistake or an attack on the reader's attention.
BROADEST_PREFIX = {4: 16, 6: 32}

_COMPARISON = re.compile(
    r"\s*(?:ipv[46]-addr:value|network-traffic:(?:src|dst)_ref\.value)\s*(?:=|ISSUBSET\s)\s*'([0-9A-Fa-f:./]{2,49})'\s*"
)
_PYTHON_TYPES: dict[str, type] = {"long": int, "boolean": bool, "keyword": str, "text": str, "ip": str}
_OPERATION_ID = re.compile(r"operation\.[a-z0-9_.-]{1,80}", re.ASCII)
_PRODUCT = re.compile(r"[a-z0-9_-]{1,40}", re.ASCII)


class NotUsableError(Exception):
    """A sensor cannot match this pattern; the text is a stable word for counting and translating."""


@dataclass(frozen=True, slots=True)
class Match:
    """What a sensor looks for.

    type: "ip" (value: an address), "cidr" (value: a network) or "operation" (value: fields of sensor/schema.py and
        what they must equal, among them `network.protocol`).
    operation_id: of an operation, the id of the rule it came from, where that is known.
    """

    type: MatchType
    value: str | Mapping[str, str | int]
    operation_id: str = ""

    def __hash__(self) -> int:
        """Equal matches have equal texts."""
        return hash((self.type, self.text))

    @property
    def text(self) -> str:
        """For people and for identifiers: canonical, one line."""
        if isinstance(self.value, str):
            return self.value
        return ", ".join(f"{name}={self.value[name]}" for name in sorted(self.value))


def address_match(text: str) -> Match:
    """An address or network as a Match, canonical. Raises NotUsableError, also for loopback, multicast and the like."""
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError as error:
        raise NotUsableError("not-an-address") from error
    first = network.network_address
    if first.is_loopback or first.is_multicast or first.is_unspecified or str(first) == "255.255.255.255":
        raise NotUsableError("not-a-host-address")
    if network.prefixlen == network.max_prefixlen:
        return Match("ip", str(first))
    if network.prefixlen < BROADEST_PREFIX[network.version]:
        raise NotUsableError("network-too-broad")
    return Match("cidr", str(network))


def operation_match(fields: Mapping[Any, Any], operation_id: str = "") -> Match:
    """A field match. Raises NotUsableError unless it names a protocol and one more field, all with plain values."""
    clean: dict[str, str | int] = {}
    for name, value in fields.items():
        known = FIELDS.get(name) if isinstance(name, str) else None
        if known is None:
            raise NotUsableError("unknown-field")
        if not isinstance(value, str | int) or type(value) is not _PYTHON_TYPES.get(known.type):
            raise NotUsableError("not-a-plain-value")
        if isinstance(value, str) and (len(value) > 200 or not value.isprintable() or "*" in value or "?" in value):
            raise NotUsableError("not-a-plain-value")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise NotUsableError("not-a-plain-value")
        clean[known.name] = value
    protocol = clean.get("network.protocol")
    if not isinstance(protocol, str) or not _PRODUCT.fullmatch(protocol):
        raise NotUsableError("no-protocol")
    if not 2 <= len(clean) <= MAX_FIELDS:
        raise NotUsableError("too-many-fields" if len(clean) > 2 else "matches-a-whole-protocol")
    return Match("operation", clean, operation_id if _OPERATION_ID.fullmatch(operation_id) else "")


def to_stix_pattern(match: Match) -> str:
    """The STIX pattern of an address or network."""
    assert isinstance(match.value, str)  # operations travel as Sigma
    version = ipaddress.ip_network(match.value).version
    operator = "=" if match.type == "ip" else "ISSUBSET"
    return f"[ipv{version}-addr:value {operator} '{match.value}']"


def to_sigma(match: Match, *, rule_id: str, title: str, techniques: tuple[str, ...]) -> str:
    """The Sigma rule of an operation, as YAML text; `rule_id` is a UUID."""
    assert not isinstance(match.value, str)  # addresses travel as STIX patterns
    selection = {name: value for name, value in sorted(match.value.items()) if name != "network.protocol"}
    rule: dict[str, Any] = {
        "title": title[:256],
        "id": rule_id,
        "status": "experimental",
        "logsource": {"category": "ics_network", "product": match.value["network.protocol"]},
        "detection": {"selection": selection, "condition": "selection"},
        "level": "high",
    }
    if techniques:
        rule["tags"] = [f"attack.{technique.lower()}" for technique in techniques]
    if match.operation_id:
        rule["operation_id"] = match.operation_id
    text: str = yaml.safe_dump(rule, allow_unicode=True, sort_keys=False, width=1000)
    return text


def from_pattern(pattern: Any, pattern_type: Any) -> tuple[Match, ...]:
    """What sensors can match of an indicator's pattern. Raises NotUsableError with the reason, nothing else."""
    if not isinstance(pattern, str) or len(pattern) > MAX_PATTERN_CHARS:
        raise NotUsableError("pattern-too-long" if isinstance(pattern, str) else "no-pattern")
    if pattern_type == "stix":
        return _from_stix(pattern)
    if pattern_type == "sigma":
        return (_from_sigma(pattern),)
    raise NotUsableError("pattern-language-not-supported")


def _from_stix(pattern: str) -> tuple[Match, ...]:
    """Only addresses joined by OR: with AND, FOLLOWEDBY or a qualifier left out, more would match than was meant."""
    matches: list[Match] = []
    for observation in re.split(r"(?<=\])\s*OR\s*(?=\[)", pattern.strip()):
        if not (observation.startswith("[") and observation.endswith("]")):
            raise NotUsableError("more-than-addresses")
        for comparison in re.split(r"\sOR\s", observation[1:-1]):
            found = _COMPARISON.fullmatch(comparison)
            if not found:
                raise NotUsableError("more-than-addresses")
            matches.append(address_match(found[1]))
    return tuple(dict.fromkeys(matches))


def _from_sigma(text: str) -> Match:
    try:
        # Aliases let a small text stand for a huge one; a Sigma rule needs none.
        if any(isinstance(token, yaml.AnchorToken | yaml.AliasToken) for token in yaml.scan(text)):
            raise NotUsableError("yaml-aliases")
        rule = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        raise NotUsableError("not-yaml") from error
    logsource = rule.get("logsource") if isinstance(rule, dict) else None
    detection = rule.get("detection") if isinstance(rule, dict) else None
    if not isinstance(logsource, dict) or not isinstance(detection, dict):
        raise NotUsableError("not-a-sigma-rule")
    if logsource.get("category") != "ics_network" or not isinstance(logsource.get("product"), str):
        raise NotUsableError("other-log-source")
    condition = detection.get("condition")
    if not isinstance(condition, str) or set(detection) != {"condition", condition.strip()}:
        raise NotUsableError("condition-not-supported")
    selection = detection[condition.strip()]
    if not isinstance(selection, dict) or "network.protocol" in selection:
        raise NotUsableError("condition-not-supported")
    operation_id = rule.get("operation_id")
    fields = {"network.protocol": logsource["product"], **selection}
    return operation_match(fields, operation_id if isinstance(operation_id, str) else "")
