"""View: what can be asked about a run. Readable, at full depth; runs for display, and once for each new behaviour."""

from __future__ import annotations

import collections
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple
from typing import Protocol as Interface

import numpy as np
import numpy.typing as npt

from sensor.behaviours import BEHAVIOUR
from sensor.decode.link import MAC48
from sensor.decode.packet import Tunnel
from sensor.decode.pdu import Anomaly, Kind, Outcome, Protocol
from sensor.events import EventBatch
from sensor.protocols import bacnet, dnp3, enip, goose, iec104, mms, modbus, modbus_rtu, opcua, s7comm, s7comm_plus
from sensor.text import timestamp

MAX_HELD = 1 << 12  # conversations that are copied so that the first pass may go on: 1 MB for each batch
MAX_SAMPLES = 1 << 16  # PDUs kept to explain behaviours; a flood of distinct ones keeps its narrow rows only

Fields = dict[str, Any]

ETHERNET = "ethernet"
TRANSPORTS: dict[int, str] = {0: ETHERNET, 6: "tcp", 17: "udp"}


class Explain(Interface):
    """The readable half of a protocol file."""

    def __call__(self, pdu: bytes, kind: Kind, request: bytes | None = None) -> Fields: ...


EXPLAINERS: dict[int, tuple[str, Explain]] = {
    Protocol.MODBUS: ("modbus", modbus.explain),
    Protocol.S7COMM: ("s7comm", s7comm.explain),
    Protocol.DNP3: ("dnp3", dnp3.explain),
    Protocol.MODBUS_RTU: ("modbus", modbus_rtu.explain),
    Protocol.IEC104: ("iec104", iec104.explain),
    Protocol.ENIP: ("enip", enip.explain),
    Protocol.OPCUA: ("opcua", opcua.explain),
    Protocol.BACNET: ("bacnet", bacnet.explain),
    Protocol.MMS: ("mms", mms.explain),
    Protocol.GOOSE: ("goose", goose.explain),
    Protocol.S7COMM_PLUS: ("s7comm_plus", s7comm_plus.explain),
}


class Conversation(NamedTuple):
    """Two transport endpoints; a is who opened the connection, as far as the capture shows."""

    ip_a: str
    port_a: int
    ip_b: str
    port_b: int
    transport: str  # "tcp", "udp" or "ethernet"
    vlan: int | None
    tunnel: str | None = None  # name of packet.Tunnel in small letters, where something carries it
    segment: int | None = None  # network identifier of that tunnel

    def network(self) -> Fields:
        """Where in the network it was seen, as far as frames say."""
        fields: Fields = {
            "network.vlan.id": self.vlan,
            "network.tunnel.type": self.tunnel,
            "network.tunnel.id": self.segment,
        }
        return {name: value for name, value in fields.items() if value is not None}


_names = list(BEHAVIOUR.names or ())
_ROW: Any = collections.namedtuple("_ROW", _names)  # type: ignore[misc]  # ten times as fast to ask as a record


