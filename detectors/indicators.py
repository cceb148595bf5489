"""Indicators from bulletins: addresses, networks and operations that others saw in attacks.

Catches conversations on industrial ports with an address that a bulletin names, and requests that match an operation
that it describes. Blind to addresses that only use other ports. An item is what `GET /api/v1/config` gives:

    {"id": "...", "type": "ip" | "cidr", "value": "203.0.113.7", "bulletin": {"id": "...", "title": "..."}}
    {"id": "...", "type": "operation", "value": "operation.s7comm.stop", "bulletin": {...}}
    {"id": "...", "type": "operation", "value": {"network.protocol": "s7comm", "s7comm.function": 41}, ...}

Items come from other organisations: one that cannot be used is left out and named in `rejected`, the others work.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

import numpy as np

from detectors import knowledge
from detectors.contract import Fresh, Labels, Scene, alike, ends, station_of
from detectors.finding import Finding
from detectors.keys import distinct
from detectors.problem import Problem
from detectors.sigma.matcher import Matcher
from detectors.sigma.plain import condition
from detectors.sigma.rule import SigmaRule
from detectors.sigma.tree import Node, all_of
from detectors.wording import safe
from sensor.decode.recognise import spoken
from sensor.events import EventBatch

MAX_ITEMS = 100_000  # a bulletin's thousand indicators, a hundred times over
MAX_PROBLEMS = 4096  # hits counted apart; further ones are counted as one problem for each indicator
MAX_EACH = 8  # indicators of one address or behaviour that are reported

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Indicator:
    """One usable item. operation: name of a rule, "" when `match` says what to look for."""

    id: str
    shown: str
    bulletin_id: str
    bulletin_title: str
    network: Network | None = None
    operation: str = ""
    match: Node | None = None


def read(item: Mapping[str, Any], known_operations: Collection[str]) -> Indicator:
    """One item of the configuration; ValueError says what is wrong with it."""
    bulletin = item.get("bulletin") or {}
    if not isinstance(bulletin, Mapping):
        raise ValueError("'bulletin' must be an object")
    name = str(item.get("id", ""))[:200]
    if not name:
        raise ValueError("'id' is missing")
    bulletin_id, title = str(bulletin.get("id", ""))[:200], str(bulletin.get("title", ""))[:500]
    kind, value = item.get("type"), item.get("value")
    if kind in ("ip", "cidr") and isinstance(value, str):
        network = ip_network(value.strip(), strict=False)
        mapped = getattr(network.network_address, "ipv4_mapped", None)
        if mapped is not None and network.prefixlen >= 96:
            network = ip_network(f"{mapped}/{network.prefixlen - 96}")
        shown = str(network if network.num_addresses > 1 else network[0])
        return Indicator(name, shown, bulletin_id, title, network=network)
    if kind == "operation" and isinstance(value, str):
        if value not in known_operations:
            raise ValueError(f"unknown operation {value[:80]!r}")
        return Indicator(name, value, bulletin_id, title, operation=value)
    if kind == "operation" and isinstance(value, Mapping):
        shown = safe(", ".join(f"{key}={got}" for key, got in value.items()))
        return Indicator(name, shown, bulletin_id, title, match=condition(value))
    raise ValueError(f"expected type ip, cidr or operation with a fitting value, got {kind!r}")


class _Networks:
    """Indicators by network: one look-up for each prefix length in use."""

    def __init__(self, indicators: Iterable[Indicator]) -> None:
        self._by_prefix: dict[tuple[int, int], dict[int, list[Indicator]]] = {}
        for it in indicators:
            if it.network is not None:
                key = (it.network.version, it.network.prefixlen)
                starts = self._by_prefix.setdefault(key, {})
                starts.setdefault(int(it.network.network_address), []).append(it)

    def find(self, address: str) -> list[Indicator]:
        """Indicators whose network holds `address`, the narrowest first."""
        ip = ip_address(address)
        found: list[Indicator] = []
        for (version, prefix), starts in sorted(self._by_prefix.items(), reverse=True):
            if version == ip.version:
                shift = ip.max_prefixlen - prefix
                found += starts.get(int(ip) >> shift << shift, [])
        return found[:MAX_EACH]


class Indicators:
    """See the module. rejected: (item id, why) of what could not be used in the last `replace`."""

    name = "indicators"

    def __init__(self, items: Sequence[Mapping[str, Any]] = (), rules: Sequence[SigmaRule] = ()) -> None:
        """rules: those of the run, which items of type operation may name."""
        self._rules = knowledge.detector_rules()
        self._numbers = {rule.id: number for number, rule in enumerate(rules)}
        self._problems: dict[tuple[object, ...], Problem] = {}
        self._pending: Sequence[Mapping[str, Any]] | None = None
        self._recycled = 0
        self.rejected: list[tuple[str, str]] = []
        self._load(items)

    def replace(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Use these items from the next batch on; may be called from another thread."""
        self._pending = list(items)

    def use_rules(self, rules: Sequence[SigmaRule]) -> None:
        """Items may name these rules from now on."""
        self._numbers = {rule.id: number for number, rule in enumerate(rules)}
        self._load(self._items)

    def _load(self, items: Sequence[Mapping[str, Any]]) -> None:
        self._items = items
        usable, self.rejected = [], []
        for item in items[:MAX_ITEMS]:
            try:
                usable.append(read(item, self._numbers))
            except (ValueError, TypeError, AttributeError) as error:
                name = item.get("id", "?") if isinstance(item, Mapping) else "?"
                self.rejected.append((safe(name), safe(error)))
        if len(items) > MAX_ITEMS:
            self.rejected.append(("*", f"{len(items) - MAX_ITEMS} items beyond the limit of {MAX_ITEMS}"))
        self._networks = _Networks(usable)
        self._named: dict[int, list[Indicator]] = {}  # by number of the rule
        for it in usable:
            if it.operation:
                self._named.setdefault(self._numbers[it.operation], []).append(it)
        self._described = [it for it in usable if it.match is not None]
        self._matcher = Matcher([_rule(it, self._rules["indicator.operation"]) for it in self._described])
        self._active = bool(usable)
        self._begins = True
        self._talks = Fresh()
        self._hosts: dict[int, list[Indicator]] = {}
        self._talk_hits: list[list[Problem]] = []
        self._behaviour_hits: list[list[Problem]] = []
        self._talk_of, self._behaviour_of = Labels(), Labels()

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._load(pending)
        if self._active:
            self._learn(batch, scene)
            columns = batch.columns
            self._count(batch, self._talk_of[columns.conversation], self._talk_hits, scene)
            self._count(batch, self._behaviour_of[columns.behaviour], self._behaviour_hits, scene)
        return self._say(scene, final=False)

    def flush(self, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        return self._say(scene, final=True)

    def _learn(self, batch: EventBatch, scene: Scene) -> None:
        """Match conversations and requests that are new."""
        talks, table = scene.view.conversations, scene.view.behaviours.table
        if scene.view.recycled != self._recycled:  # rows may stand for others now
            self._recycled = scene.view.recycled
            self._talks, self._talk_of = Fresh(), Labels()
        for row in self._talks.rows(talks).tolist():
            talk = talks[row]
            hits = {it.id: it for host in (talk.a_host, talk.b_host) for it in self._host(scene, int(host))}
            if hits:
                self._talk_of[row] = len(self._talk_hits)
                self._talk_hits.append([self._address(scene, row, it) for it in hits.values()])
        if not self._named and not self._described:
            return
        self._matcher.observe(scene.view, batch, scene.now_ns)
        shared = scene.matcher
        news = [self._matcher.fresh[self._matcher.set_of[self._matcher.fresh] >= 0]]
        if self._named:
            looked = np.arange(len(table)) if self._begins else shared.fresh
            news.append(looked[shared.set_of[looked] >= 0])
        self._begins = False
        for row in distinct(np.concatenate(news)).tolist():
            found = self._operation(scene, row)
            if found:
                self._behaviour_of[row] = len(self._behaviour_hits)
                self._behaviour_hits.append(found)

    def _host(self, scene: Scene, row: int) -> list[Indicator]:
        if row not in self._hosts:
            self._hosts[row] = self._networks.find(scene.view.host(row))
        return self._hosts[row]

    def _address(self, scene: Scene, row: int, it: Indicator) -> Problem:
        talk, ends = scene.view.conversations[row], scene.view.conversation(row)
        client, server, port = (ends.ip_a, ends.ip_b, ends.port_b)
        if not talk.server:
            client, server, port = ends.ip_b, ends.ip_a, ends.port_a
        return self._problem(scene, "indicator.address", it, spoken(talk), client, server, port, None, ())

    def _operation(self, scene: Scene, row: int) -> list[Problem]:
        """Problems of a behaviour that the rules or the items' own conditions match."""
        shared = scene.matcher
        rules = [number for number in shared.numbers(row) if number in self._named]
        hits = [(it, number) for number in rules for it in self._named[number]]
        hits += [(self._described[number], -1) for number in self._matcher.numbers(row)]
        if not hits:
            return []
        fields = scene.view.behaviours.describe(row)
        source, destination, port = ends(fields).values()
        if any(shared.by_device(number, fields) for number in shared.numbers(row)):
            source, destination, port = destination, source, None
        behaviour = scene.view.behaviours.table[row]
        station = station_of(int(behaviour.protocol), int(behaviour.station))
        known = tuple(dict.fromkeys(it for number in shared.numbers(row) for it in shared.rules[number].techniques))
        return [
            self._problem(
                scene, "indicator.operation", it, fields["network.protocol"], source, destination, port, station,
                shared.rules[number].techniques if number >= 0 else known,
            )
            for it, number in hits[:MAX_EACH]
        ]  # fmt: skip

    def _problem(
        self, scene: Scene, rule: str, it: Indicator, protocol: str, source: str, destination: str,
        port: int | None, station: int | None, techniques: tuple[str, ...],
    ) -> Problem:  # fmt: skip
        key: tuple[object, ...] = (rule, it.id, source, destination, station)
        if key not in self._problems and len(self._problems) >= MAX_PROBLEMS:
            key, source, destination, station = (rule, it.id), "", "", None
        if key not in self._problems:
            problem = Problem(
                self._rules[rule],
                scene.exhibit(),
                protocol=protocol,
                source_ip=source,
                destination_ip=destination,
                destination_port=port,
                station=station,
                fields={"indicator.id": it.id, "bulletin.id": it.bulletin_id},
            )
            problem.values = {"indicator": it.shown, "bulletin": it.bulletin_title}
            problem.techniques = techniques
            self._problems[key] = problem
        return self._problems[key]

    def _count(self, batch: EventBatch, hit: Any, hits: list[list[Problem]], scene: Scene) -> None:
        rows = np.flatnonzero(hit >= 0)
        for same in alike([hit[rows]]):
            mine = rows[same]
            times = batch.columns.ts_ns[mine]
            for problem in hits[int(hit[mine[0]])]:
                problem.add(len(mine), int(times.min()), int(times.max()))
                scene.show(problem.exhibit, batch, mine.tolist())

    def _say(self, scene: Scene, *, final: bool) -> Iterator[Finding]:
        for problem in self._problems.values():
            if problem.open and (final or problem.due(scene.now_ns)):
                yield problem.record(scene.now_ns, {})


def _rule(it: Indicator, claim: knowledge.Rule) -> SigmaRule:
    """An item's own condition as a rule over requests."""
    return SigmaRule(
        id=it.id, name=claim.name, severity=claim.severity, techniques=(), saw=claim.saw, why=claim.why,
        check=claim.check, uuid="", title=it.shown, product="",
        condition=all_of([["in", "event.outcome", ["asked"]], it.match or []]),
    )  # fmt: skip
