"""A known device says that it is another one, or has other firmware; two devices share one PROFINET name or address.

Compares what devices say of themselves: in answers that identify them (detectors/assets/identity.py), in PROFINET DCP.
Blind to devices that nobody asks, and to a change while nothing was watched: what was known is known of this run. Two
stations share a name when the first one speaks again after the second, as a replaced device does not. Techniques T0857,
or T0839 where a module behind the address has other firmware, and T0856. Costs one look-up for each event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from detectors import knowledge
from detectors.assets.asset import ATTRIBUTES, IDENTITY
from detectors.assets.inventory import Change, Inventory
from detectors.contract import Scene
from detectors.finding import Finding, Text
from detectors.problem import Problem
from detectors.wording import safe
from sensor.events import EventBatch
from sensor.slow.message import Notice

MAX_PROBLEMS = 1024
MAX_CLAIMANTS = 8  # of one name or address
MAX_STATIONS = 8192  # names and addresses of PROFINET stations remembered
FIRMWARE = ("firmware", "software")
TECHNIQUES = ("T0857", "T0839")  # firmware of the system, of a module
UNCERTAIN = "cip connection"  # a connection may lead to any module of the rack


class AssetChanged:
    """See the module. Its `inventory` may be asked by others."""

    name = "asset_changed"

    def __init__(self) -> None:
        self.inventory = Inventory()
        self._rules = knowledge.detector_rules()
        self._problems: dict[tuple[str, ...], Problem] = {}
        # What is claimed -> who claims it, with the times of its first and last message.
        self._stations: dict[tuple[str, ...], dict[str, tuple[int, int]]] = {}

    def observe(self, batch: EventBatch, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        for change in self.inventory.observe(batch, scene):
            if change.claim.attribute in IDENTITY and not change.claim.component.startswith(UNCERTAIN):
                self._changed(change, batch, scene)
        for notice in scene.slow:
            if notice.message.protocol == "profinet_dcp":
                self._shared(notice, scene)
        yield from self._say(scene, final=False)

    def flush(self, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        return self._say(scene, final=True)

    def take_over(self, before: AssetChanged) -> None:
        """Compare with what another run learned."""
        self.inventory, self._stations = before.inventory, before._stations
        self.inventory.begin("")

    def _say(self, scene: Scene, *, final: bool) -> Iterator[Finding]:
        for problem in self._problems.values():
            if problem.open and (final or problem.due(scene.now_ns)):
                yield problem.record(scene.now_ns, {})

    def _problem(self, rule: str, scene: Scene, key: tuple[str, ...], **who: Any) -> Problem | None:
        problem = self._problems.get(key)
        if problem is None and len(self._problems) < MAX_PROBLEMS:
            problem = self._problems[key] = Problem(self._rules[rule], scene.exhibit(), **who)
        return problem

    def _changed(self, change: Change, batch: EventBatch, scene: Scene) -> None:
        """Count that a device says something else."""
        claim, address = change.claim, change.asset.key.address
        fields = {"asset.attribute": claim.attribute}
        if claim.component:
            fields["asset.component"] = claim.component
        key = ("changed", *change.asset.key, claim.component, claim.attribute)
        problem = self._problem(
            "asset.changed", scene, key, protocol=change.proof.protocol, source_ip=address, fields=fields
        )
        if problem is None:
            return
        if claim.attribute in FIRMWARE:
            problem.techniques = TECHNIQUES[1:] if claim.component else TECHNIQUES[:1]
        words = ATTRIBUTES[claim.attribute]
        before, after = safe(change.before.claim.value), safe(claim.value)
        problem.values = {
            "seen": Text(f"{words.zh}由“{before}”变为“{after}”", f"its {words.en} was “{before}” and is “{after}”"),
            "other": claim.component or None,
        }
        problem.add(1, change.proof.ts_ns, change.proof.ts_ns)
        scene.show_frame(problem.exhibit, change.before.proof.frame)
        if change.notice is not None:
            scene.show_notice(problem.exhibit, change.notice)
        else:
            scene.show(problem.exhibit, batch, [change.row])

    def _shared(self, notice: Notice, scene: Scene) -> None:
        """Count that a station claims what another one claims, and both are there."""
        message = notice.message
        fields = message.fields
        if not fields.get("dcp.response") and fields.get("dcp.service_name") != "hello":
            return
        for field in ("dcp.name_of_station", "dcp.ip"):
            value = str(fields.get(field, ""))
            if not value or value == "0.0.0.0":  # noqa: S104
                continue
            key = (field, str(message.vlan), value)
            if key not in self._stations and len(self._stations) >= MAX_STATIONS:
                return
            claimants = self._stations.setdefault(key, {})
            if message.source_mac not in claimants and len(claimants) >= MAX_CLAIMANTS:
                continue
            first_ns, _ = claimants.get(message.source_mac, (notice.first_ns, 0))
            claimants[message.source_mac] = first_ns, notice.last_ns
            older = [mac for mac, (begun_ns, _) in claimants.items() if begun_ns < first_ns]
            newer = [mac for mac, (begun_ns, _) in claimants.items() if first_ns <= begun_ns < notice.last_ns]
            newer = [mac for mac in newer if mac != message.source_mac]
            speaking = [mac for mac in older if claimants[mac][1] > first_ns]
            if not newer and not speaking:
                continue
            one, other = (message.source_mac, newer[0]) if newer else (speaking[0], message.source_mac)
            problem = self._problem(
                "asset.shared", scene, key, protocol="profinet_dcp", source_ip=other,
                destination_ip=one, fields={field: value},
            )  # fmt: skip
            if problem is not None:
                problem.values = {"examples": value, "other": ", ".join(claimants)}
                problem.add(notice.count, notice.first_ns, notice.last_ns)
                scene.show_notice(problem.exhibit, notice)
