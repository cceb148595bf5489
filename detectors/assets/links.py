"""Who asks whom, out of the decoder's tables: conversations say where and how much, behaviours who asks for what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.assets.asset import Key, Link
from detectors.assets.neighbours import unicast
from detectors.keys import distinct
from detectors.roles import Roles
from sensor.decode.pdu import Kind, Outcome, Protocol
from sensor.decode.recognise import Foreign
from sensor.operations import Verb
from sensor.view import EXPLAINERS, View

# In an S7 download the controller asks for the blocks, and is still the one that is programmed.
FETCHED_BY_DEVICE = (0x1B, 0x1C)
IDLE = {Verb.SESSION.value, Verb.REPORT.value}
PARTS = {int(Protocol.MODBUS): "unit", int(Protocol.MODBUS_RTU): "unit", int(Protocol.DNP3): "outstation",
         int(Protocol.IEC104): "station"}  # fmt: skip
MAX_PARTS = 256  # behind one address: all units of a Modbus gateway
STEP_ROWS = 256  # looked at between two steps
MAX_LINKS = 20_000  # of one run; those with most messages stay


def segment_of(vlan: int | None, tunnel: str | None, segment: int | None) -> str:
    """Where in the network, as text: "", "vlan 7", "vxlan 100", "vxlan 100 vlan 7"."""
    parts = []
    if segment is not None:
        parts.append(f"{tunnel or 'segment'} {segment}")
    if vlan is not None:
        parts.append(f"vlan {vlan}")
    return " ".join(parts)


def verbs_of(view: View, step: Callable[[], None] = lambda: None) -> dict[tuple[int, int], dict[int, set[str]]]:
    """For each pair (client, server) of hosts: the protocols in which it asks, each with what it asks for.

    step: called now and then, here and below: a run with very much in it takes a while.
    """
    table: npt.NDArray[Any] = view.behaviours.table
    fetched = (table["protocol"] == Protocol.S7COMM) & np.isin(table["function"], FETCHED_BY_DEVICE)
    rows = np.flatnonzero((table["kind"] == Kind.REQUEST) & ~fetched)
    found: dict[tuple[int, int], dict[int, set[str]]] = {}
    if not len(rows):
        return found
    b = table.take(rows)
    group = np.where(b["protocol"] == Protocol.DNP3, (b["object"] >> 8) & 0xFF, 0)
    code = b["protocol"].astype(np.int64) << 52
    code |= ((b["function"].astype(np.int64) + 1) & 0xFFFFF) << 32
    code |= ((b["subfunction"].astype(np.int64) + 1) & 0xFFFFFF) << 8
    code |= group
    codes, first, index = np.unique(code, return_index=True, return_inverse=True)
    roles = Roles()
    verbs = [roles.verb(view, int(rows[at])) for at in first.tolist()]
    step()
    # One number for each pair and code: sorting numbers takes a tenth of what sorting rows does.
    ends, which = np.unique(b["client"].astype(np.int64) << 32 | b["server"].astype(np.int64), return_inverse=True)
    step()
    pairs = distinct(which.reshape(-1).astype(np.int64) * len(codes) + index.reshape(-1))
    for at, (place, number) in enumerate(zip(*(it.tolist() for it in np.divmod(pairs, len(codes))), strict=True)):
        if at % STEP_ROWS == 0:
            step()
        end = int(ends[place])
        pair = found.setdefault((end >> 32, end & 0xFFFFFFFF), {})
        verb = verbs[number]
        pair.setdefault(int(codes[number]) >> 52, set()).add(verb.value if verb is not None else "unknown")
    return found


def parts_of(view: View, step: Callable[[], None] = lambda: None) -> dict[str, list[str]]:
    """For each address behind which several devices answered: Modbus units, DNP3 outstations, IEC 104 stations."""
    table: npt.NDArray[Any] = view.behaviours.table
    many = np.isin(table["protocol"], list(PARTS)) & (table["outcome"] == Outcome.ANSWERED) & (table["station"] >= 0)
    b = table.compress(many)
    station = np.where(b["protocol"] == Protocol.DNP3, b["station"] & 0xFFFF, b["station"])
    rows = np.stack([b["server"].astype(np.int64), b["protocol"].astype(np.int64), station])
    rows = rows[:, np.lexsort(rows[::-1])]
    rows = rows[:, np.r_[True, (rows[:, 1:] != rows[:, :-1]).any(axis=0)][: rows.shape[1]]]  # each once
    step()
    found: dict[int, list[str]] = {}
    for at, (server, protocol, number) in enumerate(rows.T.tolist()):
        if at % STEP_ROWS == 0:
            step()
        parts = found.setdefault(server, [])
        if len(parts) < MAX_PARTS and not (protocol != Protocol.DNP3 and number in (0, 255)):
            parts.append(f"{PARTS[protocol]} {number}")
    return {view.host(server): parts for server, parts in found.items()}


def _protocol_name(c: Any) -> str:
    """What a conversation carries: its industrial protocol, or what was recognised instead."""
    if c.protocol:
        return EXPLAINERS[int(c.protocol)][0]
    return Foreign(int(c.foreign)).name.lower().replace("unknown", "")


def _talks(view: View) -> Iterator[tuple[Any, int]]:
    """Conversations in which something was said, with their row, those with most first, at most MAX_LINKS."""
    table = view.conversations
    lively = (table["messages"] > 0) | ((table["frames_a"] > 0) & (table["frames_b"] > 0))
    rows = np.flatnonzero(lively & (table["free"] == 0))
    if len(rows) > MAX_LINKS:
        weight = table["messages"][rows] * 1000 + table["frames_a"][rows] + table["frames_b"][rows]
        rows = rows[np.argsort(-weight, kind="stable")[:MAX_LINKS]]
    for row in rows.tolist():
        yield table[row], row


def links(view: View, site: str, step: Callable[[], None] = lambda: None) -> list[Link]:
    """One link for each pair of assets, protocol and server port. Groups and broadcasts are no assets."""
    asks = verbs_of(view, step)
    merged: dict[tuple[Key, Key, str, int | None], Link] = {}
    for at, (c, row) in enumerate(_talks(view)):
        if at % STEP_ROWS == 0:
            step()
        talk = view.conversation(row)
        where = segment_of(talk.vlan, talk.tunnel, talk.segment)
        a, b = Key(site, where, talk.ip_a), Key(site, where, talk.ip_b)
        name = _protocol_name(c)
        hosts = int(c.a_host), int(c.b_host)
        forth, back = (asks.get(pair, {}).get(int(c.protocol), set()) for pair in (hosts, hosts[::-1]))
        if forth - IDLE or back - IDLE:  # keeping a connection alive, as either end does, is not asking
            forth, back = forth if forth - IDLE else set(), back if back - IDLE else set()
        ways: list[tuple[Key, Key, int | None, set[str]]]
        if c.protocol and (forth or back) and a != b:  # roles belong to the PDU: either end may ask, or both
            ways = [way for way in ((a, b, talk.port_b, forth), (b, a, talk.port_a, back)) if way[3]]
        elif c.server:
            ways = [(a, b, talk.port_b, forth)]
        else:
            ways = [(b, a, talk.port_a, back)]
        for client, server, port, verbs in ways:
            if not _is_asset(client.address) or not _is_asset(server.address):
                continue
            port = port if talk.transport != "ethernet" else None
            link = merged.get(key := (client, server, name, port))
            if link is None:
                link = merged[key] = Link(*key, 0, int(c.first_ns), int(c.last_ns), frozenset())
            link.messages += int(c.messages)
            link.first_ns, link.last_ns = min(link.first_ns, int(c.first_ns)), max(link.last_ns, int(c.last_ns))
            link.verbs |= verbs
    return list(merged.values())


def _is_asset(address: str) -> bool:
    """Whether an address is that of one device."""
    if ":" in address and len(address) == 17 and address.count(":") == 5:
        return not int(address[:2], 16) & 1
    return bool(unicast(address))
