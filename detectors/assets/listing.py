"""The inventory as text for people, as JSON lines, and as a table for spreadsheets."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text as Styled

from detectors.assets.asset import ATTRIBUTES, IDENTITY, Asset, Fact, Key, Link
from detectors.assets.duties import INDUSTRIAL
from detectors.assets.inventory import Inventory
from detectors.assets.ledger import IMPORTANCES, Difference, Entry, Ledger
from detectors.assets.makers import maker
from detectors.assets.words import NAMES, words
from detectors.finding import Text, rfc3339
from detectors.wording import safe

LINKS_SHOWN = 12  # of one asset, in text
VALUE_SHOWN = 100
TABLE = ("site", "segment", "address", "also", "macs", "maker", "roles", "vendor", "model", "order_number", "firmware",
         "hardware", "serial_number", "name", "components", "protocols", "asked_by", "asks", "first_seen", "last_seen",
         "declared_name", "importance", "owner", "ledger")  # fmt: skip
STATES = {
    "declared": Text("已登记", "declared"),
    "undeclared": Text("未登记", "not in the ledger"),
    "unapproved": Text("未批准", "not approved"),
}
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def ordered(assets: Iterable[Asset]) -> list[Asset]:
    """Assets by segment and address, numbers in their order."""
    return sorted(assets, key=lambda it: (it.key.site, _natural(it.key.segment), _natural(it.key.address)))


def _natural(text: str) -> tuple[tuple[int, int, str], ...]:
    parts = text.replace(":", ".").replace(" ", ".").split(".")
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)


class Listing:
    """Puts an inventory into words or records. ledger: what is declared, None where nothing is."""

    def __init__(self, inventory: Inventory, ledger: Ledger | None, difference: Difference | None) -> None:
        self._inventory, self._ledger = inventory, ledger
        self._routers = inventory.router_macs()
        self._asks: dict[Key, list[Link]] = {}
        self._asked: dict[Key, list[Link]] = {}
        for link in inventory.links:
            self._asks.setdefault(link.client, []).append(link)
            self._asked.setdefault(link.server, []).append(link)
        self._states: dict[Key, str] = {}
        if difference:
            self._states = {asset.key: "undeclared" for asset in difference.undeclared}
            self._states |= {asset.key: "unapproved" for asset in difference.unapproved}

    def entry(self, asset: Asset) -> Entry | None:
        """What the ledger says about an asset, under any of its addresses."""
        for address in (asset.key.address, *asset.also, *asset.macs) if self._ledger else ():
            if self._ledger and (found := self._ledger.entry(address, asset.key.segment)):
                return found
        return None

    def state(self, asset: Asset) -> str:
        """ "declared", "undeclared" or "unapproved"; "" without a ledger."""
        return self._states.get(asset.key, "declared") if self._ledger else ""

    def makers(self, asset: Asset) -> list[str]:
        """Makers by its hardware addresses, of which a router's says nothing."""
        found = (maker(mac) for mac in asset.macs if mac not in self._routers)
        return list(dict.fromkeys(name for name in found if name))

    def record(self, asset: Asset) -> dict[str, Any]:
        """All that is known of an asset, with what shows it."""
        line: dict[str, Any] = {
            "site": asset.key.site,
            "segment": asset.key.segment,
            "address": asset.key.address,
            "also": list(asset.also),
            "macs": list(asset.macs),
            "behind_router": [mac for mac in asset.macs if mac in self._routers],
            "maker": ", ".join(self.makers(asset)),
            "first_seen": rfc3339(asset.first_ns),
            "last_seen": rfc3339(asset.last_ns),
            "roles": [
                {"role": role.name, "reason": role.reason.en, "reason_zh": role.reason.zh} for role in asset.roles
            ],
            "protocols": list(asset.protocols),
            "components": list(asset.components),
            "facts": [self._fact(fact) for facts in asset.facts.values() for fact in facts],
            "asks": [self._link(link, link.server) for link in self._asks.get(asset.key, ())],
            "asked_by": [self._link(link, link.client) for link in self._asked.get(asset.key, ())],
            "ledger": self.state(asset),
        }
        if entry := self.entry(asset):
            line |= {"declared_name": entry.name, "importance": entry.importance.name.lower(), "owner": entry.owner}
        return {name: value for name, value in line.items() if value not in ("", [], None)}

    @staticmethod
    def _fact(fact: Fact) -> dict[str, Any]:
        line = {
            "attribute": fact.claim.attribute,
            "value": fact.claim.value,
            "component": fact.claim.component,
            "source": fact.claim.source,
            "field": fact.proof.field,
            "protocol": fact.proof.protocol,
            "capture": fact.proof.capture,
            "frame": fact.proof.frame,
            "@timestamp": rfc3339(fact.proof.ts_ns),
            "last_seen": rfc3339(fact.last_ns),
        }
        return {name: value for name, value in line.items() if value != ""}

    @staticmethod
    def _link(link: Link, peer: Key) -> dict[str, Any]:
        line = {
            "address": peer.address,
            "protocol": link.protocol,
            "port": link.port,
            "messages": link.messages,
            "verbs": sorted(link.verbs),
            "first_seen": rfc3339(link.first_ns),
            "last_seen": rfc3339(link.last_ns),
        }
        return {name: value for name, value in line.items() if value not in ("", None, [])}

    def row(self, asset: Asset) -> dict[str, str]:
        """An asset as one row of TABLE; what a spreadsheet would take for a formula is quoted with an apostrophe."""
        record = self.record(asset)
        flat = {
            **{name: asset.best(name) for name in ATTRIBUTES},
            **{name: value for name, value in record.items() if isinstance(value, str)},
            "also": " ".join(asset.also),
            "macs": " ".join(asset.macs),
            "roles": " ".join(role.name for role in asset.roles),
            "components": " ".join(part.replace(" ", "-") for part in asset.components),
            "protocols": " ".join(asset.protocols),
            "asked_by": " ".join(dict.fromkeys(link.client.address for link in self._asked.get(asset.key, ()))),
            "asks": " ".join(dict.fromkeys(link.server.address for link in self._asks.get(asset.key, ()))),
        }
        cells = {name: flat.get(name, "") for name in TABLE}
        return {name: f"'{text}" if text.startswith(FORMULA) else text for name, text in cells.items()}

    def title(self, asset: Asset) -> str:
        """What it is, in one line: maker, model, order number, firmware; "" where nothing is known."""
        known = [asset.best(name) for name in ("vendor", "model", "order_number", "firmware")]
        if not any(known[:3]):
            known[0] = ", ".join(self.makers(asset))
        return " · ".join(dict.fromkeys(safe(value, VALUE_SHOWN) for value in known if value))

    def links(self, asset: Asset) -> tuple[list[Link], list[Link]]:
        """(what it asks, what it is asked), industrial protocols first."""
        both = (self._asks.get(asset.key, []), self._asked.get(asset.key, []))
        asks, asked = (sorted(it, key=lambda link: (link.protocol not in INDUSTRIAL, -link.messages)) for it in both)
        return asks, asked

    def behind_router(self, asset: Asset) -> list[str]:
        """Hardware addresses of routers behind which it is."""
        return [mac for mac in asset.macs if mac in self._routers and mac != asset.key.address]


