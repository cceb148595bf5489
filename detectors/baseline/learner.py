"""Learning a baseline: what was asked and granted, between whom, on which objects, in which rhythm.

Only what succeeded is learned: what was answered, a request that by its nature has no answer, a report. What
was refused, left unanswered or read in contradicting ways is not. Requests of dangerous classes are put into lines of
their own that need an approval of their own. Works on the behaviour table when the traffic has ended, and before that
looks only at the hardware addresses of frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from detectors.baseline.book import MAX_LINES, Baseline, ExchangeLine, HostLine, Way
from detectors.baseline.identify import Identifier, column_extent
from detectors.baseline.macs import Neighbours
from detectors.contract import Scene
from detectors.finding import Finding
from sensor.decode.pdu import NO_VALUE, Anomaly, Kind, Outcome, Protocol, family
from sensor.events import EventBatch
from sensor.view import View

REGULAR_COUNT = 10  # fewer times show no rhythm
REGULAR_JITTER = 0.5  # standard deviation over mean, above which there is none
UNDECIDED_NS = 2 * 10**9  # a request so shortly before the end may still have been answered
SHORTEST_NS = 10**6  # a quicker repetition is a burst
DNP3_WITHOUT_ANSWER = [0, 6, 8, 10, 12]  # confirm, and the functions "no acknowledgement" (IEEE 1815, 4.4)


class Learner:
    """A detector that finds nothing and learns. give: takes what was learned when the traffic has ended.

    source: where it comes from, for the lines' evidence.
    """

    name = "learner"

    def __init__(self, give: Callable[[Baseline], None], source: str = "") -> None:
        self._give, self._source = give, source
        self._neighbours = Neighbours()

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        self._neighbours.look(batch, scene)
        return ()

    def flush(self, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        self._give(self.learned(scene))
        return ()

    def learned(self, scene: Scene) -> Baseline:
        """What was learned up to now."""
        baseline = Baseline()
        if self._source:
            baseline.sources.append(self._source)
        baseline.first_ns, baseline.last_ns = max(scene.start_ns, 0), max(scene.now_ns, 0)
        view = scene.view
        identifier = Identifier()
        rows, successes = successful(view, scene.now_ns)
        for row, count in zip(rows[:MAX_LINES].tolist(), successes[:MAX_LINES].tolist(), strict=True):
            self._exchange(baseline, scene, identifier, row, count)
        baseline.left_out += max(len(rows) - MAX_LINES, 0) + identifier.skipped
        for host, macs in self._neighbours.known().items():
            line = HostLine(address=view.host(host), macs=macs)
            if any(line.address in (it.client, it.server) for it in baseline.exchanges.values()):
                baseline.put(line)
        return baseline

    def _exchange(self, baseline: Baseline, scene: Scene, identifier: Identifier, row: int, count: int) -> None:
        view = scene.view
        b = view.behaviours.table[row]
        identity = identifier.identity(view, row, scene.matcher)
        if not identity.described:
            return
        client, server = view.host(int(b.client)), view.host(int(b.server))
        evidence = [f"{self._source} frame {int(b.first_frame)}".strip()]
        first_ns, last_ns = int(b.first_ns), int(b.last_ns)
        line = ExchangeLine(
            client=client,
            server=server,
            protocol=family(int(b.protocol)),
            station=int(b.station),
            way=Way.REPORTS if b.outcome == Outcome.UNSOLICITED else Way.ASKS,
            function=int(b.function),
            subfunction=int(b.subfunction),
            name=identity.name,
            operation=identity.operation,
            kind=identity.kind,
        )
        line.seen(count, first_ns, last_ns, evidence)
        line.objects.add(identity.extents)
        if identifier.ranged(view.behaviours.table, np.array([row]))[0]:
            line.objects.add([column_extent(b)])
        if identity.commands and b.value_min != NO_VALUE:
            line.values = (int(b.value_min), int(b.value_max))
        line.period_s, line.jitter_s = rhythm(int(b.count), float(b.gap_sum), float(b.gap_squares))
        baseline.put(line)
        for address, asks in ((client, line.way is Way.ASKS), (server, False)):
            host = HostLine(address=address, asks=asks, asked=address == server)
            host.seen(count, first_ns, last_ns, evidence)
            baseline.put(host)


def rhythm(count: int, gap_sum: float, gap_squares: float) -> tuple[float, float]:
    """(mean, standard deviation) in seconds of the times between events, (0, 0) where they have no rhythm."""
    if count < REGULAR_COUNT:
        return 0.0, 0.0
    mean = gap_sum / (count - 1)
    deviation = max(gap_squares / (count - 1) - mean * mean, 0.0) ** 0.5
    if mean < SHORTEST_NS or deviation > REGULAR_JITTER * mean:
        return 0.0, 0.0
    return mean / 1e9, deviation / 1e9


def successful(view: View, now_ns: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(rows of requests and reports that succeeded, how often each did)."""
    table = view.behaviours.table
    outcome, asked = table["outcome"], table["asked"]
    sound = (table["anomalies"] & np.uint32(Anomaly.OVERLAP)) == 0  # not read in contradicting ways
    known = asked >= 0
    times = np.zeros((3, len(table)), np.int64)  # answered, refused, unanswered
    for at, value in enumerate((Outcome.ANSWERED, Outcome.REFUSED, Outcome.UNANSWERED)):
        mine = known & (outcome == value)
        np.add.at(times[at], asked[mine], table["count"][mine])
    requests = (outcome == Outcome.ASKED) & (table["kind"] == Kind.REQUEST)
    by_nature = requests & (times.sum(axis=0) == 0)
    decided = (table["last_ns"] < now_ns - UNDECIDED_NS) | (table["count"] > 1)
    by_nature &= decided | ((table["protocol"] == Protocol.DNP3) & np.isin(table["function"], DNP3_WITHOUT_ANSWER))
    reports = outcome == Outcome.UNSOLICITED
    granted = requests & (times[0] > 0)
    rows = np.flatnonzero(sound & (granted | by_nature | reports))
    successes = np.where(granted[rows], times[0][rows], table["count"][rows])
    return rows.astype(np.int64), successes
