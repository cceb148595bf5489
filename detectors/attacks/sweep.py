"""Sweeps: one host looks for devices on the network, or for open ports on one device, however slowly.

Catches conversations that stay without an answer, counted by distinct hosts of one industrial port (`scan.hosts`) and
by distinct ports of one host (`scan.ports`) over a day: one probe an hour counts as much as a thousand a second. Who
asks a few hosts again and again is a master that waits for devices that are off, and is passed over: so each probe is
given two minutes to be repeated, unless very many were made. Blind to a sweep whose every probe is answered, and to
probes that no frame carries because nobody answered ARP. Works on the conversation table, each row once, ten seconds
after it began. Technique: T0846.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from detectors.attacks.cases import Cases, carried, examples
from detectors.attacks.talks import FreshTalks, Rows, Settling, called
from detectors.contract import Scene, alike
from detectors.finding import Finding
from sensor.decode.packet import TCP, UDP
from sensor.decode.recognise import WATCHED_PORTS
from sensor.events import EventBatch

# Further ports of control devices: Red Lion, CODESYS, Omron FINS, Unitronics PCOM, TriStation, PROFINET, FL-net, Fox.
OTHER_PORTS = (789, 1217, 1502, 1911, 2222, 2455, 4911, 5006, 5007, 9600, 11740, 18245, 20256, 20547, 34962, 34964)
ENOUGH_HOSTS = 8  # on one port: a master that was set up before its devices seldom waits for more
ENOUGH_PORTS = 15  # of one host
ATTEMPTS = 3  # more conversations with one host are no probes
SETTLED_NS = 10 * 10**9  # an answer comes sooner
REPEATED_NS = 120 * 10**9  # a master that waits for its device calls again sooner
MANY = 64  # hosts: no master waits for so many, and there is no need to wait either
WINDOW_NS = 24 * 3600 * 10**9
EPHEMERAL = 32768  # ports from here on are given to whoever calls (Linux; others begin higher)
MAX_PENDING = (
    1 << 16
)  # conversations that wait to be judged; more at one time are a flood, which another detector tells
MAX_FOLLOWED = 1024  # askers on one port, and pairs; more at one time are left out
MAX_DISTINCT = 4096  # hosts or ports remembered of each

PORTS = np.zeros(65536, np.bool_)
PORTS[[*WATCHED_PORTS, *OTHER_PORTS]] = True


class _Tried:
    """What one asker tried without an answer: thing -> (first, last time, how often); and with whom it does speak."""

    def __init__(self) -> None:
        self.silent: dict[int, tuple[int, int, int]] = {}
        self.answering: set[int] = set()
        self.told = 0
        self.last_ns = 0
        self.row = -1  # of a conversation

    def note(self, thing: int, first_ns: int, last_ns: int, attempts: int) -> None:
        """Count attempts at one thing."""
        known = self.silent.get(thing)
        if known is not None:
            self.silent[thing] = (known[0], max(known[1], last_ns), known[2] + attempts)
        elif len(self.silent) < MAX_DISTINCT:
            self.silent[thing] = (first_ns, last_ns, attempts)
        self.last_ns = max(self.last_ns, last_ns)

    def probed(self, before_ns: int) -> list[int]:
        """Things within the window that were tried a few times only, not after `before_ns`, and never answered."""
        begin = self.last_ns - WINDOW_NS
        return [
            thing
            for thing, (first_ns, last_ns, attempts) in self.silent.items()
            if first_ns >= begin and last_ns <= before_ns and attempts <= ATTEMPTS and thing not in self.answering
        ]


class Sweep:
    """See the module."""

    name = "sweep"

    def __init__(self) -> None:
        self._fresh = FreshTalks()
        self._settling = Settling(MAX_PENDING)
        self._cases = Cases()
        self._hosts: dict[tuple[int, int], _Tried] = {}
        self._ports: dict[tuple[int, int], _Tried] = {}
        self._waiting: dict[tuple[int, int], None] = {}  # of `_hosts`, whose last probe may still be repeated

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        self._look(scene, final=False)
        if self._waiting:
            for key in [key for key in self._waiting if scene.now_ns - self._hosts[key].last_ns >= REPEATED_NS]:
                del self._waiting[key]
                self._weigh(scene, key, final=False)
        return self._cases.say(scene, final=False)

    def flush(self, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        self._look(scene, final=True)
        for key in self._hosts:
            self._weigh(scene, key, final=True)
        return self._cases.say(scene, final=True)

    def _look(self, scene: Scene, *, final: bool) -> None:
        table = scene.view.conversations
        new = self._fresh.rows(scene.view, scene.now_ns)
        if len(new):
            self._settling.add(scene.view, new)
        rows = self._settling.settled(scene.view, scene.now_ns - SETTLED_NS, final=final)
        rows = rows[np.isin(table["transport"][rows], (TCP, UDP))]
        if len(rows):
            self._judge(scene, rows)

    def _judge(self, scene: Scene, rows: Rows) -> None:
        talks = scene.view.conversations.take(rows)
        who = called(talks)
        tcp = talks["transport"] == TCP
        on_port = PORTS[who.port] & ~_to_many(scene, who.asked)
        self._sweep(scene, rows[on_port & ~who.silent], silent=False)
        self._sweep(scene, rows[on_port & who.silent], silent=True)
        opened = tcp & (who.asker_port >= 1024) & (who.port < EPHEMERAL)
        self._scan(scene, rows[opened & who.silent])

    def _sweep(self, scene: Scene, rows: Rows, *, silent: bool) -> None:
        """Hosts of one port."""
        talks = scene.view.conversations.take(rows)
        who = called(talks)
        known = _followed(self._hosts, who.asker, who.port)
        rows, talks = rows[known], talks.compress(known)
        who = called(talks)
        changed: dict[tuple[int, int], None] = {}
        for same in alike([who.asker, who.port, who.asked]):
            at = same[0]
            key, asked = (int(who.asker[at]), int(who.port[at])), int(who.asked[at])
            tried = self._hosts.setdefault(key, _Tried())
            if not silent:
                if len(tried.answering) < MAX_DISTINCT:
                    tried.answering.add(asked)
                continue
            tried.note(asked, int(talks["first_ns"][same].min()), int(talks["first_ns"][same].max()), len(same))
            tried.row = int(rows[at])
            if len(tried.silent) >= ENOUGH_HOSTS:
                self._waiting[key] = None
                changed[key] = None
        for key in changed:
            self._weigh(scene, key, final=False)

    def _weigh(self, scene: Scene, key: tuple[int, int], *, final: bool) -> None:
        """A finding where an asker probed enough hosts of one port."""
        tried = self._hosts[key]
        if len(tried.silent) < ENOUGH_HOSTS:
            return
        probed = tried.probed(tried.last_ns if final else scene.now_ns - REPEATED_NS)
        if not final and (len(probed) < ENOUGH_HOSTS or tried.told):
            everything = tried.probed(tried.last_ns)
            probed = everything if len(everything) >= MANY or tried.told else probed
        if len(probed) >= ENOUGH_HOSTS and len(probed) > len(tried.answering):
            self._tell(scene, "scan.hosts", key, tried, probed, tried.row)

    def _scan(self, scene: Scene, rows: Rows) -> None:
        """Ports of one host."""
        talks = scene.view.conversations.take(rows)
        who = called(talks)
        known = _followed(self._ports, who.asker, who.asked)
        rows, talks = rows[known], talks.compress(known)
        who = called(talks)
        for same in alike([who.asker, who.asked]):
            at = same[0]
            key = (int(who.asker[at]), int(who.asked[at]))
            tried = self._ports.setdefault(key, _Tried())
            for one in same[:MAX_DISTINCT].tolist():
                first_ns = int(talks["first_ns"][one])
                tried.note(int(who.port[one]), first_ns, first_ns, 1)
            probed = tried.probed(tried.last_ns)
            if len(probed) >= ENOUGH_PORTS:
                self._tell(scene, "scan.ports", key, tried, probed, int(rows[at]))

    def _tell(self, scene: Scene, rule: str, key: tuple[int, int], tried: _Tried, probed: list[int], row: int) -> None:
        view = scene.view
        talk = view.conversations[row]
        if rule == "scan.hosts":
            case = self._cases.case(
                scene, rule, key, protocol=carried(talk), source_ip=view.host(key[0]), destination_port=key[1]
            )
            shown = examples(view.host(host) for host in probed)
        else:
            case = self._cases.case(
                scene, rule, key, protocol=carried(talk) if talk.transport != TCP else "tcp",
                source_ip=view.host(key[0]), destination_ip=view.host(key[1]),
            )  # fmt: skip
            shown = examples(sorted(probed))
        times = [tried.silent[thing][0] for thing in probed]
        case.values = {"distinct": len(probed), "examples": shown, "seconds": (max(times) - min(times)) // 10**9}
        case.problem.add(len(probed) - tried.told, min(times), max(times))
        tried.told = max(tried.told, len(probed))
        scene.show_frame(case.problem.exhibit, int(talk.first_frame))


def _followed(
    index: dict[tuple[int, int], _Tried], one: npt.NDArray[np.int32], other: npt.NDArray[np.int32]
) -> npt.NDArray[np.bool_]:
    """Which rows may be counted: all while there is room in the index, then those whose key is in it."""
    keys = one.astype(np.int64) << 32 | other
    room = MAX_FOLLOWED - len(index)
    if len(keys) <= room:
        return np.ones(len(keys), np.bool_)
    known = np.array([first << 32 | second for first, second in index], np.int64)
    return np.isin(keys, np.concatenate([known, np.setdiff1d(keys, known)[:room]]))


def _to_many(scene: Scene, host: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Which rows of the host table are IPv4 multicast or broadcast addresses: nobody answers as those."""
    hosts = scene.view.hosts
    address = hosts["lo"][host]
    four: npt.NDArray[np.bool_] = hosts["family"][host] == 4
    many: npt.NDArray[np.bool_] = four & (
        (address >> np.uint64(28) >= np.uint64(0xE)) | (address & np.uint64(0xFF) == np.uint64(0xFF))
    )
    return many