class Behaviours:
    """The distinct exchanges of the run; `table` has one BEHAVIOUR row for each (sensor/behaviours.py)."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._rows: npt.NDArray[np.void] = view.state.behaviours
        self._count: npt.NDArray[np.int64] = view.state.settled["behaviours"]
        self._described: dict[int, Fields] = {}
        self._columns: dict[str, npt.NDArray[Any]] = {}

    def __len__(self) -> int:
        return int(self._count[0])

    @property
    def table(self) -> npt.NDArray[np.void]:
        """(n,) BEHAVIOUR: counts, times and value ranges as they stand now."""
        return self._rows[: len(self)]

    def column(self, name: str) -> npt.NDArray[Any]:
        """One column of the table that never changes (who, codes, outcome, first_ns), side by side: fast to search."""
        known = self._columns.get(name)
        if known is None or len(known) != len(self):
            known = self._columns[name] = np.ascontiguousarray(self.table[name])
        return known

    def describe(self, row: int) -> Fields:
        """Who asks what of whom: endpoints of the asker and the asked, and the fields of its first PDU.

        Where the request is known its fields win over the response's, so that a refusal names what was refused.
        """
        if row not in self._described:
            if len(self._described) >= MAX_SAMPLES:
                self._described.clear()
            self._described[row] = self._describe(row)
        return self._described[row]

    def _describe(self, row: int) -> Fields:
        view, table = self._view, self.table
        b: Any = _ROW(*table[row].item())
        asked = int(b.asked)
        name, _ = EXPLAINERS[int(b.protocol)]
        c = view.conversation(int(b.conversation))
        client, server = view.host(int(b.client)), view.host(int(b.server))
        at_a = c.ip_b == server  # the asked end is b
        fields: Fields = _ends(client, server, c.transport)
        if c.transport != ETHERNET:
            fields["destination.port"] = c.port_b if at_a else c.port_a
        fields |= {
            "network.transport": c.transport,
            "network.protocol": name,
            "event.kind": Kind(int(b.kind)).name.lower(),
            "event.outcome": Outcome(int(b.outcome)).name.lower(),
        }
        fields |= c.network()
        if b.outcome != Outcome.UNANSWERED:
            fields |= view.explain(int(b.protocol), Kind(int(b.kind)), view.sample(row), view.sample(asked))
        if asked >= 0:
            fields |= view.explain(int(b.protocol), Kind.REQUEST, view.sample(asked), None)
        if b.protocol == Protocol.DNP3 and b.station >= 0:
            fields |= _link(int(b.station), request=True)
        return fields


class Held(NamedTuple):
    """What the first pass writes and others ask for: see the properties of View."""

    conversations: npt.NDArray[np.void]
    parked: npt.NDArray[np.uint8]
    hosts: int
    begun: int
    recycled: int
    counters: tuple[int, ...]


class View:
    """Answers questions about a run while it goes on. Rows and numbers stay valid to its end."""

    def __init__(self, state: npt.NDArray[np.void]) -> None:
        self.state = state[0]
        # Asked of the record each takes 4 us each time.
        self._table: npt.NDArray[np.void] = self.state.conversations
        self._parked: npt.NDArray[np.uint8] = self.state.sides["parked"]
        self._hosts_table: npt.NDArray[np.void] = self.state.hosts
        self._used: npt.NDArray[np.void] = self.state.used
        self._rows: npt.NDArray[np.int64] = self._used["conversations"]
        self._held: Held | None = None
        self.behaviours = Behaviours(self)
        self._samples: dict[int, bytes] = {}
        self._known = 0
        self._conversations: dict[int, Conversation] = {}
        self._hosts: dict[int, str] = {}

    def learn(self, batch: EventBatch) -> None:
        """Keep the first PDU of each behaviour that is new in this batch."""
        known, self._known = self._known, len(self.behaviours)
        if known == self._known or len(self._samples) >= MAX_SAMPLES:
            return
        column = batch.columns.behaviour
        rows = np.flatnonzero(column >= known)
        new, first = np.unique(column[rows], return_index=True)
        for behaviour, row in zip(new.tolist(), rows[first].tolist(), strict=True):
            if len(self._samples) < MAX_SAMPLES:
                self._samples[behaviour] = batch.pdu(row)

    def sample(self, behaviour: int) -> bytes | None:
        """The bytes of a behaviour's first PDU, where they were kept."""
        return self._samples.get(behaviour)

    def host(self, row: int) -> str:
        """An address of the host table as text."""
        if row not in self._hosts:
            if len(self._hosts) >= MAX_SAMPLES:
                self._hosts.clear()
            self._hosts[row] = self._host(row)
        return self._hosts[row]

    def _host(self, row: int) -> str:
        h = self.state.hosts[row]
        if h.family == MAC48:
            return int(h.lo).to_bytes(6, "big").hex(":")
        if h.family == 4:
            return str(IPv4Address(int(h.lo) & 0xFFFFFFFF))
        return str(IPv6Address((int(h.hi) << 64) | int(h.lo)))

    def conversation(self, row: int) -> Conversation:
        """A row of the conversation table."""
        if row not in self._conversations:
            if len(self._conversations) >= MAX_SAMPLES:
                self._conversations.clear()
            c = self.state.conversations[row]
            self._conversations[row] = Conversation(
                self.host(int(c.a_host)),
                int(c.a_port),
                self.host(int(c.b_host)),
                int(c.b_port),
                TRANSPORTS[int(c.transport)],
                int(c.vlan) if c.vlan >= 0 else None,
                Tunnel(int(c.tunnel)).name.lower() if c.tunnel else None,
                int(c.segment) if c.segment >= 0 else None,
            )
        return self._conversations[row]

    def forget_conversations(self) -> None:
        """Rows of the conversation table stand for others now: see sensor/decode/recycle.py."""
        self._conversations.clear()

    def held(self) -> Held | None:
        """What stands now, for those who look while the first pass goes on; None where that is too much to copy."""
        rows = int(self._rows[0])
        if rows > MAX_HELD:
            return None
        return Held(
            self._table[:rows].copy(),
            self._parked[: 2 * rows].copy(),
            self._number("hosts"),
            self._number("begun"),
            self._number("recycled"),
            self.state.counters[0].item(),
        )

    def show(self, held: Held | None) -> None:
        """Let everybody see this; None: what stands."""
        self._held = held

    def _number(self, name: str) -> int:
        return int(self._used[name][0])

    @property
    def recycled(self) -> int:
        """How often rows of the conversation table were freed, to be used again under another `number`."""
        return self._held.recycled if self._held else self._number("recycled")

    @property
    def begun(self) -> int:
        """How many conversations began, over the whole run."""
        return self._held.begun if self._held else self._number("begun")

    @property
    def hosts(self) -> npt.NDArray[np.void]:
        """(n,) HOST rows: addresses, in the order in which they were met."""
        return self._hosts_table[: self._held.hosts if self._held else self._number("hosts")]

    @property
    def conversations(self) -> npt.NDArray[np.void]:
        """(n,) CONVERSATION rows: messages, garbage and losses of each (sensor/decode/state.py)."""
        return self._held.conversations if self._held else self._table[: int(self._rows[0])]

    @property
    def parked(self) -> npt.NDArray[np.uint8]:
        """(2 n,) segments that wait behind a gap, of what endpoints a and b of each conversation send."""
        return self._held.parked if self._held else self._parked[: 2 * int(self._rows[0])]

    def counters(self) -> dict[str, int]:
        """What happened to the frames so far."""
        counters, settled = self.state.counters, self.state.settled[0]
        names = ("behaviours_refused", "waiting_retired", "unanswered")
        first_pass = self._held.counters if self._held else counters[0].item()
        return dict(zip(counters.dtype.names or (), first_pass, strict=True)) | {
            name: int(settled[name]) for name in names
        }

    def explain(self, protocol: int, kind: Kind, pdu: bytes | None, request: bytes | None) -> Fields:
        """A PDU at full depth; nothing where its bytes were not kept."""
        return {} if pdu is None else EXPLAINERS[protocol][1](pdu, kind, request)

    def fields(self, batch: EventBatch, row: int) -> Fields:
        """Everything about one event, as `fenghuo decode` prints it: names of sensor/schema.py."""
        c = batch.columns
        talk = self.conversation(int(c.conversation[row]))
        here, there = (talk.ip_a, talk.port_a), (talk.ip_b, talk.port_b)
        source, destination = (here, there) if c.forward[row] else (there, here)
        protocol, kind = int(c.protocol[row]), Kind(int(c.kind[row]))
        fields: Fields = {
            "@timestamp": timestamp(int(c.ts_ns[row])),
            "frame": int(c.frame[row]),
            **_sides(source, destination, talk.transport),
            "network.transport": talk.transport,
            "network.protocol": EXPLAINERS[protocol][0],
            "event.kind": kind.name.lower(),
            "event.outcome": Outcome(int(c.outcome[row])).name.lower(),
        }
        fields |= talk.network()
        if c.request[row] >= 0:
            fields["request.frame"] = int(c.request_frame[row])
            fields["event.duration"] = int(c.latency_ns[row])
        if protocol == Protocol.DNP3 and c.station[row] >= 0:
            fields |= _link(int(c.station[row]), request=kind == Kind.REQUEST)
        details = self.explain(protocol, kind, batch.pdu(row), self._request(batch, row))
        bits = {bit.name.lower() for bit in Anomaly(int(c.anomalies[row])) if bit.name}
        anomalies = sorted(bits.union(details.pop("anomalies", ())))
        if anomalies:
            fields["anomalies"] = anomalies
        return fields | details

    def _request(self, batch: EventBatch, row: int) -> bytes | None:
        """The request's PDU: itself where it is in this batch, otherwise the first of its behaviour."""
        number = int(batch.columns.request[row])
        if number < 0:
            return None
        if number >= batch.first:
            return batch.pdu(number - batch.first)
        return self.sample(int(batch.columns.asked[row]))


def _ends(source: str, destination: str, transport: str) -> Fields:
    """The two addresses: hardware addresses where the message stands straight on Ethernet."""
    kind = "mac" if transport == ETHERNET else "ip"
    return {f"source.{kind}": source, f"destination.{kind}": destination}


def _sides(source: tuple[str, int], destination: tuple[str, int], transport: str) -> Fields:
    """The two addresses with their ports, each beside its own."""
    if transport == ETHERNET:
        return _ends(source[0], destination[0], transport)
    return {
        "source.ip": source[0],
        "source.port": source[1],
        "destination.ip": destination[0],
        "destination.port": destination[1],
    }


def _link(station: int, *, request: bool) -> Fields:
    """DNP3 link addresses out of the station column (asker << 16 | asked)."""
    asker, asked = station >> 16, station & 0xFFFF
    source, destination = (asker, asked) if request else (asked, asker)
    return {"dnp3.link.source": source, "dnp3.link.destination": destination}
