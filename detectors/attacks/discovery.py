"""Discovery: who searches for devices by messages to everybody, and who renames or resets PROFINET stations.

Catches (`search.new`) a host that begins to search by PROFINET DCP Identify, BACnet Who-Is or Who-Has, or EtherNet/IP
List Identity to a broadcast address, although the network was watched for ten minutes in which it never did: whoever
searches by trade does so sooner. Catches (`profinet.set`) DCP Set: IP address, station name, reset to factory settings.
That a controller gives its devices their addresses when they start is a low matter. Blind to searches by addresses one
by one, which other detectors count. Works on messages and behaviours that are new. Techniques: T0846, T0836, T0809,
T0816.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from detectors.attacks.cases import Case, CaseDetector
from detectors.contract import Fresh, Scene
from detectors.finding import Severity, Text
from sensor.decode.pdu import Kind, Outcome, Protocol
from sensor.events import EventBatch
from sensor.slow.message import Notice

LEARN_NS = 600 * 10**9
MAX_SEARCHERS = 1024  # hosts that search; more at one time are not told apart
WHO_HAS, WHO_IS = 7, 8  # BACnet unconfirmed services, ANSI/ASHRAE 135, clause 21
UNCONFIRMED = 1
LIST_IDENTITY = 99  # EtherNet/IP encapsulation command, CIP volume 2, 2-4.2
RESETS = frozenset({"factory_reset", "reset_to_factory"})
SET_WORDS = {
    "name_of_station": Text("站名", "station name"),
    "ip": Text("IP 地址", "IP address"),
    "factory_reset": Text("恢复出厂设置", "reset to factory settings"),
    "reset_to_factory": Text("恢复出厂设置", "reset to factory settings"),
}
PROFINET, BACNET, ENIP = "profinet_dcp", "bacnet", "enip"


class Discovery(CaseDetector):
    """See the module."""

    name = "discovery"

    def __init__(self) -> None:
        super().__init__()
        self._fresh = Fresh()
        self._searchers: dict[tuple[str, str], bool] = {}  # protocol, host -> whether it is new

    def _look(self, batch: EventBatch, scene: Scene) -> None:
        for notice in scene.slow:
            fields = notice.message.fields
            if notice.message.protocol == PROFINET and not fields.get("dcp.response"):
                if fields.get("dcp.service_name") == "identify":
                    case = self._searches(scene, PROFINET, notice.message.source_mac, notice.first_ns)
                    if case is not None:
                        case.problem.add(notice.count, notice.first_ns, notice.last_ns)
                        scene.show_notice(case.problem.exhibit, notice)
                elif fields.get("dcp.service_name") == "set":
                    self._set(scene, notice)
        self._learn(scene)

    def _finish(self, scene: Scene) -> None:
        self._learn(scene)

    def _learn(self, scene: Scene) -> None:
        """Look for searches among behaviours that are new."""
        view = scene.view
        table = view.behaviours.table
        new = self._fresh.rows(table)
        if not len(new):
            return
        b = table.take(new)
        bacnet = (b["protocol"] == Protocol.BACNET) & np.isin(b["subfunction"], (WHO_HAS, WHO_IS))
        bacnet &= b["function"] == UNCONFIRMED
        enip = (b["protocol"] == Protocol.ENIP) & (b["function"] == LIST_IDENTITY)
        searches = (bacnet | enip) & (b["kind"] == Kind.REQUEST) & (b["outcome"] == Outcome.ASKED)
        for row in new[searches].tolist():
            one: Any = table[row]
            if one.protocol == Protocol.ENIP and not _to_all(view.hosts[int(one.server)]):
                continue
            protocol = BACNET if one.protocol == Protocol.BACNET else ENIP
            case = self._searches(scene, protocol, view.host(int(one.client)), int(one.first_ns))
            if case is not None:
                case.problem.add(1, int(one.first_ns), int(one.first_ns))
                frame = int(one.first_frame)
                scene.show_frame(case.problem.exhibit, frame, ({"frame": frame, **view.behaviours.describe(row)},))

    def _searches(self, scene: Scene, protocol: str, host: str, at_ns: int) -> Case | None:
        """The case of a host that searches and did not while the network was learned; None where it did."""
        key = (protocol, host)
        if key not in self._searchers:
            if len(self._searchers) >= MAX_SEARCHERS:
                return None
            self._searchers[key] = scene.start_ns >= 0 and at_ns - scene.start_ns >= LEARN_NS
        if not self._searchers[key]:
            return None
        case = self._cases.case(scene, "search.new", key, protocol=protocol, source_ip=host)
        case.values.setdefault("seconds", (at_ns - scene.start_ns) // 10**9)
        return case

    def _set(self, scene: Scene, notice: Notice) -> None:
        """What a DCP Set changes, where it is worth telling."""
        message = notice.message
        blocks = message.fields.get("dcp.blocks", ())
        what = [block for block in SET_WORDS if block in blocks]
        if not what:
            return
        case = self._cases.case(
            scene, "profinet.set", (message.source_mac, message.destination_mac, what[0]), protocol=PROFINET,
            source_ip=message.source_mac, destination_ip=message.destination_mac,
        )  # fmt: skip
        value = message.fields.get("dcp.name_of_station") or message.fields.get("dcp.ip")
        words = [SET_WORDS[block] for block in what]
        case.values = {
            "operation": Text("、".join(it.zh for it in words), ", ".join(it.en for it in words)),
            "seen": value if value not in (None, "", "0.0.0.0") else None,  # noqa: S104 - compared, never bound
        }
        if RESETS.intersection(what):
            case.severity, case.problem.techniques = Severity.HIGH, ("T0809", "T0816")
        elif what == ["ip"]:
            case.severity = Severity.LOW
        case.problem.add(notice.count, notice.first_ns, notice.last_ns)
        scene.show_notice(case.problem.exhibit, notice)


def _to_all(host: Any) -> bool:
    """Whether a row of the host table is an IPv4 multicast or broadcast address."""
    address = int(host["lo"])
    return int(host["family"]) == 4 and (address >> 28 >= 0xE or address & 0xFF == 0xFF)
