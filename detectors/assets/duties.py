"""What assets do, judged by who asks whom for what; each role with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from detectors.assets.asset import Asset, Key, Link, Role
from detectors.assets.words import words
from detectors.finding import Text
from sensor.operations import Verb
from sensor.view import EXPLAINERS

INDUSTRIAL = frozenset(name for name, _ in EXPLAINERS.values())
ENGINEERING = frozenset({Verb.PROGRAM_DOWN, Verb.PROGRAM_UP, Verb.START, Verb.STOP, Verb.RESTART, Verb.CONFIGURE})
COMMANDING = frozenset({Verb.WRITE, Verb.COMMAND, Verb.SILENCE, Verb.TIME_SET})
SHOWN = 3  # addresses named in a reason
MANY_PARTS = 2  # devices behind one address, from which on it is a gateway

CAPABILITIES: Mapping[str, str] = {  # words of LLDP and CDP, in Chinese
    "bridge": "网桥", "router": "路由器", "switch": "交换机", "wlan-access-point": "无线接入点", "repeater": "中继器",
}  # fmt: skip


def _named(keys: Iterable[Key]) -> str:
    addresses = sorted({key.address for key in keys})
    return ", ".join(addresses[:SHOWN]) + (f" …+{len(addresses) - SHOWN}" if len(addresses) > SHOWN else "")


def assign(assets: Mapping[Key, Asset], links: Iterable[Link], routers: Mapping[str, int]) -> None:
    """Give every asset its roles. routers: hardware addresses behind which many addresses are."""
    asks: dict[Key, list[Link]] = {}
    asked: dict[Key, list[Link]] = {}
    for link in links:
        if link.protocol in INDUSTRIAL and link.messages:
            asks.setdefault(link.client, []).append(link)
            asked.setdefault(link.server, []).append(link)
    for key, asset in assets.items():
        asset.roles = tuple(_roles(asset, asks.get(key, []), asked.get(key, []), routers)) or (
            Role("host", Text("未见工业协议通信", "no industrial protocol was seen")),
        )


def _roles(asset: Asset, asks: list[Link], asked: list[Link], routers: Mapping[str, int]) -> Iterable[Role]:
    if asked:
        who = _named(link.client for link in asked)
        how = ", ".join(sorted({link.protocol for link in asked}))
        yield Role("controller", Text(f"{who} 用 {how} 向它提出请求", f"asked by {who} with {how}"))
    parts = [part for part in asset.components if part.startswith(("unit ", "outstation ", "station ", "network "))]
    if len(parts) >= MANY_PARTS:
        shown = ", ".join(parts[:SHOWN]) + (" …" if len(parts) > SHOWN else "")
        yield Role("gateway", Text(f"同一地址后有 {len(parts)} 个设备（{shown}）",
                                   f"{len(parts)} devices behind one address ({shown})"))  # fmt: skip
    elif asked and (others := [link for link in asks if link.server != asset.key]):
        whom = _named(link.server for link in others)
        yield Role("gateway", Text(f"既被请求，又请求 {whom}", f"is asked, and itself asks {whom}"))
    yield from _client_roles(asks)
    if not asks and not asked and asset.protocols.keys() & {"goose"}:
        yield Role("publisher", Text("向组播地址发布 GOOSE", "publishes GOOSE to a group"))
    yield from _network_roles(asset, routers)


def _client_roles(asks: list[Link]) -> Iterable[Role]:
    for name, verbs in (("engineering", ENGINEERING), ("master", COMMANDING)):
        if acting := [link for link in asks if link.verbs & verbs]:
            done = words({verb for link in acting for verb in link.verbs & verbs})
            whom = _named(link.server for link in acting)
            yield Role(name, Text(f"对 {whom} 执行：{done.zh}", f"does this to {whom}: {done.en}"))
    if asks and not any(link.verbs & (ENGINEERING | COMMANDING) for link in asks):
        whom = _named(link.server for link in asks)
        yield Role("reader", Text(f"只读取 {whom}", f"only reads from {whom}"))


def _network_roles(asset: Asset, routers: Mapping[str, int]) -> Iterable[Role]:
    said = {word for fact in asset.said("capability") for word in fact.claim.value.split(", ")}
    if doing := sorted(said & CAPABILITIES.keys()):
        zh, en = "、".join(CAPABILITIES[it] for it in doing), ", ".join(doing)
        yield Role("network", Text(f"自称是{zh}", f"says to be: {en}"))
    if asset.key.address in routers:
        count = routers[asset.key.address]
        yield Role("router", Text(f"该硬件地址后至少有 {count} 个 IP 地址",
                                  f"at least {count} IP addresses are behind this hardware address"))  # fmt: skip
