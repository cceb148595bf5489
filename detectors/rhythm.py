"""Rhythm: who used to speak regularly and has fallen silent. Three claims that people treat differently:

- a device is silent: it is asked as before and answers nothing (an exception in which a gateway says so is no answer);
- a talker is silent: its requests, or a publisher's reports, stop while other traffic goes on;
- the sensor was blind: nothing at all came in. Then nothing is claimed of devices and talkers.

Rhythm is what behaviours show that repeat themselves evenly, for at least FLOOR_NS; what people or events drive has
none, and of it nothing is said. An approved baseline's periods count from the start, and who has one there and never
speaks is told too. A talker whose rhythm was known for a short time only may just have ended its work: that is a hint,
and of low severity. The end of a capture is no silence. In a capture silences come out at its end, each with begin and
length; on a live link when they are noticed, and once more when they end. Costs a stable sort of 16-bit numbers and
some ten operations on columns a batch. Blind to rhythms slower than a tenth of what is watched. Techniques: T0815,
T0804.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from detectors import knowledge
from detectors.baseline.book import Baseline, State, Way
from detectors.contract import Fresh, Labels, Scene, ends, station_of
from detectors.finding import Confidence, Finding, Text, rfc3339
from detectors.keys import Keys
from detectors.passes import ANSWER, ASK, REPORT, undisturbed
from detectors.problem import Problem
from detectors.wording import listed
from sensor.decode.pdu import Kind, Outcome, Protocol, family
from sensor.events import EventBatch
from sensor.protocols.modbus_tables import EXCEPTIONS
from sensor.view import View

FLOOR_NS = 60 * 10**9  # no shorter silence is claimed
TIMES = 5  # periods that must be missed
LEARNED_NS = 600 * 10**9  # a rhythm known for less, or for less than the silence lasts, is a hint that a talker stopped
UNENDED = 2  # times as long must a silence be that lasts to the end of a capture: the plan may just have changed
REGULAR_COUNT = 10  # repetitions that make a rhythm
REGULAR_JITTER = 0.5  # standard deviation over mean that it may have
MAX_PAIRS = 4096  # askers and devices followed; of a flood beyond nothing is claimed, which is told once
MAX_EACH = 16  # behaviours of one lane that are looked at for a rhythm
MAX_FOLLOWED = 8192  # behaviours of all lanes
MAX_SILENCES = 4096  # held until the end of a capture
PAIR = ("client", "server", "protocol", "station")
GATEWAY_SILENT = [code for code, name in EXCEPTIONS.items() if name.startswith("gateway")]


class _Sums(NamedTuple):
    """Times between events, ns: how many, their sum and that of their squares."""

    number: int = 0
    total: float = 0.0
    squares: float = 0.0

    def more(self, gaps: npt.NDArray[np.float64]) -> _Sums:
        """With further ones."""
        return _Sums(self.number + len(gaps), self.total + float(gaps.sum()), self.squares + float((gaps**2).sum()))

    def less(self, other: _Sums) -> _Sums:
        """Without those."""
        return _Sums(self.number - other.number, self.total - other.total, self.squares - other.squares)

    @property
    def mean(self) -> float:
        """Mean, 0 of none."""
        return self.total / self.number if self.number > 0 else 0.0

    @property
    def deviation(self) -> float:
        """Standard deviation."""
        return max(self.squares / self.number - self.mean**2, 0.0) ** 0.5 if self.number > 0 else 0.0


@dataclass(slots=True)
class _Pair:
    """Who asks whom. row: a behaviour of theirs. period_ns: that of an approved baseline, by lane."""

    client: int
    server: int
    row: int
    period_ns: list[float]


@dataclass(slots=True)
class _Silence:
    """A lane that was silent. end_ns: None while it is."""

    pair: int
    lane: int
    begin_ns: int
    end_ns: int | None
    period_ns: float
    frame: int = 0
    known_ns: float = 0.0  # how long the rhythm was there

    def until(self, now_ns: int) -> int:
        """Its end, or now."""
        return now_ns if self.end_ns is None else self.end_ns

    def overlaps(self, other: _Silence, now_ns: int) -> bool:
        """Whether half of this one lies within the other."""
        begin, end = max(self.begin_ns, other.begin_ns), min(self.until(now_ns), other.until(now_ns))
        return 2 * (end - begin) >= self.until(now_ns) - self.begin_ns


class Rhythm:
    """See the module. watched: whether something else tells of a blind sensor (detectors/capture_health.py)."""

    name = "rhythm"

    def __init__(self, baseline: Baseline | None = None, *, watched: bool = False) -> None:
        self._rules = knowledge.detector_rules()
        self._watched = watched
        self._fresh = Fresh()
        self._lane_of = Labels()
        self._pairs: list[_Pair] = []
        self._index: dict[tuple[int, ...], int] = {}
        self._last = np.full(3 * MAX_PAIRS, -1, np.int64)  # by lane: time of its last event
        self._asked = np.zeros(MAX_PAIRS, np.int64)  # by pair: requests so far
        self._asked_then = np.zeros(MAX_PAIRS, np.int64)  # the same after the batch with its last answer
        self._answered = np.zeros(MAX_PAIRS, np.bool_)  # scratch: pairs with an answer in the batch
        self._judged = np.zeros(3 * MAX_PAIRS, np.bool_)  # lanes whose present silence was looked at
        self._keys = Keys(len(PAIR))
        self._behaviours: dict[int, list[int]] = {}  # by lane
        self._room = np.full(3 * MAX_PAIRS, MAX_EACH, np.int8)  # by lane: how many more are followed
        self._place: dict[int, int] = {}  # behaviours that are followed: where each stands in the columns of _before
        self._rows = np.zeros(0, np.int64)
        self._before: tuple[npt.NDArray[Any], ...] = (self._rows,) * 4  # count, sums and last time before a batch
        self._removed: dict[int, _Sums] = {}  # long gaps that are no part of a rhythm
        self._silences: list[_Silence] = []
        self._open: dict[int, tuple[Problem, _Silence]] = {}  # told on a live link, by lane
        self._expected = _expected(baseline) if baseline else {}
        self._left_out, self._confessed = 0, False  # behaviours of pairs for which there was no room

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        live = scene.clock_ns >= 0
        self._learn(scene.view)
        closed = self._gaps(batch, scene) if batch.size else []
        said = self._confess(scene)
        if not live:
            self._silences += closed[: MAX_SILENCES - len(self._silences)]
            return said
        return [*said, *self._ended(closed), *self._begun(scene)]

    def flush(self, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        if scene.clock_ns >= 0:
            return
        found = [*self._silences, *self._idle(scene, scene.now_ns, UNENDED)]
        for problem, silence in self._said(scene, found):
            yield self._record(problem, silence, scene.now_ns)
        yield from self._never(scene)

    def _learn(self, view: View) -> None:
        """Put behaviours that are new into their lanes."""
        table = view.behaviours.table
        new = self._fresh.rows(table)
        if not len(new):
            return
        b = table.take(new)
        role = np.full(len(new), -1, np.int64)
        role[(b["outcome"] == Outcome.ASKED) & (b["kind"] == Kind.REQUEST)] = ASK
        modbus = (b["protocol"] == Protocol.MODBUS) | (b["protocol"] == Protocol.MODBUS_RTU)
        speaks_for_another = modbus & (b["outcome"] == Outcome.REFUSED) & np.isin(b["status"], GATEWAY_SILENT)
        role[((b["outcome"] == Outcome.ANSWERED) | (b["outcome"] == Outcome.REFUSED)) & ~speaks_for_another] = ANSWER
        role[b["outcome"] == Outcome.UNSOLICITED] = REPORT
        in_lane = role >= 0
        rows, role, b = new[in_lane], role[in_lane], b.compress(in_lane)
        if not len(rows):
            return
        keys = self._keys.of([b[name] for name in PAIR])
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        whose = zip(*(b[name][first].tolist() for name in PAIR), strict=True)
        numbers = [self._number(view, key, row) for key, row in zip(whose, rows[first].tolist(), strict=True)]
        pairs = np.array(numbers)[inverse]
        self._left_out += int((pairs < 0).sum())
        lanes = np.where(pairs >= 0, 3 * pairs + role, -1)
        self._lane_of[rows] = lanes
        wanted = np.flatnonzero((lanes >= 0) & (self._room[lanes] > 0))
        for lane, row in zip(lanes[wanted].tolist(), rows[wanted].tolist(), strict=True):
            if self._room[lane] and len(self._place) < MAX_FOLLOWED:
                self._room[lane] -= 1
                self._behaviours.setdefault(lane, []).append(row)
                self._place[row] = len(self._place)

    def _number(self, view: View, key: tuple[int, ...], row: int) -> int:
        """Number of the pair that a behaviour belongs to, -1 where there is no room for it."""
        if key not in self._index:
            if len(self._pairs) >= MAX_PAIRS:
                return -1
            self._index[key] = len(self._pairs)
            self._pairs.append(self._pair(view, row))
        return self._index[key]

    def _confess(self, scene: Scene) -> list[Finding]:
        """Once, that there are more pairs than are followed."""
        if not self._left_out or self._confessed:
            return []
        self._confessed = True
        problem = Problem(self._rules["rhythm.left-out"], scene.exhibit(), protocol="")
        now_ns = max(scene.now_ns, 0)
        problem.add(1, now_ns, now_ns)
        return [problem.record(now_ns, {"distinct": MAX_PAIRS})]

    def _pair(self, view: View, row: int) -> _Pair:
        b = view.behaviours.table[row]
        periods = [0.0, 0.0, 0.0]
        if self._expected:
            who = view.host(int(b.client)), view.host(int(b.server)), family(int(b.protocol)), int(b.station)
            for lane, way in ((ASK, Way.ASKS), (REPORT, Way.REPORTS)):
                periods[lane] = self._expected.pop((*who, way), 0.0)
            periods[ANSWER] = periods[ASK]
        return _Pair(int(b.client), int(b.server), row, periods)

    def _gaps(self, batch: EventBatch, scene: Scene) -> list[_Silence]:
        """Silences that end in this batch."""
        columns = batch.columns
        if self._undisturbed(batch):
            self._keep(scene.view)
            return []
        lane = self._lane_of[columns.behaviour].astype(np.int16)  # is sorted by its digits
        order = np.argsort(lane, kind="stable")
        order = order[np.searchsorted(lane[order], 0) :]  # what is in no lane stands first
        if not len(order):
            return []
        lanes, times = lane[order].astype(np.int64), columns.ts_ns[order]
        begins = np.flatnonzero(np.concatenate([[True], lanes[1:] != lanes[:-1]]))
        before = np.concatenate([times[:1], times[:-1]])
        before[begins] = np.where(self._last[lanes[begins]] >= 0, self._last[lanes[begins]], times[begins])
        found = []
        removed: dict[int, _Sums] = {}
        for at in np.flatnonzero(times - before > FLOOR_NS).tolist():
            here, begin_ns, end_ns = int(lanes[at]), int(before[at]), int(times[at])
            period_ns, known_ns = self._period(scene.view, here, batch, removed)
            if end_ns - begin_ns <= max(TIMES * period_ns, FLOOR_NS) or not period_ns:
                continue
            asked = self._asked_during(batch, here // 3, begin_ns, end_ns)
            if here % 3 != ANSWER or asked >= 2:
                frame = int(columns.frame[order[at]])
                found.append(_Silence(here // 3, here % 3, begin_ns, end_ns, period_ns, frame, known_ns))
        self._removed |= removed
        self._remember(scene.view, lanes, times, begins)
        return found

    def _remember(
        self, view: View, lanes: npt.NDArray[np.int64], times: npt.NDArray[np.int64], begins: npt.NDArray[np.int64]
    ) -> None:
        """Bring the lanes of a batch up to date. begins: where each lane's events begin."""
        here = lanes[begins]
        last = times[np.concatenate([begins[1:], [len(lanes)]]) - 1]
        self._last[here] = np.maximum(self._last[here], last)
        self._judged[here] = False
        count = np.diff(np.concatenate([begins, [len(lanes)]]))
        asks = here % 3 == ASK
        self._asked[here[asks] // 3] += count[asks]
        answers = here[here % 3 == ANSWER] // 3
        self._asked_then[answers] = self._asked[answers]
        self._keep(view)

    def _undisturbed(self, batch: EventBatch) -> bool:
        """Whether no lane was silent for FLOOR_NS before or in a batch, as nearly always; then they are up to date."""
        columns, answered = batch.columns, self._answered[: len(self._pairs)]
        quiet: bool = undisturbed(
            columns.behaviour, columns.ts_ns, self._lane_of.inverted, FLOOR_NS,
            self._last, self._judged, self._asked, self._asked_then, answered,
        )  # fmt: skip
        return quiet

    def _keep(self, view: View) -> None:
        """Remember the sums of behaviours as they stand after this batch."""
        if len(self._rows) < len(self._place):
            self._rows = np.array(list(self._place), np.int64)
        table = view.behaviours.table.view(np.ndarray)  # columns of a recarray take ten times as long to get
        self._before = tuple(table[name][self._rows] for name in ("count", "gap_sum", "gap_squares", "last_ns"))

    def _asked_during(self, batch: EventBatch | None, pair: int, begin_ns: int, end_ns: int) -> int:
        """Requests of a pair without an answer between two times, as far as they were counted."""
        asked = int(self._asked[pair] - self._asked_then[pair])
        if batch is not None and batch.size:
            lane = self._lane_of[batch.columns.behaviour]
            times = batch.columns.ts_ns
            asked += int(((lane == 3 * pair + ASK) & (times > begin_ns) & (times < end_ns)).sum())
        return asked

    def _period(
        self, view: View, lane: int, batch: EventBatch | None, removed: dict[int, _Sums]
    ) -> tuple[float, float]:
        """(mean time between the repetitions of the fastest even behaviour of a lane, how long it was even), ns.

        (0, 0) where none is even; a rhythm of the baseline is known for ever.
        """
        rhythms = [self._rhythm(view, row, batch, removed) for row in self._behaviours.get(lane, ())]
        rhythms.append((self._pairs[lane // 3].period_ns[lane % 3], inf))
        known_ns = max((known_ns for period_ns, known_ns in rhythms if period_ns), default=0.0)
        return min((period_ns for period_ns, _ in rhythms if period_ns), default=0.0), known_ns

    def _rhythm(self, view: View, row: int, batch: EventBatch | None, removed: dict[int, _Sums]) -> tuple[float, float]:
        """(period, length) of one behaviour without its long gaps, zeros where it has none.

        removed: takes those gaps of the batch.
        """
        out = self._removed.get(row, _Sums())
        if batch is None:
            b = view.behaviours.table[row]
            sums = _Sums(int(b.count) - 1, float(b.gap_sum), float(b.gap_squares))
        else:
            events, total, squares, last_ns = self._earlier(row)
            sums = _Sums(max(events - 1, 0), total, squares)
            times = batch.columns.ts_ns[batch.columns.behaviour == row]
            gaps = np.diff(np.concatenate([[last_ns], times]) if events else times).astype(np.float64)
            usual = float(np.median(gaps)) if len(gaps) >= REGULAR_COUNT else sums.less(out).mean
            long = gaps > max(FLOOR_NS, TIMES * usual)
            sums, out = sums.more(gaps), out.more(gaps[long])
            removed[row] = out
        clean = sums.less(out)
        if clean.number < REGULAR_COUNT or clean.total < FLOOR_NS or clean.deviation > REGULAR_JITTER * clean.mean:
            return 0.0, 0.0
        return clean.mean, clean.total

    def _earlier(self, row: int) -> tuple[int, float, float, int]:
        """Count, sums and last time of a behaviour before this batch."""
        at = self._place[row]
        if at >= len(self._before[0]):
            return 0, 0.0, 0.0, -1
        count, total, squares, last_ns = (column[at].item() for column in self._before)
        return count, total, squares, last_ns

    def _idle(self, scene: Scene, now_ns: int, times: int = 1) -> list[_Silence]:
        """Lanes that are silent now and were not looked at since they fell silent."""
        used = 3 * len(self._pairs)
        last = self._last[:used]
        found = []
        for lane in np.flatnonzero((last >= 0) & (now_ns - last > FLOOR_NS) & ~self._judged[:used]).tolist():
            period_ns, known_ns = self._period(scene.view, lane, None, {})
            begin_ns = int(last[lane])
            if not period_ns:
                self._judged[lane] = True  # until it speaks again
                continue
            if now_ns - begin_ns <= times * max(TIMES * period_ns, FLOOR_NS):
                continue
            self._judged[lane] = True
            if lane % 3 != ANSWER or self._asked_during(None, lane // 3, begin_ns, now_ns) >= 2:
                found.append(_Silence(lane // 3, lane % 3, begin_ns, None, period_ns, known_ns=known_ns))
        return found

    def _begun(self, scene: Scene) -> Iterator[Finding]:
        """Silences that are noticed now, on a live link."""
        if scene.darkness.now(scene.now_ns):
            return  # the sensor is blind: nothing can be said of others
        for problem, silence in self._said(scene, self._idle(scene, scene.now_ns)):
            yield self._record(problem, silence, scene.now_ns)
            if len(self._open) < MAX_SILENCES:
                self._open[3 * silence.pair + silence.lane] = problem, silence
        if self._expected:
            yield from self._never(scene)

    def _ended(self, closed: Sequence[_Silence]) -> Iterator[Finding]:
        """Silences that were told and are over."""
        for silence in closed:
            told = self._open.pop(3 * silence.pair + silence.lane, None)
            if told is None:
                continue
            before = told[0]
            problem = Problem(self._rules["rhythm.recovered"], before.exhibit, **before.who)
            problem.values = before.values
            yield self._record(problem, silence, silence.until(0))

    def _said(self, scene: Scene, found: Sequence[_Silence]) -> Iterator[tuple[Problem, _Silence]]:
        """What is to be claimed of silences: each once, for who is silent rather than for each of his partners."""
        now_ns = scene.now_ns
        dark: dict[tuple[int, int], list[_Silence]] = {}
        rest: list[_Silence] = []
        for it in sorted(found, key=lambda it: (it.begin_ns, it.lane)):
            length_ns, span = scene.darkness.within(it.begin_ns, it.until(now_ns), now_ns)
            least_ns = max(TIMES * it.period_ns, FLOOR_NS)
            if it.until(now_ns) - it.begin_ns - length_ns > least_ns:
                rest.append(it)
            elif span[1] - span[0] > least_ns:
                dark.setdefault(span, []).append(it)
        if not self._watched:
            for (begin_ns, end_ns), silences in dark.items():
                problem = Problem(self._rules["rhythm.sensor-blind"], scene.exhibit(), protocol="")
                problem.values = {"count": len({it.pair for it in silences})}
                yield problem, _Silence(-1, ASK, begin_ns, end_ns, silences[0].period_ns, silences[0].frame)
        talkers = [it for it in rest if it.lane != ANSWER]
        devices = [it for it in rest if it.lane == ANSWER and not any(
            it.pair == other.pair and it.overlaps(other, now_ns) for other in talkers)]  # fmt: skip
        for it, partners in _together(devices, lambda it: self._pairs[it.pair].server, now_ns):
            yield self._problem(scene, "rhythm.device-silent", it, partners, by_server=True), it
        for it, partners in _together(talkers, self._speaker, now_ns):
            yield self._problem(scene, "rhythm.talker-silent", it, partners, by_server=False), it

    def _speaker(self, it: _Silence) -> int:
        """Who does not speak: the asker, or the publisher."""
        pair = self._pairs[it.pair]
        return pair.server if it.lane == REPORT else pair.client

    def _problem(
        self, scene: Scene, rule: str, it: _Silence, partners: Sequence[_Silence], *, by_server: bool
    ) -> Problem:
        pair = self._pairs[it.pair]
        fields = scene.view.behaviours.describe(pair.row)
        b = scene.view.behaviours.table[pair.row]
        who = ends(fields)
        others = sorted({self._pairs[other.pair].client if by_server or other.lane == REPORT
                         else self._pairs[other.pair].server for other in partners})  # fmt: skip
        names = [scene.view.host(host) for host in others]
        if it.lane == REPORT:
            who["source_ip"], who["destination_ip"], who["destination_port"] = (
                who["destination_ip"], who["source_ip"], None,
            )  # fmt: skip
        if len(names) > 1:
            who["source_ip" if by_server else "destination_ip"] = ""
        stations = {int(scene.view.behaviours.table[self._pairs[other.pair].row].station) for other in partners}
        problem = Problem(
            self._rules[rule], scene.exhibit(), protocol=fields["network.protocol"], **who,
            station=station_of(int(b.protocol), int(b.station)) if len(stations) == 1 else None,
        )  # fmt: skip
        problem.values = {"other": listed(names)}
        return problem

    def _record(self, problem: Problem, it: _Silence, now_ns: int) -> Finding:
        until = it.until(now_ns)
        if it.end_ns is None:
            ended = Text("至今未恢复", "it goes on")
        else:
            ended = Text(f"{rfc3339(until)} 恢复", f"it ended at {rfc3339(until)}")
        problem.add(1, it.begin_ns, until)
        if it.frame:
            problem.exhibit.add(it.frame)
        length = f"{(until - it.begin_ns) / 1e9:.0f}"
        values = {
            "since": rfc3339(it.begin_ns),
            "seconds": length,
            "state": ended,
            "period": f"{it.period_ns / 1e9:.3g}",
        }
        said = problem.record(now_ns, values)
        if said.rule_id == "rhythm.talker-silent" and it.known_ns < max(LEARNED_NS, until - it.begin_ns):
            said = dataclasses.replace(said, confidence=Confidence.HINT)
        return said

    def _never(self, scene: Scene) -> Iterator[Finding]:
        """Who has a period in the baseline and was not heard at all: said once, together."""
        span_ns = scene.now_ns - scene.start_ns
        due = [who for who, period_ns in self._expected.items() if span_ns > max(TIMES * period_ns, FLOOR_NS)]
        if scene.start_ns < 0 or not due:
            return
        pairs = dict.fromkeys(
            f"{server} -> {client}" if way is Way.REPORTS else f"{client} -> {server}"
            for client, server, _, _, way in due
        )
        problem = Problem(self._rules["rhythm.absent"], scene.exhibit(), protocol="")
        problem.add(len(due), scene.start_ns, scene.now_ns)
        values = {"since": rfc3339(scene.start_ns), "seconds": str(span_ns // 10**9), "examples": listed(list(pairs))}
        self._expected = {who: period for who, period in self._expected.items() if who not in due}
        yield problem.record(scene.now_ns, values)


def _together(
    silences: Sequence[_Silence], who: Callable[[_Silence], int], now_ns: int
) -> Iterator[tuple[_Silence, list[_Silence]]]:
    """Silences of the same host at the same time: (the longest, all of them)."""
    rest = list(silences)
    while rest:
        first = rest[0]
        same = [
            it for it in rest if who(it) == who(first) and (it.overlaps(first, now_ns) or first.overlaps(it, now_ns))
        ]
        rest = [it for it in rest if it not in same]
        yield max(same, key=lambda it: it.until(now_ns) - it.begin_ns), same


def _expected(baseline: Baseline) -> dict[tuple[str, str, Protocol, int, Way], float]:
    """Periods of approved lines by who asks whom: the shortest, ns."""
    found: dict[tuple[str, str, Protocol, int, Way], float] = {}
    for line in baseline.exchanges.values():
        if line.state is State.APPROVED and line.period_s:
            key = (line.client, line.server, line.protocol, line.station, line.way)
            found[key] = min(found.get(key, float("inf")), line.period_s * 1e9)
    return found
