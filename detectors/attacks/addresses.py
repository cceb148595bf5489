"""Addresses: who claims which, and who looks for others, as ARP and the frames of industrial traffic tell.

Catches (`address.conflict`) an IPv4 address that two network cards claim at the same time; worse where one of them has
another address of its own, as a host has that puts itself between two others. Catches (`address.impostor`) TCP segments
of industrial traffic that come from another card than the host's before, where that card is known to be another host.
Catches (`arp.sweep`) one card that asks for many addresses which nobody has, however slowly, and (`arp.storm`) ARP in
such numbers that devices suffer. An address that moved to another card for good is no finding here: a device may have
been replaced. Addresses of redundant routers (VRRP, HSRP) are passed over. Blind to a card whose address is forged
too. Techniques: T0830, T0846, T0814.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from detectors.attacks.cases import Cases, examples
from detectors.contract import Scene
from detectors.finding import Finding, Severity, Text
from detectors.passes import strangers
from sensor.capture.frames import FrameBatch
from sensor.decode.packet import TCP
from sensor.events import EventBatch
from sensor.records import Growing
from sensor.slow.message import Notice

ENOUGH_ASKED = 32  # addresses that nobody has: a server that lost some of its peers asks for fewer
ATTEMPTS = 5  # more requests for one address are a host that misses its peer
REPEATED_NS = 30 * 10**9  # such a host asks again sooner
MANY_ASKED = 128  # addresses: nobody misses so many, and there is no need to wait
WINDOW_NS = 24 * 3600 * 10**9
STORM, STORM_NS = 1000, 10 * 10**9  # messages of one card in this time: a restarting plant stays far below
MAX_ADDRESSES = 1 << 14  # addresses whose cards are remembered; more are not judged
MAX_CARDS = 8  # of one address
MAX_ASKERS, MAX_ASKED = 1024, 4096  # cards that ask, addresses remembered of each
VIRTUAL = ("00:00:5e:00:01:", "00:00:5e:00:02:", "00:00:0c:07:ac:", "00:00:0c:9f:f")  # VRRP of both versions, HSRP
NOBODY = ("0.0.0.0", "")  # noqa: S104 - of a probe (RFC 5227), which claims nothing
ETHERNET, HEADER = 1, 14

Place = tuple[int | None, int | None, str]  # VLAN, network of a tunnel, address


class _Claim:
    """One card that uses one address."""

    def __init__(self, first_ns: int) -> None:
        self.first_ns = self.last_ns = first_ns
        self.count = 0


class _Asker:
    """One card: the addresses it asked for, and how often."""

    def __init__(self) -> None:
        self.asked: dict[str, tuple[int, int, int]] = {}  # address -> first time, last time, count
        self.told = 0
        self.latest: Notice | None = None  # of its questions
        self.begin_ns = self.count = 0  # of all its messages, since begin_ns


class Addresses:
    """See the module."""

    name = "addresses"

    def __init__(self) -> None:
        self._claims: dict[Place, dict[str, _Claim]] = {}
        self._own: dict[str, set[str]] = {}  # card -> addresses that it claims
        self._contested: set[str] = set()  # addresses that two cards claim
        self._askers: dict[str, _Asker] = {}
        self._cards = Growing(np.int64, -1)  # 2 * conversation + forward -> card that sends it
        self._sides = self._cards.values
        self._recycled = 0
        self._rows = self._cards_of = np.zeros(0, np.int64)  # scratch
        self._looked = (-1, False)  # the batch of frames looked at last, and whether it is Ethernet
        self._cases = Cases()

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        for notice in scene.slow:
            if notice.message.protocol == "arp" and "arp.sender.mac" in notice.message.fields:
                self._hear(notice, scene)
        if batch.size:
            self._compare(batch, scene)
        return self._cases.say(scene, final=False)

    def flush(self, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        for asker in self._askers.values():
            self._weigh(asker, scene, final=True)
        return self._cases.say(scene, final=True)

    def _hear(self, notice: Notice, scene: Scene) -> None:
        """One ARP message: a claim of its sender, and perhaps a question."""
        fields = notice.message.fields
        card, address, target = fields["arp.sender.mac"], fields["arp.sender.ip"], fields["arp.target.ip"]
        asker = self._askers.get(notice.message.source_mac)
        if asker is None and len(self._askers) < MAX_ASKERS:
            asker = self._askers[notice.message.source_mac] = _Asker()
        if asker is not None:
            self._storm(asker, notice, scene)
            if fields["arp.operation"] == 1 and target not in (address, *NOBODY):
                self._ask(asker, target, notice, scene)
        if address not in NOBODY and not card.startswith(VIRTUAL):
            self._claim(card, address, notice, scene)

    def _claim(self, card: str, address: str, notice: Notice, scene: Scene) -> None:
        place = (notice.message.vlan, notice.message.segment, address)
        cards = self._claims.get(place)
        if cards is None:
            if len(self._claims) >= MAX_ADDRESSES:
                return
            cards = self._claims[place] = {}
        claim = cards.get(card)
        if claim is None:
            if len(cards) >= MAX_CARDS:
                return
            claim = cards[card] = _Claim(notice.first_ns)
            self._own.setdefault(card, set()).add(address)
        claim.last_ns = max(claim.last_ns, notice.last_ns)
        claim.count += notice.count
        others = {other: it for other, it in cards.items() if other != card}
        for other, it in others.items():
            if it.last_ns > claim.first_ns and claim.last_ns > it.first_ns:  # each speaks after the other began
                self._conflict(place, card, other, notice, scene)

    def _conflict(self, place: Place, card: str, other: str, notice: Notice, scene: Scene) -> None:
        """Two cards use one address."""
        address = place[2]
        self._contested.add(address)
        between = next((one for one in (card, other) if len(self._own[one]) > 1), None)
        case = self._cases.case(
            scene, "address.conflict", (place, *sorted((card, other))), protocol="arp",
            source_ip=between or "", destination_ip=address,
        )  # fmt: skip
        case.values = {"examples": f"{card}, {other}", "seen": None}
        case.severity = Severity.MEDIUM
        if between is not None:
            rest = examples(self._named(between, address))
            case.severity = Severity.HIGH
            case.values["seen"] = Text(f"其中 {between} 还使用 {rest}", f"of these {between} also uses {rest}")
        case.problem.add(notice.count, notice.first_ns, notice.last_ns)
        scene.show_notice(case.problem.exhibit, notice)

    def _named(self, card: str, address: str) -> list[str]:
        """Addresses besides this one by which people know a card: those that nobody else claims, if it has any."""
        own = self._own[card] - {address}
        return sorted(own - self._contested or own)

    def _ask(self, asker: _Asker, target: str, notice: Notice, scene: Scene) -> None:
        first_ns, _, count = asker.asked.get(target, (notice.first_ns, 0, 0))
        if count or len(asker.asked) < MAX_ASKED:
            asker.asked[target] = (first_ns, notice.last_ns, count + notice.count)
        asker.latest = notice
        if not (count and asker.told):
            self._weigh(asker, scene, final=False)

    def _weigh(self, asker: _Asker, scene: Scene, *, final: bool) -> None:
        """A finding where a card asked for enough addresses that nobody has."""
        notice = asker.latest
        if notice is None or len(asker.asked) < max(ENOUGH_ASKED, asker.told + 1):
            return
        vlan, segment = notice.message.vlan, notice.message.segment
        at_once = final or len(asker.asked) >= MANY_ASKED
        absent = [
            address
            for address, (at, last_ns, times) in asker.asked.items()
            if times <= ATTEMPTS
            and at >= notice.last_ns - WINDOW_NS
            and (at_once or last_ns <= notice.last_ns - REPEATED_NS)
            and (vlan, segment, address) not in self._claims
        ]
        if len(absent) < max(ENOUGH_ASKED, asker.told + 1):
            return
        fields = notice.message.fields
        case = self._cases.case(
            scene, "arp.sweep", notice.message.source_mac, protocol="arp",
            source_ip=fields["arp.sender.ip"] if fields["arp.sender.ip"] not in NOBODY else notice.message.source_mac,
        )  # fmt: skip
        times = [asker.asked[address][0] for address in absent]
        case.values = {
            "distinct": len(absent), "examples": examples(absent), "seconds": (max(times) - min(times)) // 10**9
        }  # fmt: skip
        case.problem.add(len(absent) - asker.told, min(times), max(times))
        asker.told = len(absent)
        scene.show_notice(case.problem.exhibit, notice)

    def _storm(self, asker: _Asker, notice: Notice, scene: Scene) -> None:
        """Count all messages of a card."""
        if not 0 <= notice.last_ns - asker.begin_ns <= STORM_NS:
            asker.begin_ns, asker.count = notice.first_ns, 0
        asker.count += notice.count
        if asker.count < STORM:
            return
        span_ns = max(notice.last_ns - asker.begin_ns, 10**9)
        case = self._cases.case(
            scene, "arp.storm", notice.message.source_mac, protocol="arp", source_ip=notice.message.source_mac
        )
        case.values = {"peak": max(round(asker.count * 10**9 / span_ns), case.values.get("peak", 0))}
        case.problem.add(asker.count, asker.begin_ns, notice.last_ns)
        asker.begin_ns, asker.count = notice.last_ns, 0
        scene.show_notice(case.problem.exhibit, notice)

    def _compare(self, batch: EventBatch, scene: Scene) -> None:
        """The cards that send industrial TCP segments, against those before."""
        view = scene.view
        if view.recycled != self._recycled:  # rows may stand for others now
            self._recycled = view.recycled
            self._sides[:] = -1
        self._sides = self._cards.grow(2 * len(view.conversations))
        columns = batch.columns
        first, last = int(columns.frame.min()), int(columns.frame.max())
        if len(self._rows) < batch.size:
            self._rows, self._cards_of = np.zeros((2, batch.size), np.int64)
        for frames in scene.frames:
            if last < frames.first or first >= frames.first + frames.size or not self._is_ethernet(frames):
                continue
            found = strangers(
                columns.frame, columns.conversation, columns.forward,
                frames.data, frames.offset, frames.first, self._sides, self._rows, self._cards_of,
            )  # fmt: skip
            if found:
                rows = self._rows[:found]
                sides = 2 * columns.conversation[rows].astype(np.int64) + columns.forward[rows]
                self._odd(batch, rows, sides, self._cards_of[:found], scene)

    def _is_ethernet(self, frames: FrameBatch) -> bool:
        """Whether all frames of a batch have whole Ethernet headers; others are left alone with their batch."""
        if frames.first != self._looked[0]:
            sound = bool((frames.link == ETHERNET).all() and (frames.captured >= HEADER).all())
            self._looked = frames.first, sound
        return self._looked[1]

    def _odd(
        self,
        batch: EventBatch,
        rows: npt.NDArray[np.int64],
        sides: npt.NDArray[np.int64],
        cards: npt.NDArray[np.int64],
        scene: Scene,
    ) -> None:
        """Sides that are new, or whose card is another than before."""
        talks = scene.view.conversations
        pairs, first, counts = np.unique(np.stack([sides, cards], 1), axis=0, return_index=True, return_counts=True)
        for (side, number), at, count in zip(pairs.tolist(), first.tolist(), counts.tolist(), strict=True):
            before = int(self._sides[side])
            if before < 0:
                self._sides[side] = number
                continue
            talk = talks[side >> 1]
            if talk.transport != TCP or number == before:
                continue
            card, was = (value.to_bytes(6, "little").hex(":") for value in (number, before))
            address = scene.view.host(int(talk.a_host if side & 1 else talk.b_host))
            own = self._own.get(card, set()) - {address}
            if not own or card.startswith(VIRTUAL):
                continue
            other = scene.view.host(int(talk.b_host if side & 1 else talk.a_host))
            times = batch.columns.ts_ns[rows[(sides == side) & (cards == number)]]
            case = self._cases.case(
                scene, "address.impostor", (address, card), protocol="tcp", source_ip=address, destination_ip=other
            )
            case.values = {"seen": card, "other": examples(self._named(card, address)), "state": was}
            case.problem.add(count, int(times.min()), int(times.max()))
            scene.show(case.problem.exhibit, batch, (int(rows[at]),))
