"""Sprees: a host that was never there before commands one device after the other, or a controller does.

Catches (`writer.several`) a host that appears while traffic is watched and within an hour writes to or commands three
devices that others worked with before, as FrostyGoop and scripts of its kind do; and (`controller.programs`) a device
which others ask, and which itself stops, starts or loads another controller, as a worm in controllers such as
PLC-Blaster does. Controllers that read and write one another's data are no finding. Blind to hosts that were there
from the beginning. Works on behaviours that are new. Techniques: T0855, T0831, T0843, T0858.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from detectors.attacks.cases import CaseDetector, examples
from detectors.contract import Fresh, Scene, alike, ends
from detectors.evidence import Exhibit
from detectors.keys import distinct
from detectors.roles import Roles, said
from sensor.decode.pdu import Kind, Outcome, family
from sensor.events import EventBatch
from sensor.operations import Verb

DEVICES = 3
WITHIN_NS = 3600 * 10**9
LEARN_NS = 60 * 10**9  # who appears sooner after the beginning was there before
KNOWN_NS = 30 * 10**9  # a device must have been asked by others so long before
SERVED = 10  # requests that make a host a device
MAX_HOSTS = 1024  # that command; more at one time are left out
MAX_DEVICES = 4096  # of each
PROGRAMMING = frozenset({Verb.STOP, Verb.START, Verb.PROGRAM_DOWN})


class _Host:
    """One host that commands: device -> (when first, behaviour), and how."""

    def __init__(self) -> None:
        self.devices: dict[int, tuple[int, int]] = {}
        self.verbs: dict[Verb, None] = {}
        self.told = 0


class Spree(CaseDetector):
    """See the module."""

    name = "spree"

    def __init__(self) -> None:
        super().__init__()
        self._fresh = Fresh()
        self._roles = Roles()
        self._hosts: dict[int, _Host] = {}
        self._programmed: dict[tuple[int, int], dict[Verb, None]] = {}

    def _look(self, batch: EventBatch, scene: Scene) -> None:
        self._learn(scene)

    def _finish(self, scene: Scene) -> None:
        self._learn(scene)

    def _learn(self, scene: Scene) -> None:
        """Note who commands whom."""
        table = scene.view.behaviours.table
        new = self._fresh.rows(table)
        if not len(new):
            return
        changed: dict[int, None] = {}
        for rows, verb in self._roles.commands(scene.view, new):
            b = table.take(rows)
            for same in alike([b["client"], b["server"]]):
                client, server = int(b["client"][same[0]]), int(b["server"][same[0]])
                if client not in self._hosts and len(self._hosts) >= MAX_HOSTS:
                    continue
                host = self._hosts.setdefault(client, _Host())
                host.verbs[verb] = None
                if server not in host.devices and len(host.devices) < MAX_DEVICES:
                    host.devices[server] = int(b["first_ns"][same].min()), int(rows[same[0]])
                    changed[client] = None
                if verb in PROGRAMMING:
                    self._programs(scene, client, server, verb, rows[same])
        for client in changed:
            if len(self._hosts[client].devices) >= DEVICES:
                self._several(scene, client, self._hosts[client])

    def _several(self, scene: Scene, client: int, host: _Host) -> None:
        """Whether a new host commands several devices that were there before it."""
        table = scene.view.behaviours.table
        asked = table[(table["kind"] == Kind.REQUEST) & (table["outcome"] == Outcome.ASKED)]
        came_ns = int(asked["first_ns"][asked["client"] == client].min())
        if came_ns - scene.start_ns < LEARN_NS:
            return
        others = asked[(asked["client"] != client) & (asked["first_ns"] <= came_ns - KNOWN_NS)]
        known = set(distinct(others["server"]).tolist())
        hit = {device: at for device, at in host.devices.items() if device in known and at[0] - came_ns <= WITHIN_NS}
        if len(hit) < max(DEVICES, host.told + 1):
            return
        row = next(iter(hit.values()))[1]
        case = self._cases.case(
            scene, "writer.several", client, protocol=family(int(table["protocol"][row])).name.lower(),
            source_ip=scene.view.host(client),
        )  # fmt: skip
        case.values = {
            "distinct": len(hit), "examples": examples(scene.view.host(device) for device in hit),
            "verbs": said(host.verbs), "seconds": (max(at for at, _ in hit.values()) - came_ns) // 10**9,
        }  # fmt: skip
        times = [at for at, _ in hit.values()]
        case.problem.add(len(hit) - host.told, min(times), max(times))
        host.told = len(hit)
        for _, row in hit.values():
            self._show(scene, case.problem.exhibit, row)

    def _programs(self, scene: Scene, client: int, server: int, verb: Verb, rows: npt.NDArray[np.int64]) -> None:
        """Whether the one who programs is itself a device that others ask."""
        table = scene.view.behaviours.table
        serves = table[(table["server"] == client) & (table["client"] != server)]
        serves = serves[(serves["outcome"] == Outcome.ASKED) & (serves["kind"] == Kind.REQUEST)]
        if int(serves["count"].sum()) < SERVED or len(self._programmed) >= MAX_DEVICES:
            return
        row = int(rows[0])
        case = self._cases.case(
            scene, "controller.programs", (client, server), protocol=family(int(table["protocol"][row])).name.lower(),
            **ends(scene.view.behaviours.describe(row)),
        )  # fmt: skip
        verbs = self._programmed.setdefault((client, server), {})
        verbs[verb] = None
        case.values = {"verbs": said(verbs)}
        case.problem.add(len(rows), int(table["first_ns"][rows].min()), int(table["last_ns"][rows].max()))
        self._show(scene, case.problem.exhibit, row)

    def _show(self, scene: Scene, exhibit: Exhibit, row: int) -> None:
        frame = int(scene.view.behaviours.table["first_frame"][row])
        scene.show_frame(exhibit, frame, ({"frame": frame, **scene.view.behaviours.describe(row)},))
