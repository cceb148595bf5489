"""Asset: one device known from the wire, and what shows each thing that is said about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from detectors.finding import Text

MAX_FACTS = 256  # of one asset: a controller with all its modules has a few dozen
MAX_VALUES = 4  # of one attribute from one source: more only say that it varies
MAX_VALUE = 200  # characters of one value
MAX_MACS = 16

# What an asset may be said to be, in the order in which it is shown: (name in data, words for people).
ATTRIBUTES: dict[str, Text] = {
    "vendor": Text("厂商", "vendor"),
    "model": Text("型号", "model"),
    "order_number": Text("订货号", "order number"),
    "firmware": Text("固件", "firmware"),
    "software": Text("软件", "software"),
    "hardware": Text("硬件版本", "hardware"),
    "serial_number": Text("序列号", "serial number"),
    "name": Text("名称", "name"),
    "station_name": Text("PROFINET 站名", "PROFINET name"),
    "hostname": Text("主机名", "host name"),
    "module": Text("模块名", "module"),
    "plant": Text("工厂标识", "plant"),
    "location": Text("位置", "location"),
    "kind": Text("设备类别", "kind"),
    "description": Text("描述", "description"),
    "application": Text("应用", "application"),
    "profinet_role": Text("PROFINET 角色", "PROFINET role"),
    "capability": Text("网络能力", "network capability"),
    "port": Text("端口", "port"),
    "management_address": Text("管理地址", "management address"),
    "device_id": Text("设备编号", "device id"),
    "vendor_id": Text("厂商编号", "vendor id"),
}
# Another value of one of these means another device, or another program in it.
IDENTITY = ("order_number", "model", "firmware", "software", "hardware", "serial_number", "vendor")


class Key(NamedTuple):
    """Which asset: the same private address repeats in every machine line.

    site: as given by the user, "" for none. segment: "", "vlan 7", "vxlan 100", both. address: IP, or hardware address
    of a device that has shown no IP.
    """

    site: str
    segment: str
    address: str


@dataclass(frozen=True, slots=True)
class Proof:
    """Where something was seen: capture ("" for the only one, or a live link), frame, time, protocol, field."""

    capture: str
    frame: int
    ts_ns: int
    protocol: str
    field: str


class Claim(NamedTuple):
    """Somebody says something about a device. component: the part behind the address that is meant, "" for itself."""

    component: str
    attribute: str
    value: str
    source: str  # what kind of message says so; only claims of one source contradict each other
    field: str


@dataclass(slots=True)
class Fact:
    """A value of an attribute, with what shows it first and when it was said last."""

    claim: Claim
    proof: Proof
    last_ns: int
    count: int = 1


@dataclass(frozen=True, slots=True)
class Role:
    """What an asset does, and why that is thought: "controller", "master", "engineering", "reader", "gateway",
    "network", "router", "publisher", "host"."""

    name: str
    reason: Text


@dataclass(slots=True)
class Link:
    """One asset asks another, by one protocol."""

    client: Key
    server: Key
    protocol: str
    port: int | None
    messages: int
    first_ns: int
    last_ns: int
    verbs: frozenset[str]


@dataclass(slots=True)
class Asset:
    """One device. facts: by (component, attribute, source), the values in the order in which they appeared."""

    key: Key
    first_ns: int
    last_ns: int
    macs: dict[str, Proof] = field(default_factory=dict)
    facts: dict[tuple[str, str, str], list[Fact]] = field(default_factory=dict)
    protocols: dict[str, None] = field(default_factory=dict)
    components: dict[str, None] = field(default_factory=dict)
    also: dict[str, None] = field(default_factory=dict)  # further addresses of the same hardware address
    roles: tuple[Role, ...] = ()
    refused: int = 0  # claims that were not kept: MAX_FACTS or MAX_VALUES was reached

    def seen(self, first_ns: int, last_ns: int) -> None:
        """Widen the time in which it was seen."""
        self.first_ns, self.last_ns = min(self.first_ns, first_ns), max(self.last_ns, last_ns)

    def learn(self, claim: Claim, proof: Proof, last_ns: int) -> Fact | None:
        """Keep a claim. Returns the fact that was valid until now, where this one contradicts it for the first time."""
        values = self.facts.get(key := (claim.component, claim.attribute, claim.source))
        if values is None:
            if len(self.facts) >= MAX_FACTS:
                self.refused += 1
                return None
            self.facts[key] = [Fact(claim, proof, last_ns)]
            return None
        for fact in values:
            if fact.claim.value == claim.value:
                fact.count += 1
                fact.last_ns = max(fact.last_ns, last_ns)
                return None
        if len(values) >= MAX_VALUES:
            self.refused += 1
            return None
        before = max(values, key=lambda fact: fact.last_ns)
        values.append(Fact(claim, proof, last_ns))
        return before

    def copied(self) -> Asset:
        """One that shares nothing with this one that changes."""
        return replace(
            self,
            facts={key: [replace(fact) for fact in known] for key, known in self.facts.items()},
            macs=dict(self.macs),
            protocols=dict(self.protocols),
            components=dict(self.components),
            also=dict(self.also),
        )

    def absorb(self, other: Asset) -> None:
        """Take over what is known of the same device under another address."""
        self.seen(other.first_ns, other.last_ns)
        self.also[other.key.address] = None
        self.protocols |= other.protocols
        self.components |= other.components
        for mac, proof in other.macs.items():
            self.macs.setdefault(mac, proof)
        for facts in other.facts.values():
            for fact in facts:
                self.learn(fact.claim, fact.proof, fact.last_ns)

    def said(self, attribute: str, component: str | None = "") -> Iterator[Fact]:
        """The latest fact of each source about an attribute. component: None for those of all."""
        for (part, name, _), values in self.facts.items():
            if name == attribute and component in (None, part):
                yield max(values, key=lambda fact: fact.last_ns)

    def best(self, attribute: str) -> str:
        """What is said most often about the device itself, or else about its only component; "" for nothing."""
        facts = list(self.said(attribute)) or list(self.said(attribute, None))
        values = {fact.claim.value for fact in facts}
        if not facts or (facts[0].claim.component and len(values) > 1):
            return ""
        return max(facts, key=lambda fact: fact.count).claim.value


def short(value: object) -> str:
    """A value as a claim carries it."""
    return str(value).strip()[:MAX_VALUE]


def distinct(values: Iterable[str]) -> list[str]:
    """Values that say something, each once, in order."""
    return [value for value in dict.fromkeys(values) if value]
