"""Passwords: somebody tries one after the other, or gets in after having tried.

Catches logins that devices refuse: S7 protection passwords (0xD602), OPC UA sessions, BACnet services that a password
guards, DNP3 secure authentication (g120v7), MMS and others by the verb. Counts refusals of one host by one device over
a day, so that slow guessing is found; worse where a login succeeded afterwards. Blind to passwords inside encrypted
channels. Looks at refusals that are new, then reads their counters. Techniques: T0859, T0812.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from detectors.attacks.cases import Cases
from detectors.contract import Fresh, Scene, alike, ends, station_of
from detectors.finding import Finding, Severity, Text
from sensor.decode.pdu import Outcome, Protocol, family
from sensor.events import EventBatch
from sensor.operations import Verb

ENOUGH = 3  # refusals: people mistype once or twice
MAX_PAIRS = 4096  # pairs of hosts followed
MAX_EACH = 256  # behaviours of one pair whose counters are read
MAX_LOOKED = 4096  # refusals of one batch that are noted

# Statuses that say "wrong password" whatever was asked.
WRONG = {
    Protocol.S7COMM: (0xD602,),
    Protocol.BACNET: (4 << 16 | 26,),  # error class security, password-failure
    Protocol.OPCUA: (0x801F, 0x8020, 0x8021),  # user access denied, identity token invalid or rejected
}


class _Pair:
    """One host and one device."""

    def __init__(self) -> None:
        self.refused: list[int] = []
        self.granted: list[int] = []
        self.counted = 0


class Passwords:
    """See the module."""

    name = "passwords"

    def __init__(self) -> None:
        self._fresh = Fresh()
        self._pairs: dict[tuple[int, int, int], _Pair] = {}
        self._login: dict[tuple[int, int, int], bool] = {}
        self._cases = Cases()

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        self._learn(scene)
        self._judge(scene)
        return self._cases.say(scene, final=False)

    def flush(self, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        self._learn(scene)
        self._judge(scene)
        return self._cases.say(scene, final=True)

    def _learn(self, scene: Scene) -> None:
        table = scene.view.behaviours.table
        new = self._fresh.rows(table)
        if not len(new):
            return
        b = table[new[0] :]  # a view: a flood of behaviours is not copied
        refused = np.flatnonzero(b["outcome"] == Outcome.REFUSED)
        wrong = np.zeros(len(refused), np.bool_)
        for protocol, statuses in WRONG.items():
            wrong |= (b["protocol"][refused] == protocol) & np.isin(b["status"][refused], statuses)
        codes = [b[name][refused] for name in ("protocol", "function", "subfunction")]
        for same in alike(codes) if len(refused) else ():
            wrong[same] |= self._is_login(scene, int(new[refused[same[0]]]))
        for row in new[refused[wrong]][:MAX_LOOKED].tolist():
            one = table[row]
            self._note(int(one.client), int(one.server), family(int(one.protocol)), row)
        if not self._pairs:
            return
        granted = new[b["outcome"] == Outcome.ANSWERED]
        for key, pair in self._pairs.items() if len(granted) else ():
            mine = granted[(table["client"][granted] == key[0]) & (table["server"][granted] == key[1])]
            logins = [row for row in mine[:MAX_EACH].tolist() if self._is_login(scene, row)]
            pair.granted += logins[: MAX_EACH - len(pair.granted)]

    def _is_login(self, scene: Scene, row: int) -> bool:
        """Whether a behaviour is an attempt to log in, by its verb: one of each code is described."""
        b = scene.view.behaviours.table[row]
        key = (int(b.protocol), int(b.function), int(b.subfunction))
        if key not in self._login:
            self._login[key] = scene.view.behaviours.describe(row).get("event.action") == Verb.AUTHENTICATE
        return self._login[key]

    def _note(self, client: int, server: int, protocol: int, row: int) -> None:
        """Remember a refusal."""
        key = (client, server, protocol)
        if key not in self._pairs and len(self._pairs) >= MAX_PAIRS:
            return
        pair = self._pairs.setdefault(key, _Pair())
        if len(pair.refused) < MAX_EACH:
            pair.refused.append(row)

    def _judge(self, scene: Scene) -> None:
        table = scene.view.behaviours.table
        for key, pair in self._pairs.items():
            count = int(table["count"][pair.refused].sum())
            if count < ENOUGH or count <= pair.counted:
                continue
            row = pair.refused[0]
            case = self._cases.case(
                scene,
                "password.guessing",
                key,
                protocol=Protocol(key[2]).name.lower(),
                **ends(scene.view.behaviours.describe(row)),
                station=station_of(key[2], int(table["station"][row])),
            )
            first_ns, last_ns = int(table["first_ns"][pair.refused].min()), int(table["last_ns"][pair.refused].max())
            case.values = {"seen": None}
            if pair.granted and int(table["last_ns"][pair.granted].max()) > first_ns:
                case.values["seen"] = Text("其后有一次登录成功", "a login succeeded after that")
                case.severity = Severity.CRITICAL
            case.problem.add(count - pair.counted, first_ns, last_ns)
            pair.counted = count
            for number in pair.refused:
                fields = scene.view.behaviours.describe(number)
                for frame in sorted({int(table["first_frame"][number]), int(table["last_frame"][number])}):
                    scene.show_frame(case.problem.exhibit, frame, ({"frame": frame, **fields},))
