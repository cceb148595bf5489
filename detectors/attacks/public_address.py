"""Public addresses: a control device that hosts on the Internet can reach, or that calls one.

Catches conversations that carry an industrial protocol, or stand on a port of one and got an answer, between an address
of the plant and one that is routed on the Internet. Plants that use public addresses inside are known by it that both
ends do, and are passed over. Blind to what a VPN or a gateway hides. Looks once at each conversation, ten seconds after
it began. Technique: T0883.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

import numpy as np
import numpy.typing as npt

from detectors.attacks.cases import Cases, carried
from detectors.attacks.sweep import PORTS, SETTLED_NS
from detectors.attacks.talks import FreshTalks, Settling, called
from detectors.contract import Scene
from detectors.finding import Finding, Severity
from detectors.roles import Roles, said
from sensor.decode.ip import V4
from sensor.decode.packet import TCP, UDP
from sensor.events import EventBatch
from sensor.operations import Verb

MAX_PENDING = 1 << 14  # conversations on industrial ports that wait for their first answer
MAX_HOSTS = 1 << 16  # addresses whose kind is remembered
TEN, GROUPS = 10, 224  # first octets of private addresses (RFC 1918) and, from there on, of groups (RFC 5771)


class PublicAddress:
    """See the module."""

    name = "public_address"

    def __init__(self) -> None:
        self._fresh = FreshTalks()
        self._settling = Settling(MAX_PENDING)
        self._public: dict[int, bool] = {}
        self._roles = Roles()
        self._cases = Cases()

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        self._look(scene, final=False)
        return self._cases.say(scene, final=False)

    def flush(self, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        self._look(scene, final=True)
        return self._cases.say(scene, final=True)

    def _look(self, scene: Scene, *, final: bool) -> None:
        table = scene.view.conversations
        new = self._fresh.rows(scene.view, scene.now_ns)
        if len(new):
            new = new[np.isin(table["transport"][new], (TCP, UDP))][: 4 * MAX_PENDING]
            talks = table.take(new)
            outside = self._are_public(scene, talks["a_host"]) != self._are_public(scene, talks["b_host"])
            self._settling.add(scene.view, new[outside])
        rows = self._settling.settled(scene.view, scene.now_ns - SETTLED_NS, final=final)
        if not len(rows):
            return
        who = called(table.take(rows))
        speaks = (table["messages"][rows] > 0) | (PORTS[who.port] & ~who.silent)
        for row in rows[speaks].tolist():
            self._tell(scene, row)

    def _are_public(self, scene: Scene, hosts: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Which of these rows of the host table hold public addresses."""
        different, place = np.unique(hosts, return_inverse=True)
        addresses = scene.view.hosts.take(different)
        first = (addresses["lo"] >> np.uint64(24)) & np.uint64(0xFF)
        # Most hosts of a plant are in 10/8 or speak to a group: they need no closer look.
        near = (addresses["family"] == V4) & ((first == TEN) | (first >= GROUPS))
        public = np.zeros(len(different), np.bool_)
        for at in np.flatnonzero(~near).tolist():
            public[at] = self._is_public(scene, int(different[at]))
        return public[place.reshape(-1)]

    def _is_public(self, scene: Scene, host: int) -> bool:
        if host not in self._public:
            if len(self._public) >= MAX_HOSTS:
                self._public.clear()
            address = ip_address(scene.view.host(host))
            self._public[host] = address.is_global and not address.is_multicast
        return self._public[host]

    def _tell(self, scene: Scene, row: int) -> None:
        talk = scene.view.conversations[row]
        who = called(talk.reshape(1))
        asker, asked = int(who.asker[0]), int(who.asked[0])
        inbound = self._is_public(scene, asker)
        rule = "internet.inbound" if inbound else "internet.outbound"
        case = self._cases.case(
            scene,
            rule,
            (asker, asked, int(who.port[0])),
            protocol=carried(talk),
            source_ip=scene.view.host(asker),
            destination_ip=scene.view.host(asked),
            destination_port=int(who.port[0]),
        )
        if not talk.messages:  # a port alone proves little
            case.severity = Severity.LOW
        elif inbound and (verbs := self._commands(scene, asker, asked)):
            case.severity = Severity.HIGH
            case.values = {"verbs": said(verbs)}
        case.problem.add(1, int(talk.first_ns), int(talk.last_ns))
        scene.show_frame(case.problem.exhibit, int(talk.first_frame))

    def _commands(self, scene: Scene, asker: int, asked: int) -> dict[Verb, None]:
        """What a host told another to do."""
        table = scene.view.behaviours.table
        rows = np.flatnonzero((table["client"] == asker) & (table["server"] == asked))
        return dict.fromkeys(verb for _, verb in self._roles.commands(scene.view, rows))