def write_jsonl(listing: Listing, assets: Sequence[Asset], difference: Difference | None, out: TextIO) -> None:
    """One asset a line; entries of the ledger that were not seen follow, with "ledger": "silent"."""
    lines = [listing.record(asset) for asset in assets]
    for entry in difference.silent if difference else ():
        line = {"segment": entry.segment, "address": entry.address, "ledger": "silent", "declared_name": entry.name,
                "importance": entry.importance.name.lower(), "owner": entry.owner}  # fmt: skip
        lines.append({name: value for name, value in line.items() if value})
    for line in lines:
        out.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")


def write_csv(listing: Listing, assets: Sequence[Asset], difference: Difference | None, out: TextIO) -> None:
    """RFC 4180 with the columns of TABLE; entries of the ledger that were not seen follow as "silent"."""
    writer = csv.DictWriter(out, TABLE, lineterminator="\r\n")
    writer.writeheader()
    for asset in assets:
        writer.writerow(listing.row(asset))
    for entry in difference.silent if difference else ():
        row = {"segment": entry.segment, "address": entry.address, "declared_name": entry.name, "owner": entry.owner,
               "importance": entry.importance.name.lower(), "ledger": "silent"}  # fmt: skip
        writer.writerow({name: f"'{text}" if text.startswith(FORMULA) else text for name, text in row.items()})


