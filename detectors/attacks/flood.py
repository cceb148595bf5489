"""Floods: far more messages a second than a device is made for, or than there used to be.

Catches (`flood.messages`) one kind of message from one host to another that comes so often for so long that it is no
control any more: limits for writes and commands of each protocol, to all stations behind an address together; DNP3
requests and reports at any rate that its one request at a time does not allow; anything else when it is ten times its
own past of a minute or more. Catches (`flood.connections`) connections opened faster than any client does. Tells peak
and length. Blind to floods that carry no message and open no connection, and to one that is slow enough. Counts by
columns. Technique: T0814.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from detectors.attacks.cases import Cases, carried
from detectors.attacks.talks import FreshTalks, called
from detectors.contract import Fresh, Labels, Scene, alike, ends, station_of
from detectors.finding import Finding, Text
from detectors.keys import distinct
from detectors.passes import labelled, tally
from detectors.roles import COMMANDING, WORDS, Roles
from sensor.decode.packet import TCP
from sensor.decode.pdu import Kind, Outcome, Protocol, family
from sensor.events import EventBatch
from sensor.operations import Verb

HOT = 20  # a second: what is slower is no flood
RISE = 3  # times the average so far: less is no reason to look closer at what is judged by its past
LONG_S = 10  # a burst that ends sooner is a transfer or a start
# Messages a second, for so many seconds.
MOST_DNP3 = 20, LONG_S  # of anything
MOST_IEC104 = 50, LONG_S  # commands
MOST_COMMANDS = 100, 15  # of Modbus, S7 and BACnet: fast cyclic writers stay below
AT_ONCE = 30  # DNP3 requests within a second that have no answer at all
TIMES_THE_PAST = 10
PAST_S = 60
PAUSE_S = 2  # seconds without a hot one that end a run
MAX_STREAMS = 2048  # kinds of message between two hosts; more at one time are counted as one that is not judged
MAX_KEYS = 8 * MAX_STREAMS  # stations told apart to know which streams they belong to
MAX_CELLS = 1 << 18  # seconds times streams counted at once; a batch that spans more is slow
CONNECTIONS = 200  # begun by one host to one port of another within ten seconds
SPAN_NS = 10 * 10**9
SECOND = 10**9
CONFIRM = 0  # DNP3 function: as many of them as reports, which count


class _Run:
    """Hot seconds of one stream, one after the other."""

    def __init__(self) -> None:
        self.begin = self.last = -1
        self.count = self.peak = self.told = 0

    def add(self, second: int, count: int) -> None:
        if self.last < 0 or not 0 <= second - self.last <= PAUSE_S:
            self.begin, self.count, self.peak, self.told = second, 0, 0, 0
        self.last = second
        self.count += count
        self.peak = max(self.peak, count)


class Flood:
    """See the module."""

    name = "flood"

    def __init__(self) -> None:
        self._fresh, self._talks = Fresh(), FreshTalks()
        self._roles = Roles()
        self._stream_of = Labels()
        self._streams: dict[tuple[int, ...], int] = {}
        self._sample: list[int] = []  # a behaviour of each stream
        self._station: list[int] = []  # of each stream, -1 where there are several
        self._commands: dict[tuple[int, ...], int] = {}  # streams to all stations behind an address
        self._limit_of: dict[tuple[int, ...], tuple[int, int]] = {}  # by codes
        self._limit: list[tuple[int, int]] = []  # messages a second and seconds that make a flood; (0, 0): by the past
        self._runs: dict[int, _Run] = {}
        self._total = np.zeros(MAX_STREAMS, np.int64)
        self._absolute = np.zeros(MAX_STREAMS, np.bool_)  # judged without its past, or told already
        self._first = np.full(MAX_STREAMS, -1, np.int64)  # second of the first message
        self._second = -1  # that `_now` counts
        self._now = np.zeros(MAX_STREAMS, np.int64)
        self._begun: dict[tuple[int, int, int], list[int]] = {}
        self._cases = Cases()

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        self._learn(scene)
        if batch.size and self._sample:
            self._count(batch, scene)
        self._connections(scene)
        return self._cases.say(scene, final=False)

    def flush(self, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        if self._second >= 0:
            self._hot(scene, np.array([self._second]), self._now[None, : len(self._sample)])
        self._connections(scene)
        return self._cases.say(scene, final=True)

    def _learn(self, scene: Scene) -> None:
        """Give behaviours that are new their stream."""
        table = scene.view.behaviours.table
        new = self._fresh.rows(table)
        if not len(new):
            return
        outcome = table["outcome"][new]
        new = new[(outcome == Outcome.ASKED) | (outcome == Outcome.UNSOLICITED)]
        b = table.take(new)
        confirms = (b["protocol"] == Protocol.DNP3) & (b["kind"] == Kind.REQUEST) & (b["function"] == CONFIRM)
        new = new[(b["protocol"] != Protocol.GOOSE) & ~confirms]
        b = table.take(new)
        if not len(new):
            return
        group = np.where(b["protocol"] == Protocol.DNP3, b["object"] >> 8, -1)
        columns = [b["client"], b["server"], b["protocol"], b["station"], b["function"], b["subfunction"], group]
        groups = list(alike(columns))
        first = np.array([same[0] for same in groups])
        keys = zip(*(column[first].tolist() for column in columns), strict=True)
        asked = (b["outcome"][first] == Outcome.ASKED).tolist()
        for key, same, request in zip(keys, groups, asked, strict=True):
            number = self._streams.get(key)
            if number is None:
                row = int(new[same[0]])
                number = self._stream(key, self._limits(scene, (request, key[2], *key[4:]), row), row)
                if number < 0:
                    continue
            self._stream_of[new[same]] = number

    def _stream(self, key: tuple[int, ...], limit: tuple[int, int], row: int) -> int:
        """Number of the stream of a new key, -1 where there is no room for it. row: a behaviour of it."""
        client, server, protocol, station, *rest = key
        together = (client, server, protocol, *rest)
        number = self._commands.get(together, -1) if limit == MOST_COMMANDS else -1
        if number >= 0:  # whoever floods a gateway may spread it over all that stand behind it
            if self._station[number] != station:
                self._station[number] = -1
            if len(self._streams) < MAX_KEYS:
                self._streams[key] = number
            return number
        if len(self._sample) >= MAX_STREAMS:
            return -1
        number = self._streams[key] = len(self._sample)
        if limit == MOST_COMMANDS:
            self._commands[together] = number
        self._sample.append(row)
        self._station.append(station)
        self._limit.append(limit)
        self._absolute[number] = limit[0] > 0
        return number

    def _limits(self, scene: Scene, codes: tuple[int, ...], row: int) -> tuple[int, int]:
        """What makes a flood of messages with these codes (is a request, protocol, function, ...); row: one of them."""
        if codes not in self._limit_of:
            request, protocol = codes[0], family(codes[1])
            limit = 0, 0
            if protocol == Protocol.DNP3:
                limit = MOST_DNP3
            elif request and self._roles.verb(scene.view, row) in COMMANDING:
                if protocol == Protocol.IEC104:
                    limit = MOST_IEC104
                elif protocol in (Protocol.MODBUS, Protocol.S7COMM, Protocol.BACNET):
                    limit = MOST_COMMANDS
            self._limit_of[codes] = limit
        return self._limit_of[codes]

    def _count(self, batch: EventBatch, scene: Scene) -> None:
        """Messages of each stream in each second."""
        behaviour, ts_ns, streams = batch.columns.behaviour, batch.columns.ts_ns, len(self._sample)
        count, begin, end = labelled(behaviour, ts_ns, self._stream_of.inverted)
        if not count:
            return
        begin, end = int(begin) // SECOND, int(end) // SECOND
        dense = (end - begin + 1) * streams <= MAX_CELLS
        if dense:
            flat = np.zeros((end - begin + 1) * streams, np.int64)
            tally(behaviour, ts_ns, self._stream_of.inverted, begin * SECOND, SECOND, streams, flat)
            cells = flat.reshape(-1, streams)
            at = np.arange(begin, end + 1)
        else:  # a slow batch: only what is hot within it counts
            label = self._stream_of[behaviour]
            mine = np.flatnonzero(label >= 0)
            stream, seconds = label[mine].astype(np.int64), ts_ns[mine] // SECOND
            pairs, counts = np.unique(np.stack([seconds, stream], 1), axis=0, return_counts=True)
            at, place = np.unique(pairs[counts >= HOT, 0], return_inverse=True)
            cells = np.zeros((len(at) + 1, streams), np.int64)
            cells[place.reshape(-1), pairs[counts >= HOT, 1]] = counts[counts >= HOT]
            at = np.append(at, end + 1)
        totals = cells.sum(axis=0) if dense else np.bincount(stream, minlength=streams)
        fresh = (self._first[:streams] < 0) & (totals > 0)
        self._first[:streams][fresh] = begin
        self._total[:streams] += totals
        if self._second >= 0:
            if at[0] == self._second:
                cells[0] += self._now[:streams]
            else:
                self._hot(scene, np.array([self._second]), self._now[None, :streams])
        self._hot(scene, at[:-1], cells[:-1])
        self._second = int(at[-1])
        self._now[:streams] = cells[-1]

    def _hot(self, scene: Scene, at: npt.NDArray[np.int64], cells: npt.NDArray[np.int64]) -> None:
        """Follow the seconds in which a stream had many messages."""
        if not len(at):
            return
        streams = cells.shape[1]
        average = self._total[:streams] / np.maximum(at[-1] - self._first[:streams] + 1, 1)
        least = np.where(self._absolute[:streams], HOT, np.maximum(RISE * average, HOT))
        for row, stream in np.argwhere(cells >= least).tolist():
            second, count = int(at[row]), int(cells[row, stream])
            run = self._runs.setdefault(stream, _Run())
            run.add(second, count)
            if self._flooded(scene, stream, run):
                self._tell(scene, stream, run)

    def _flooded(self, scene: Scene, stream: int, run: _Run) -> bool:
        if run.told:
            return True
        length = run.last - run.begin + 1
        most, long = self._limit[stream]
        if most and run.count >= most * max(length, 1) and length >= long:
            return True
        if run.peak >= AT_ONCE and self._limit[stream] == MOST_DNP3:
            b = scene.view.behaviours.table[self._sample[stream]]
            if b.kind == Kind.REQUEST and self._unanswered(scene, stream):
                return True
        past_s = run.begin - int(self._first[stream])
        past = int(self._total[stream]) - run.count
        if length < LONG_S or past_s < PAST_S or int(self._first[stream]) < 0 or past <= 0:
            return False
        return run.count / length >= TIMES_THE_PAST * max(past / past_s, 1.0)

    def _unanswered(self, scene: Scene, stream: int) -> bool:
        """Whether nothing at all answers the requests of a stream."""
        table = scene.view.behaviours.table
        b = table[self._sample[stream]]
        same = (table["client"] == b.client) & (table["server"] == b.server) & (table["station"] == b.station)
        answered = same & np.isin(table["outcome"], (Outcome.ANSWERED, Outcome.REFUSED))
        return not answered.any()

    def _tell(self, scene: Scene, stream: int, run: _Run) -> None:
        row = self._sample[stream]
        view = scene.view
        b = view.behaviours.table[row]
        fields = view.behaviours.describe(row)
        who = ends(fields)
        if b.outcome == Outcome.UNSOLICITED:
            who = {"source_ip": who["destination_ip"], "destination_ip": who["source_ip"]}
        protocol = family(int(b.protocol))
        case = self._cases.case(
            scene,
            "flood.messages",
            stream,
            protocol=protocol.name.lower(),
            **who,
            station=station_of(int(b.protocol), self._station[stream]),
            fields={"event.action": fields["event.action"]} if "event.action" in fields else {},
        )
        peak = max(run.peak, case.values.get("peak", 0))
        case.values = {
            "peak": peak,
            "seconds": run.last - run.begin + 1,
            "operation": _said(fields.get("event.action")),
        }
        case.problem.add(run.count - run.told, run.begin * SECOND, (run.last + 1) * SECOND)
        run.told = run.count
        self._absolute[stream] = True
        for frame in (int(b.first_frame), int(b.last_frame)):
            scene.show_frame(case.problem.exhibit, frame, ({"frame": frame, **fields},))

    def _connections(self, scene: Scene) -> None:
        """Connections that were begun since the last look."""
        new = self._talks.rows(scene.view, scene.now_ns)
        if not len(new):
            return
        talks = scene.view.conversations.take(new)
        new, talks = new[talks["transport"] == TCP], talks[talks["transport"] == TCP]
        who = called(talks)
        for same in alike([who.asked, who.port]) if len(new) else ():
            key = (int(who.asked[same[0]]), int(who.port[same[0]]), 0)
            if key not in self._begun and len(self._begun) >= MAX_STREAMS:
                continue
            latest = np.sort(talks["first_ns"][same])[-CONNECTIONS:].tolist()
            times = self._begun[key] = [*self._begun.get(key, ()), *latest][-CONNECTIONS:]
            if len(times) < CONNECTIONS or times[-1] - times[0] > SPAN_NS:
                continue
            askers = distinct(who.asker[same])
            source = scene.view.host(int(askers[0])) if len(askers) == 1 else ""
            case = self._cases.case(
                scene, "flood.connections", (key, source), protocol=carried(talks[same[0]]), source_ip=source,
                destination_ip=scene.view.host(key[0]), destination_port=key[1],
            )  # fmt: skip
            rate = round(CONNECTIONS * SECOND / max(times[-1] - times[0], SECOND // 1000))
            case.values = {"peak": max(rate, case.values.get("peak", 0))}
            known = case.problem.total > 0
            case.problem.add(len(same) if known else max(len(same), CONNECTIONS), times[0], times[-1])
            for row in new[same[-50:]].tolist():
                scene.show_frame(case.problem.exhibit, int(scene.view.conversations["first_frame"][row]))


def _said(action: object) -> Text | None:
    """A verb as a word for people; None where it is not known."""
    words = {**WORDS, Verb.READ: ("读取", "read"), Verb.REPORT: ("上报", "report")}
    zh, en = next((said for verb, said in words.items() if verb == action), ("", ""))
    return Text(zh, en) if zh else None
