"""Inventory: builds assets out of a run, as it goes on.

Identifying answers are found by columns: behaviours with the right codes get a label when they are new, and only events
with that label are read: the first of each behaviour, then at most one a second and READ_EACH a batch. Addresses, links
and roles come out of the decoder's tables when they are asked for (`settle`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.assets import identity, neighbours
from detectors.assets.asset import MAX_MACS, Asset, Claim, Fact, Key, Link, Proof
from detectors.assets.duties import assign
from detectors.assets.links import links, parts_of, segment_of
from detectors.assets.neighbours import one_mac, unicast
from detectors.contract import Fresh, Labels, Scene
from sensor.capture.frames import FrameBatch
from sensor.decode.link import ETHERNET
from sensor.decode.pdu import Kind, Outcome, Protocol
from sensor.decode.recognise import WATCHED_PORTS
from sensor.events import EventBatch
from sensor.slow.message import Notice
from sensor.view import View

MAX_ASSETS = 8192  # beyond, a scan or a flood fills the list: further addresses are counted
MAX_LABELLED = 4096  # behaviours that identify: a plant has a few for each device
READ_EACH = 64  # identifying events read again in one batch
LOOKED_THROUGH = 4096  # identifying events, or new behaviours, of one batch among which those are chosen
REST_NS = 10**9  # until the same behaviour is read again
LOOKED_AT = 256  # new pairs of hosts of one batch whose frames are asked for hardware addresses
STEP_ASSETS = 512  # copied between two steps
ROUTER_ADDRESSES = 4  # IP addresses behind one hardware address, from which on it is a router's


class Change(NamedTuple):
    """A device says something else than before."""

    asset: Asset
    before: Fact
    claim: Claim
    proof: Proof
    row: int  # of the event in its batch, -1 where a slow protocol said it
    notice: Notice | None = None


class Inventory:
    """Assets by key. Begin each run with `begin`, hand it every batch, end it with `settle`. Several runs add up.

    Whoever compares, for instance with a baseline, finds each address in `assets`, by its Key, as soon as it has said
    something about itself or was heard in a slow protocol; those that only talk come with `settle`.

    refused: addresses that are not in the list, because it is full. unread: behaviours that identify and were not read,
    because MAX_LABELLED was reached.
    """

    def __init__(self, site: str = "") -> None:
        self.site = site
        self.assets: dict[Key, Asset] = {}
        self.links: list[Link] = []
        self.refused = self.unread = 0
        self._by_mac: dict[tuple[str, str], dict[str, Proof]] = {}  # (segment, hardware address) -> addresses
        self.begin("")

    def begin(self, capture: str) -> None:
        """Another run follows; `capture` names it in what shows things."""
        self._capture = capture
        self._fresh = Fresh()
        self._pairs: set[int] = set()
        self._label = Labels()
        self._labelled = 0
        self._read_ns: dict[int, int] = {}

    def observe(self, batch: EventBatch, scene: Scene) -> Iterator[Change]:
        """Learn from a batch; gives what contradicts what was known."""
        for notice in scene.slow:
            yield from self._hear(notice)
        self._learn(scene)
        if not self._labelled or not batch.size:
            return
        label = self._label[batch.columns.behaviour]
        rows = np.flatnonzero(label >= 0)
        rows = rows[:: len(rows) // LOOKED_THROUGH + 1]
        if len(rows):
            yield from self._read(batch, rows, scene.view)

    def as_it_stands(self, view: View, step: Callable[[], None] = lambda: None) -> Inventory:
        """A settled copy, while the run goes on.

        This one stays as it is: hosts that only talk, of which a flood brings as many as it likes, take no room from
        devices that say what they are. step: called now and then, for it may take a while.
        """
        copy = Inventory(self.site)
        for number, (key, asset) in enumerate(self.assets.items()):
            copy.assets[key] = asset.copied()
            if number % STEP_ASSETS == 0:
                step()
        copy._by_mac = {key: dict(addresses) for key, addresses in self._by_mac.items()}
        copy.refused, copy.unread = self.refused, self.unread
        step()
        copy.settle(view, step)
        step()
        return copy

    def settle(self, view: View, step: Callable[[], None] = lambda: None) -> None:
        """Bring in addresses and links of a run that has ended. step: as above."""
        made = links(view, self.site, step)
        for link in made:
            for key in (link.client, link.server):
                if (asset := self._asset(key, link.first_ns)) is not None:
                    asset.seen(link.first_ns, link.last_ns)
                    if link.protocol:
                        asset.protocols[link.protocol] = None
        step()
        self.links += made
        by_address: dict[str, list[Key]] = {}
        for key in self.assets:
            by_address.setdefault(key.address, []).append(key)
        for address, parts in parts_of(view, step).items():
            for key in by_address.get(address, ()):
                self.assets[key].components |= dict.fromkeys(parts)
        step()
        self._join()
        step()
        assign(self.assets, self.links, self.router_macs())

    def _join(self) -> None:
        """Let hardware and link-local addresses be a part of the one asset that has shown the same hardware address."""
        routers = self.router_macs()
        for mac in routers:
            segment, proof = next(
                (key[0], next(iter(many.values()))) for key, many in self._by_mac.items() if key[1] == mac
            )
            self._asset(Key(self.site, segment, mac), proof.ts_ns)
        owners: dict[str, list[Asset]] = {}
        for asset in self.assets.values():
            if not _local(asset.key.address):
                for mac in asset.macs:
                    owners.setdefault(mac, []).append(asset)
        moved: dict[Key, Key] = {}
        for asset in [asset for asset in self.assets.values() if _local(asset.key.address)]:
            macs = {asset.key.address, *asset.macs} - routers.keys()
            found = {id(owner): owner for mac in macs for owner in owners.get(mac, ())}
            if len(found) == 1 and asset.key.address not in routers:
                (owner,) = found.values()
                owner.absorb(asset)
                del self.assets[asset.key]
                moved[asset.key] = owner.key
        for link in self.links if moved else ():
            link.client, link.server = moved.get(link.client, link.client), moved.get(link.server, link.server)

    def router_macs(self) -> dict[str, int]:
        """Hardware addresses behind which many IP addresses are: number of addresses. No maker is told by them."""
        counts: dict[str, set[str]] = {}
        for (_, mac), addresses in self._by_mac.items():
            counts.setdefault(mac, set()).update(addresses)
        return {mac: len(addresses) for mac, addresses in counts.items() if len(addresses) >= ROUTER_ADDRESSES}

    def owners(self, mac: str) -> list[Key]:
        """Assets that have shown this hardware address as their own."""
        return [key for key, asset in self.assets.items() if mac in asset.macs]

    def _asset(self, key: Key, ts_ns: int) -> Asset | None:
        """The asset of a key, made when it is new; None where the list is full or the address is nobody's."""
        asset = self.assets.get(key)
        if asset is not None:
            return asset
        if len(self.assets) >= MAX_ASSETS:
            self.refused += 1
            return None
        asset = self.assets[key] = Asset(key, ts_ns, ts_ns)
        return asset

    def _hear(self, notice: Notice) -> Iterator[Change]:
        """Learn from a message of a slow protocol."""
        message = notice.message
        who = neighbours.speaker(message)
        segment = segment_of(message.vlan, message.tunnel, message.segment)
        address = who.ip or self._address_of(segment, who.mac) or who.mac
        if not address:
            return
        asset = self._asset(Key(self.site, segment, address), notice.first_ns)
        if asset is None:
            return
        asset.seen(notice.first_ns, notice.last_ns)
        asset.protocols[message.protocol] = None
        if who.mac and who.ip and message.protocol != "stp":
            self._has(asset, who.mac, self._proof(notice.frame, notice.first_ns, message.protocol, "source.mac"))
        if not notice.new:
            return
        for claim in neighbours.claims(message):
            proof = self._proof(notice.frame, notice.first_ns, message.protocol, claim.field)
            if (before := asset.learn(claim, proof, notice.last_ns)) is not None:
                yield Change(asset, before, claim, proof, -1, notice)

    def _address_of(self, segment: str, mac: str) -> str:
        """The only IP address that a hardware address has shown, "" otherwise."""
        known = self._by_mac.get((segment, mac), {}) if mac else {}
        return next(iter(known)) if len(known) == 1 else ""

    def _has(self, asset: Asset, mac: str, proof: Proof) -> None:
        """An asset is behind a hardware address."""
        known = self._by_mac.setdefault((asset.key.segment, mac), {})
        if len(self._by_mac) > MAX_ASSETS:
            del self._by_mac[asset.key.segment, mac]
            return
        if len(known) < ROUTER_ADDRESSES:
            known.setdefault(asset.key.address, proof)
        if len(asset.macs) < MAX_MACS:
            asset.macs.setdefault(mac, proof)

    def _proof(self, frame: int, ts_ns: int, protocol: str, field: str) -> Proof:
        return Proof(self._capture, frame, ts_ns, protocol, field)

    def _learn(self, scene: Scene) -> None:
        """Look at behaviours that are new: whose hardware address is whose, and who may identify somebody."""
        table = scene.view.behaviours.table
        new = self._fresh.rows(table)
        if not len(new):
            return
        self._addresses(scene, new[:LOOKED_THROUGH])
        rows = identity.candidates(table, new)
        room = max(MAX_LABELLED - self._labelled, 0)
        self.unread += max(len(rows) - room, 0)
        rows = rows[:room]
        self._label[rows] = 1
        self._labelled += len(rows)

    def _addresses(self, scene: Scene, new: npt.NDArray[np.int64]) -> None:
        """Hardware addresses of both ends of pairs of hosts that are new, out of the first frame of a behaviour."""
        table = scene.view.behaviours.table
        new = new[table["outcome"][new] != Outcome.UNANSWERED]  # its frame is long gone
        pairs = table["client"][new].astype(np.int64) << 32 | table["server"][new]
        _, first = np.unique(pairs, return_index=True)
        for at in first[:LOOKED_AT].tolist():
            pair = int(pairs[at])
            if pair in self._pairs or len(self._pairs) >= MAX_ASSETS:
                continue
            self._pairs.add(pair)
            frame = int(table["first_frame"][new[at]])
            for frames in scene.frames:
                if frames.first <= frame < frames.first + frames.size:
                    self._ends(scene.view, int(new[at]), frames, frame)
                    break

    def _ends(self, view: View, behaviour: int, frames: FrameBatch, frame: int) -> None:
        i = frame - frames.first
        at = int(frames.offset[i])
        b = view.behaviours.table[behaviour]
        talk = view.conversation(int(b.conversation))
        if int(frames.link[i]) != ETHERNET or frames.captured[i] < 14 or talk.tunnel or talk.transport == "ethernet":
            return
        head = frames.data[at : at + 12].tobytes()
        sender, receiver = (b.client, b.server) if b.kind == Kind.REQUEST else (b.server, b.client)
        ts_ns = int(frames.ts_ns[i])
        sides = ((sender, head[6:].hex(":"), "source.mac"), (receiver, head[:6].hex(":"), "destination.mac"))
        for host, mac, field in sides:
            address = view.host(int(host))
            if not unicast(address) or not one_mac(mac):
                continue
            key = Key(self.site, segment_of(talk.vlan, talk.tunnel, talk.segment), address)
            if (asset := self._asset(key, ts_ns)) is not None:
                self._has(asset, mac, self._proof(frame, ts_ns, talk.transport, field))

    def _read(self, batch: EventBatch, rows: npt.NDArray[np.int64], view: View) -> Iterator[Change]:
        """Read identifying events."""
        columns = batch.columns
        left = READ_EACH
        for row, behaviour, ts_ns in zip(
            rows.tolist(), columns.behaviour[rows].tolist(), columns.ts_ns[rows].tolist(), strict=True
        ):
            before = self._read_ns.get(behaviour)
            if before is not None:
                if abs(ts_ns - before) < REST_NS:
                    continue
                if not left:
                    break
                left -= 1
            self._read_ns[behaviour] = ts_ns
            if columns.protocol[row] == Protocol.GOOSE:  # the publisher stays the same in a behaviour
                self._label[behaviour] = -1
            yield from self._identify(batch, row, view)

    def _identify(self, batch: EventBatch, row: int, view: View) -> Iterator[Change]:
        columns = batch.columns
        fields = view.fields(batch, row)
        asked = int(columns.asked[row])
        request = view.behaviours.describe(asked) if asked >= 0 else {}
        talk = view.conversation(int(columns.conversation[row]))
        sender = fields.get("source.ip") or fields.get("source.mac", "")
        segment = segment_of(talk.vlan, talk.tunnel, talk.segment)
        ts_ns, frame = int(columns.ts_ns[row]), int(columns.frame[row])
        if int(columns.kind[row]) == Kind.REQUEST:
            said = identity.client_claims(fields)
        else:
            said = identity.claims(fields, request)
        port = fields.get("source.port")
        for claim in said:
            if port is not None and port not in WATCHED_PORTS and int(columns.kind[row]) != Kind.REQUEST:
                # Another port is another device: of a simulator, behind a gateway.
                claim = claim._replace(component=f"{claim.component} port {port}".strip())
            asset = self._asset(Key(self.site, segment, sender), ts_ns)
            if asset is None:
                return
            asset.seen(ts_ns, ts_ns)
            asset.protocols[str(fields["network.protocol"])] = None
            if claim.component:
                asset.components[claim.component] = None
            proof = self._proof(frame, ts_ns, str(fields["network.protocol"]), claim.field)
            if (before := asset.learn(claim, proof, ts_ns)) is not None:
                yield Change(asset, before, claim, proof, row)


def _local(address: str) -> bool:
    """Whether an address is of Ethernet, or one that a device gives itself on one link."""
    return (len(address) == 17 and address.count(":") == 5) or address.startswith("fe80:")