class TextWriter:
    """Writes the inventory for people, in one language."""

    def __init__(self, listing: Listing, lang: str, out: TextIO) -> None:
        self._listing, self._lang = listing, lang
        self._console = Console(
            file=out, highlight=False, markup=False, emoji=False, soft_wrap=True, no_color=not out.isatty()
        )

    def _say(self, text: Text) -> str:
        return text.zh if self._lang == "zh" else text.en

    def _line(self, text: str, style: str = "default") -> None:
        self._console.print(Styled(text, style=style))

    def asset(self, asset: Asset) -> None:
        """One asset: what it is, what it does and why, what it says of itself, with whom it talks."""
        listing = self._listing
        roles = self._say(Text("、", ", ")).join(self._say(NAMES[role.name]) for role in asset.roles)
        head = Styled(asset.key.address, style="bold")
        if asset.key.segment:
            head.append(f" [{asset.key.segment}]", style="default")
        head.append(f"  {roles}", style="cyan")
        if what := listing.title(asset):
            head.append(f"  {what}", style="default")
        if state := listing.state(asset):
            head.append(f"  ({self._say(STATES[state])})", style="default" if state == "declared" else "bold yellow")
        self._console.print(head)
        if entry := listing.entry(asset):
            said = filter(None, (safe(entry.name), self._say(IMPORTANCES[entry.importance]), safe(entry.owner)))
            self._pair(Text("台账", "ledger"), ", ".join(said))
        self._macs(asset)
        for role in asset.roles:
            if role.name != "host":
                self._pair(NAMES[role.name], self._say(role.reason))
        self._facts(asset)
        asks, asked = listing.links(asset)
        self._links(Text("被请求于", "asked by"), [(link.client, link) for link in asked])
        self._links(Text("请求", "asks"), [(link.server, link) for link in asks])
        self._line("")

    def _pair(self, name: Text, value: str) -> None:
        colon = self._say(Text("：", ": "))
        self._line(f"    {self._say(name)}{colon}{value}")

    def _macs(self, asset: Asset) -> None:
        hidden = self._listing.behind_router(asset)
        own = [mac for mac in asset.macs if mac not in hidden and mac != asset.key.address]
        if own:
            shown = (f"{mac} ({maker(mac)})" if maker(mac) else mac for mac in own)
            self._pair(Text("硬件地址", "hardware address"), ", ".join(shown))
        if hidden:
            self._pair(Text("位于路由器之后", "behind a router"), ", ".join(hidden))
        if also := [address for address in asset.also if address not in asset.macs]:
            self._pair(Text("另有地址", "also"), ", ".join(also))
        if asset.components:
            self._pair(Text("其后设备", "parts"), ", ".join(asset.components))

    def _facts(self, asset: Asset) -> None:
        for name, title in ATTRIBUTES.items():
            for (component, attribute, source), values in asset.facts.items():
                if attribute != name:
                    continue
                shown = (" → " if name in IDENTITY else ", ").join(
                    safe(fact.claim.value, VALUE_SHOWN) for fact in values
                )
                proof = values[0].proof
                where = f"{source}, {self._say(Text('帧', 'frame'))} {proof.frame}"
                if proof.capture:
                    where += f", {safe(proof.capture, 4096)}"
                self._pair(title, f"{f'[{component}] ' if component else ''}{shown}  ({where})")

    def _links(self, name: Text, links: Sequence[tuple[Key, Link]]) -> None:
        for peer, link in links[:LINKS_SHOWN]:
            what = link.protocol or self._say(Text("其他协议", "another protocol"))
            port = f"/{link.port}" if link.port is not None else ""
            count = self._say(Text(f"{link.messages} 条报文", f"{link.messages} messages")) if link.messages else ""
            verbs = self._say(words(link.verbs))
            self._pair(name, "  ".join(filter(None, (peer.address, what + port, count, verbs))))
        if len(links) > LINKS_SHOWN:
            self._pair(name, f"…+{len(links) - LINKS_SHOWN}")

    def difference(self, difference: Difference) -> None:
        """What the ledger says against what was seen."""
        for entry in difference.silent:
            where = f" [{entry.segment}]" if entry.segment else ""
            who = ", ".join(filter(None, (safe(entry.name), safe(entry.owner))))
            said = Text("已登记但未出现", "declared, but not seen")
            self._line(f"{entry.address}{where}  {self._say(said)}{f'  ({who})' if who else ''}", "bold yellow")
        counts = len(difference.undeclared), len(difference.unapproved), len(difference.silent)
        self._line(
            self._say(
                Text(
                    "与台账对比：{} 个未登记，{} 个未批准，{} 个未出现".format(*counts),
                    "against the ledger: {} not declared, {} not approved, {} silent".format(*counts),
                )
            )
        )

    def summary(self, inventory: Inventory, captures: int) -> None:
        """One line; also what could not be told."""
        assets, links = len(inventory.assets), len(inventory.links)
        self._line(
            self._say(
                Text(
                    f"共 {assets} 个资产，{links} 条通信关系，来自 {captures} 个抓包文件",
                    f"assets: {assets}; links: {links}; captures: {captures}",
                )
            )
        )
        if inventory.refused or inventory.unread:
            self._line(
                self._say(
                    Text(
                        f"达到上限：另有 {inventory.refused} 个地址未列入，{inventory.unread} 种身份报文未读取",
                        f"limits were reached: {inventory.refused} further addresses are not listed, "
                        f"{inventory.unread} kinds of identifying messages were not read",
                    )
                ),
                "bold yellow",
            )
