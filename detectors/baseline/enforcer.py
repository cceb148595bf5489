"""Comparing traffic with a baseline: hosts, talkers, roles, functions, objects, values, hardware addresses not in it.

The baseline becomes tables when a run begins (detectors/baseline/tables.py). A behaviour is compared once, when new,
by columns; it is described only where its codes do not say enough. Afterwards what is not normal is counted by columns.
Blind to a known host that does known things at the wrong time (rhythm sees that), and to answers: what a device answers
belongs to what was asked. Techniques: T0848, T0855, T0836, T0830 where they apply.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors import knowledge
from detectors.baseline.book import Baseline, ExchangeLine, HostLine, State
from detectors.baseline.extents import Extent, Extents, written
from detectors.baseline.identify import Identifier, Identity, column_extent
from detectors.baseline.macs import Neighbours, mac_text
from detectors.baseline.tables import Rows, Tables, Types
from detectors.baseline.values import ValueRanges
from detectors.contract import Fresh, Labels, Scene, alike, ends, station_of
from detectors.finding import Finding, Severity, Text, rfc3339
from detectors.knowledge import NOTHING
from detectors.problem import Problem, station_words
from detectors.roles import COMMANDING, Roles
from detectors.wording import listed
from sensor.decode.pdu import family
from sensor.events import EventBatch

MAX_PROBLEMS = 2048  # pairs of hosts told apart; a flood beyond is one problem for each claim
MAX_NEW_TYPES = 16_384  # kinds of exchanges outside the baseline judged one by one; a flood beyond is one problem
MAX_NAMED = 32  # functions or objects named for one problem
# Severity of what is not in the baseline: of commands, of all else.
SEVERITIES = {
    "baseline.role": (Severity.HIGH, Severity.MEDIUM),
    "baseline.new-host": (Severity.HIGH, Severity.MEDIUM),
    "baseline.new-talker": (Severity.HIGH, Severity.MEDIUM),
    "baseline.new-function": (Severity.MEDIUM, Severity.LOW),
    "baseline.new-object": (Severity.MEDIUM, Severity.LOW),
    "baseline.not-approved": (Severity.MEDIUM, Severity.LOW),
    "baseline.refused": (Severity.HIGH, Severity.MEDIUM),
}


class _Deviation:
    """Everything of one kind between two hosts that is not in the baseline."""

    def __init__(self, problem: Problem, expected: Text) -> None:
        self.problem, self.expected = problem, expected
        self.severity = Severity.INFORMATIONAL
        self.observed: dict[Text, None] = {}
        self.more = 0

    def note(self, what: Text, severity: Severity) -> None:
        """Name something that was observed."""
        self.severity = max(self.severity, severity)
        if what in self.observed:
            return
        if len(self.observed) < MAX_NAMED:
            self.observed[what] = None
        else:
            self.more += 1

    def said(self) -> Text:
        """What was observed, in words."""
        return Text(
            listed([it.zh for it in self.observed], self.more), listed([it.en for it in self.observed], self.more)
        )


class Enforcer:
    """See the module."""

    name = "baseline"

    def __init__(self, baseline: Baseline) -> None:
        self._rules = knowledge.detector_rules()
        self._tables = Tables(baseline)
        self._host_lines = {it.address: it for it in baseline.hosts.values()}
        self._identifier = Identifier()
        self._roles = Roles()
        self._neighbours = Neighbours()
        self._fresh = Fresh()
        self._label = Labels()  # by behaviour: number of its deviation
        self._ranges = ValueRanges()
        self._deviations: list[_Deviation] = []
        self._index: dict[tuple[object, ...], int] = {}
        self._judged = 0

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        self._compare(scene)
        self._addresses(batch, scene)
        self._values(batch, scene)
        if not self._deviations:
            return ()
        label = self._label[batch.columns.behaviour]
        rows = np.flatnonzero(label >= 0)
        for same in alike([label[rows]]):
            mine = rows[same]
            it = self._deviations[int(label[mine[0]])]
            times = batch.columns.ts_ns[mine]
            it.problem.add(len(mine), int(times.min()), int(times.max()))
            scene.show(it.problem.exhibit, batch, mine.tolist())
        return self._say(scene, final=False)

    def flush(self, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        return self._say(scene, final=True)

    def _compare(self, scene: Scene) -> None:
        """Look at behaviours that are new."""
        view = scene.view
        new = self._fresh.rows(view.behaviours.table)
        if not len(new):
            return
        types = self._tables.types(view, new)
        if types is None:
            return
        strange = np.flatnonzero(~types.known)
        room = max(MAX_NEW_TYPES - self._judged, 0)
        self._judged += min(len(strange), room)
        label = np.full(len(types.known), -1, np.int32)
        for number in strange[:room].tolist():
            label[number] = self._stranger(scene, types, number)
        for number in np.flatnonzero(types.known).tolist():
            self._known(scene, types, number)
        if len(strange) > room:
            label[strange[room:]] = self._flood(scene)
        outside = label[types.number] >= 0
        self._label[types.rows[outside]] = label[types.number[outside]]

    def _stranger(self, scene: Scene, types: Types, number: int) -> int:
        """The deviation that a kind of exchange without a line belongs to."""
        row = int(types.rows[types.first[number]])
        b = scene.view.behaviours.table[row]
        client, server = int(types.client[number]), int(types.server[number])
        lines = self._tables.between(client, server, b) if client >= 0 and server >= 0 else []
        known = listed(self._tables.askers(server)) if server >= 0 else ""
        device = scene.view.host(int(b.server))
        asked_by = Text(f"只有 {known} 访问 {device}", f"{device} is asked by {known} only") if known else NOTHING
        approved = self._tables.approved
        if client not in approved or server not in approved:
            rule = "baseline.new-host"
            here = scene.view.host(int(b.server if client in approved else b.client))
            expected = Text(f"{here} 不在基线的主机之中", f"{here} is not among the baseline's hosts")
            if asked_by.en:
                expected = Text(f"{expected.zh}；{asked_by.zh}", f"{expected.en}; {asked_by.en}")
        elif self._tables.only_asked(client):
            rule = "baseline.role"
            askers = listed(self._tables.askers(client))
            expected = Text(f"它只被 {askers} 访问，自己从不发起请求", f"it is only asked, by {askers}, and never asks")
        elif not lines:
            rule, expected = "baseline.new-talker", asked_by
        else:
            rule = "baseline.new-function"
            expected = _all(lines)
        identity = self._identity(scene, row)
        # A known pair's new function is told apart by station; of strangers one problem says everything.
        station = station_of(int(b.protocol), int(b.station)) if rule == "baseline.new-function" else None
        at = self._deviation(scene, rule, row, expected, station)
        place = None if station is not None else station_words(family(int(b.protocol)).name.lower(), _station(b))
        self._note(scene, at, rule, row, identity, _placed(self._request(scene, row, identity), place))
        return at

    def _known(self, scene: Scene, types: Types, number: int) -> None:
        """Compare the behaviours of a kind of exchange with its lines: operation, decision, objects."""
        view = scene.view
        rows = types.members(number)
        b = view.behaviours.table[int(rows[0])]
        lines = self._tables.lines(int(types.client[number]), int(types.server[number]), b)
        if self._identifier.ranged(view.behaviours.table, rows).all():
            name, line = self._line(lines, self._identity(scene, int(rows[0])))
            if line is not None and line.state is State.APPROVED:
                inside = _inside(view.behaviours.table.take(rows), line.objects)
                self._ranges.hold(rows[inside], line)
                if not inside.all():
                    self._objects(scene, rows[~inside], line)
                return
        for row in rows.tolist():
            identity = self._identity(scene, row)
            name, line = self._line(lines, identity)
            at = -1
            if line is None and identity.described:
                at = self._deviation(scene, "baseline.new-function", row, _all([it for _, it in lines]), _station(b))
                self._note(
                    scene, at, "baseline.new-function", row, identity, _same(self._request(scene, row, identity))
                )
            elif line is not None and line.state is not State.APPROVED:
                at = self._undecided(scene, row, identity, name, line)
            else:
                outside = [it for it in identity.extents if line is None or not line.objects.covers(it)]
                if outside or not identity.described:
                    self._objects(scene, np.array([row]), line or lines[0][1], outside)
                elif line is not None:
                    self._ranges.hold(np.array([row]), line)
                continue
            self._label[row] = at

    def _line(self, lines: list[tuple[str, ExchangeLine]], identity: Identity) -> tuple[str, ExchangeLine | None]:
        """The line of a request among those with its codes."""
        for name, line in lines:
            if line.operation == identity.operation:
                return name, line
        return "", None

    def _undecided(self, scene: Scene, row: int, identity: Identity, name: str, line: ExchangeLine) -> int:
        """The deviation of a request whose line nobody approved, or somebody refused."""
        if line.state is State.REFUSED:
            rule = "baseline.refused"
            expected = Text(f"{line.by} 已拒绝这一行：{line.reason}", f"{line.by} refused this line: {line.reason}")
        else:
            rule = "baseline.not-approved"
            since = rfc3339(line.first_ns)
            often = "once" if line.count == 1 else f"{line.count} times"
            expected = Text(
                f"学习期间见过 {line.count} 次（首次 {since}），尚未批准",
                f"seen {often} while learning, first at {since}, and not approved",
            )
        at = self._deviation(
            scene, rule, row, expected, _station(scene.view.behaviours.table[row]), {"baseline.line": name}
        )
        self._note(scene, at, rule, row, identity, _same(self._request(scene, row, identity)))
        return at

    def _objects(self, scene: Scene, rows: Rows, line: ExchangeLine, outside: list[Extent] | None = None) -> None:
        """Requests of a known kind on objects that its line does not cover."""
        row = int(rows[0])
        words = listed(line.objects.words())
        expected = Text(f"{line.name} 只涉及 {words}", f"{line.name} on {words} only")
        at = self._deviation(scene, "baseline.new-object", row, expected, _station(scene.view.behaviours.table[row]))
        identity = self._identity(scene, row)
        for other in rows[:MAX_NAMED].tolist():
            extents = [column_extent(scene.view.behaviours.table[other])] if outside is None else outside
            shown = listed([written(it) for it in extents]) if extents else "…"
            self._note(scene, at, "baseline.new-object", row, identity, _same(f"{identity.name} {shown}"))
        self._deviations[at].more += max(len(rows) - MAX_NAMED, 0)
        self._label[rows] = at

    def _values(self, batch: EventBatch, scene: Scene) -> None:
        """Values outside the range of their line."""
        columns = batch.columns
        for line, rows, far in self._ranges.outside(batch):
            low, high = line.values or (0, 0)
            row = int(columns.behaviour[rows[0]])
            expected = Text(f"{line.name} 的数值 {low} 至 {high}", f"{line.name} with values {low} to {high}")
            station = _station(scene.view.behaviours.table[row])
            it = self._deviations[self._deviation(scene, "baseline.new-value", row, expected, station)]
            for behaviour, value in zip(columns.behaviour[rows], columns.value[rows].tolist(), strict=True):
                request = self._request(scene, int(behaviour), self._identity(scene, int(behaviour)))
                it.note(_same(f"{request} = {value}"), Severity.MEDIUM if far else Severity.LOW)
                if it.more:
                    break
            it.problem.add(len(rows), int(columns.ts_ns[rows].min()), int(columns.ts_ns[rows].max()))
            scene.show(it.problem.exhibit, batch, rows.tolist())

    def _identity(self, scene: Scene, row: int) -> Identity:
        return self._identifier.identity(scene.view, row, scene.matcher)

    def _request(self, scene: Scene, row: int, identity: Identity) -> str:
        """A request in a few words."""
        table = scene.view.behaviours.table
        ranged = self._identifier.ranged(table, np.array([row]))[0]
        extents = (column_extent(table[row]),) if ranged else identity.extents
        return f"{identity.name} {listed([written(it) for it in extents])}".strip()

    def _note(self, scene: Scene, at: int, rule: str, row: int, identity: Identity, what: Text) -> None:
        commands = identity.commands if identity.described else self._roles.verb(scene.view, row) in COMMANDING
        self._deviations[at].note(what, SEVERITIES[rule][0 if commands else 1])

    def _deviation(
        self,
        scene: Scene,
        rule: str,
        row: int,
        expected: Text,
        station: int | None,
        fields: dict[str, Any] | None = None,
    ) -> int:
        """Number of the deviation of this kind between the ends of a behaviour."""
        b = scene.view.behaviours.table[row]
        key: tuple[object, ...] = (
            rule, int(b.client), int(b.server), family(int(b.protocol)), station, *(fields or {}).values(),
        )  # fmt: skip
        if key not in self._index and len(self._index) >= MAX_PROBLEMS:
            return self._flood(scene, rule)
        if key not in self._index:
            described = scene.view.behaviours.describe(row)
            problem = Problem(
                self._rules[rule], scene.exhibit(), protocol=described["network.protocol"], **ends(described),
                station=station, fields=fields or {},
            )  # fmt: skip
            self._index[key] = self._add(_Deviation(problem, expected))
        return self._index[key]

    def _flood(self, scene: Scene, rule: str = "baseline.new-talker") -> int:
        """The one deviation of everything beyond the caps."""
        key = (rule,)
        if key not in self._index:
            problem = Problem(self._rules[rule], scene.exhibit(), protocol="")
            it = _Deviation(problem, Text("远多于基线的内容", "far more than the baseline holds"))
            it.severity = Severity.MEDIUM
            self._index[key] = self._add(it)
        return self._index[key]

    def _add(self, it: _Deviation) -> int:
        self._deviations.append(it)
        return len(self._deviations) - 1

    def _addresses(self, batch: EventBatch, scene: Scene) -> None:
        """Compare hardware addresses that are new with those of the baseline."""
        for host, mac, frame, ts_ns in self._neighbours.look(batch, scene):
            address = scene.view.host(host)
            line = self._host_lines.get(address)
            if line is not None and line.macs and mac_text(mac) not in line.macs:
                self._changed(scene, "baseline.mac-changed", address, mac, frame, ts_ns, line)
            elif line is None:
                owners = [it for it in self._host_lines.values() if it.macs == [mac_text(mac)]]
                if len(owners) == 1:  # a router's stands behind many
                    self._changed(scene, "baseline.address-changed", address, mac, frame, ts_ns, owners[0])

    def _changed(self, scene: Scene, rule: str, address: str, mac: int, frame: int, ts_ns: int, line: HostLine) -> None:
        key = (rule, address, mac)
        if key in self._index or len(self._index) >= MAX_PROBLEMS:
            return
        problem = Problem(
            self._rules[rule], scene.exhibit(), protocol="", source_ip=address, fields={"source.mac": mac_text(mac)}
        )
        expected = listed(line.macs) if rule == "baseline.mac-changed" else line.address
        it = _Deviation(problem, Text(expected, expected))
        it.note(_same(mac_text(mac)), self._rules[rule].severity)
        problem.add(1, ts_ns, ts_ns)
        scene.show_frame(problem.exhibit, frame)
        self._index[key] = self._add(it)

    def _say(self, scene: Scene, *, final: bool) -> Iterator[Finding]:
        for it in self._deviations:
            if it.problem.open and (final or it.problem.due(scene.now_ns)):
                values = {
                    "expected": it.expected if it.expected.en else None,
                    "observed": it.said(),
                    "first_seen": rfc3339(it.problem.began_ns or 0),
                }
                yield it.problem.record(scene.now_ns, values, severity=it.severity)


def _station(b: Any) -> int | None:
    return station_of(int(b.protocol), int(b.station))


def _same(words: str) -> Text:
    """Names of protocols are the same in both languages."""
    return Text(words, words)


def _placed(words: str, station: Text | None) -> Text:
    """Words and the device behind the address."""
    return Text(f"{words}（{station.zh}）", f"{words} ({station.en})") if station else _same(words)


def _all(lines: Sequence[ExchangeLine]) -> Text:
    """Lines in a few words."""
    said = [
        _placed(it.name, station_words(it.protocol.name.lower(), station_of(it.protocol, it.station))) for it in lines
    ]
    said = list(dict.fromkeys(said))
    return Text(listed([it.zh for it in said]), listed([it.en for it in said]))


def _inside(behaviours: npt.NDArray[np.void], objects: Extents) -> npt.NDArray[np.bool_]:
    """Which requests lie wholly in the ranges of a line, whose objects stand in columns."""
    ranges = np.array(objects.ranges(), np.int64).reshape(-1, 2)
    first = behaviours["object"]
    last = first + np.maximum(behaviours["quantity"], 1) - 1
    if objects.wide:
        return np.ones(len(behaviours), np.bool_)
    if not len(ranges):
        return np.zeros(len(behaviours), np.bool_)
    at = np.searchsorted(ranges[:, 0], first, side="right") - 1
    inside: npt.NDArray[np.bool_] = (at >= 0) & (last <= ranges[np.maximum(at, 0), 1])
    return inside
