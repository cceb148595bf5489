"""Files out of FTP, TFTP and HTTP: protocols that the decoder does not read, on a network where they carry firmware,
programs and the tools of intruders.

Frames are looked at only while a conversation on one of their ports goes on (a look into the conversation table tells);
then those of the wanted ports are picked out with numpy, and only they are read in Python. Data connections and TFTP
answers use ports that the control traffic names: these are wanted as long as a transfer is due.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from detectors.carving.artifact import Artifact
from detectors.carving.assembly import Assemblies, Transfer
from detectors.carving.ftp import Control, Expected
from detectors.carving.http import Body, Half
from detectors.carving.select import TCP, Packet, packets, rows_with_ports
from detectors.carving.tcp import Direction
from detectors.contract import Scene
from detectors.wording import safe
from sensor.capture.frames import FrameBatch

FTP, TFTP, HTTP = 21, 69, (80, 8080)
PORTS = (20, FTP, TFTP, *HTTP)
MAX_FLOWS = 512  # connections followed at one time
MAX_EXPECTED = 256  # data connections agreed on
MAX_PACKETS = 1 << 14  # of one batch of frames: what is more passes by, and is told
QUIET_NS = 60 * 10**9  # without a packet of a wanted conversation nothing is looked at any more
SMALLEST_BODY = 16  # octets of an HTTP body worth keeping
ROUNDS = 256  # ports that the packets of one batch may name: each costs another look for it
_ASK, _WRITE, _DATA, _ERROR, _OPTIONS = 1, 2, 3, 5, 6  # TFTP opcodes, RFC 1350, RFC 2347

Flow = tuple[str, int, str, int]


class _Connection:
    """A TCP connection that is followed; a opened it as far as is known."""

    def __init__(self, client: Flow) -> None:
        self.client = client
        self.directions = {True: Direction(), False: Direction()}
        self.control: Control | None = None
        self.halves: dict[bool, Half] = {}
        self.expected: Expected | None = None
        self.transfer: Transfer | None = None
        self.first_ns = 0
        self.frames: list[int] = []


class Files:
    """See the module."""

    def __init__(self, assemblies: Assemblies) -> None:
        self._assemblies = assemblies
        self._ports = np.zeros(65536, np.bool_)
        self._ports[list(PORTS)] = True
        self._known_rows = 0
        self._watched: list[int] = []  # rows of the conversation table on wanted ports
        self._active_ns = -1
        self._next_frame = 0
        self._named = False  # whether a packet named another port
        self._connections: OrderedDict[Flow, _Connection] = OrderedDict()
        self._expected: OrderedDict[tuple[str, int], Expected] = OrderedDict()
        self._tftp: OrderedDict[tuple[str, int], dict[str, Any]] = OrderedDict()
        self.refused = 0

    def look(self, scene: Scene) -> Iterator[Artifact]:
        """Look at the frames that came since the last call."""
        new = [frames for frames in scene.frames if frames.first >= self._next_frame]
        if not new:
            return
        self._next_frame = new[-1].first + new[-1].size
        if not self._wanted(scene):
            return
        for frames in new:
            yield from self._batch(frames)

    def _batch(self, frames: FrameBatch) -> Iterator[Artifact]:
        """The packets of one batch, in order. A port that one of them names is looked for in those behind it."""
        rows, begin, left = rows_with_ports(frames, self._ports), 0, MAX_PACKETS
        for _ in range(ROUNDS):
            self._named = False
            fresh = rows[np.searchsorted(rows, begin) :]
            if len(fresh) > left:
                self.refused += len(fresh) - left
                fresh = fresh[:left]
            for packet in packets(frames, fresh):
                left -= 1
                yield from self._tcp(packet) if packet.transport == TCP else self._udp(packet)
                if self._named:
                    begin = packet.frame - frames.first + 1
                    rows = rows_with_ports(frames, self._ports)
                    break
            if not self._named:
                return

    def rest(self) -> Iterator[Artifact]:
        """The traffic has ended."""
        for flow in list(self._connections):
            yield from self._close(flow)

    def _wanted(self, scene: Scene) -> bool:
        """Whether a conversation on a wanted port goes on."""
        table = scene.view.conversations
        if len(table) > self._known_rows:
            new = table[self._known_rows :]
            wanted = self._ports[new["a_port"] & 0xFFFF] | self._ports[new["b_port"] & 0xFFFF]
            rows = (self._known_rows + np.flatnonzero(wanted)).tolist()
            self._known_rows = len(table)
            self._watched = (self._watched + rows)[-MAX_FLOWS:]
        if not self._watched:
            return False
        latest = int(table["last_ns"][self._watched].max())
        return scene.now_ns < 0 or scene.now_ns - latest < QUIET_NS or bool(self._connections)

    def _tcp(self, packet: Packet) -> Iterator[Artifact]:
        sends = (packet.source, packet.source_port, packet.destination, packet.destination_port)
        back = (sends[2], sends[3], sends[0], sends[1])
        flow = sends if sends in self._connections else back
        connection = self._connections.get(flow)
        if connection is None or (packet.flags & 0x12 == 0x02 and connection.frames):
            if connection is not None:
                yield from self._close(flow)
            if not packet.payload and not packet.flags & 2:
                return
            flow = self._opened(sends, back, packet)
            connection = self._connections[flow]
        self._connections.move_to_end(flow)
        forward = flow == sends
        direction = connection.directions[forward]
        direction.missing += packet.lost
        data = direction.add(packet.seq, packet.flags, packet.payload)
        if packet.payload and len(connection.frames) < 100:
            connection.frames.append(packet.frame)
        yield from self._use(connection, data, packet.ts_ns, packet.frame, forward=forward)
        if direction.ended and (connection.expected is not None or connection.directions[not forward].ended):
            yield from self._close(flow)

    def _opened(self, sends: Flow, back: Flow, packet: Packet) -> Flow:
        """Follow another connection; gives its flow, client first."""
        if len(self._connections) >= MAX_FLOWS:
            self.refused += 1
            self._connections.popitem(last=False)
        known = sends[3] in PORTS or (sends[1] not in PORTS and not packet.flags & 0x10)
        flow = sends if known else back
        connection = self._connections[flow] = _Connection(flow)
        connection.first_ns = packet.ts_ns
        for end in ((sends[0], sends[1]), (sends[2], sends[3])):
            if end in self._expected:
                connection.expected = self._expected.pop(end)
                return flow
        if flow[3] == FTP:
            connection.control = Control(flow[0], flow[2])
        elif flow[3] in HTTP:
            asked: deque[tuple[str, str]] = deque()
            connection.halves = {True: Half(asked), False: Half(asked)}
        return flow

    def _use(
        self, connection: _Connection, data: bytes, ts_ns: int, frame: int, *, forward: bool
    ) -> Iterator[Artifact]:
        if not data:
            return
        if connection.control is not None:
            expected = connection.control.add(data, from_client=forward)
            if expected is not None:
                if len(self._expected) >= MAX_EXPECTED:
                    self._expected.popitem(last=False)
                self._expected[expected.host, expected.port] = expected
                self._ports[expected.port] = self._named = True
        elif connection.expected is not None:
            key = ("ftp", connection.client)
            transfer = self._assemblies.get(key) or self._assemblies.begin(key, ts_ns, frame)
            self._assemblies.add(transfer, data, ts_ns, frame)
        elif forward in connection.halves:
            for body in connection.halves[forward].add(data):
                yield from self._body(connection, body, ts_ns, forward=forward)

    def _close(self, flow: Flow) -> Iterator[Artifact]:
        connection = self._connections.pop(flow)
        for forward, direction in connection.directions.items():
            last = direction.rest()
            yield from self._use(connection, last, connection.first_ns, 0, forward=forward)
            if half := connection.halves.get(forward):
                for body in half.rest():
                    yield from self._body(connection, body, connection.first_ns, forward=forward)
        expected = connection.expected
        transfer = self._assemblies.take(("ftp", connection.client))
        if expected is None:
            return
        self._ports[expected.port] = expected.port in PORTS
        if transfer is None or not expected.name:  # a listing of a folder carries no file
            return
        data, _ = transfer.data()
        missing = sum(direction.missing for direction in connection.directions.values())
        ended = any(direction.ended for direction in connection.directions.values())
        ends = (expected.client, expected.server) if expected.to_server else (expected.server, expected.client)
        yield Artifact(
            kind="ftp-file",
            name=expected.name,
            data=data,
            protocol="ftp",
            device=expected.server,
            source=ends[0],
            destination=ends[1],
            first_ns=transfer.first_ns,
            last_ns=transfer.last_ns,
            frames=tuple(sorted(frame for frame in transfer.frames if frame)),
            to_device=expected.to_server,
            missing=missing,
            complete=ended and not missing and not transfer.cut,
        )

    def _body(self, connection: _Connection, body: Body, ts_ns: int, *, forward: bool) -> Iterator[Artifact]:
        if len(body.data) < SMALLEST_BODY:
            return
        client, server = connection.client[0], connection.client[2]
        missing = connection.directions[forward].missing
        frames, connection.frames = tuple(connection.frames), []
        yield Artifact(
            kind="http-body",
            name=body.name,
            data=body.data,
            protocol="http",
            device=server,
            source=client if forward else server,
            destination=server if forward else client,
            first_ns=connection.first_ns,
            last_ns=max(ts_ns, connection.first_ns),
            frames=frames,
            to_device=forward,
            missing=missing,
            complete=body.whole and not missing,
            details={"http.method": body.method, "http.media_type": body.media},
        )

    def _udp(self, packet: Packet) -> Iterator[Artifact]:
        """TFTP: the request goes to port 69, everything else between the asker's port and one that the server picks."""
        payload = packet.payload
        if len(payload) < 4:
            return
        opcode = int.from_bytes(payload[:2], "big")
        if packet.destination_port == TFTP and opcode in (_ASK, _WRITE):
            parts = payload[2:].split(b"\0")
            if len(self._tftp) >= MAX_EXPECTED:
                self._tftp.popitem(last=False)
            self._tftp[packet.source, packet.source_port] = {
                "name": safe(parts[0].decode("utf-8", "replace") or "?", 120), "server": packet.destination,
                "to_server": opcode == _WRITE, "block_size": 512, "blocks": 0,
            }  # fmt: skip
            self._ports[packet.source_port] = self._named = True
            return
        for client in ((packet.source, packet.source_port), (packet.destination, packet.destination_port)):
            about = self._tftp.get(client)
            other = packet.destination if client[0] == packet.source else packet.source
            if about is None or other != about["server"]:
                continue
            if opcode == _OPTIONS:
                options = payload[2:].split(b"\0")
                named = dict(zip((it.lower() for it in options[::2]), options[1::2], strict=False))
                size = named.get(b"blksize", b"")
                if size.isdigit() and 8 <= int(size[:6]) <= 65464:  # RFC 2348
                    about["block_size"] = int(size[:6])
            elif opcode == _DATA and (client[0] == packet.source) == about["to_server"]:
                yield from self._block(client, about, packet)
            elif opcode == _ERROR:
                yield from self._tftp_done(client, whole=False)
            return

    def _block(self, client: tuple[str, int], about: dict[str, Any], packet: Packet) -> Iterator[Artifact]:
        number, data = int.from_bytes(packet.payload[2:4], "big"), packet.payload[4:]
        key = ("tftp", client)
        transfer = self._assemblies.get(key) or self._assemblies.begin(key, packet.ts_ns, packet.frame)
        expected = about["blocks"] + 1
        ahead = (number - expected + 0x8000) % 0x10000 - 0x8000  # block numbers wrap around
        if ahead < 0:
            return  # sent again
        index = expected + ahead
        about["missing"] = about.get("missing", 0) + ahead * about["block_size"] + packet.lost
        about["blocks"] = index
        self._assemblies.add(transfer, data, packet.ts_ns, packet.frame, at=(index - 1) * about["block_size"])
        if len(data) + packet.lost < about["block_size"]:
            yield from self._tftp_done(client, whole=True)

    def _tftp_done(self, client: tuple[str, int], *, whole: bool) -> Iterator[Artifact]:
        about = self._tftp.pop(client)
        self._ports[client[1]] = client[1] in PORTS
        transfer = self._assemblies.take(("tftp", client))
        if transfer is None:
            return
        data, _ = transfer.data()
        ends = (client[0], about["server"]) if about["to_server"] else (about["server"], client[0])
        missing = about.get("missing", 0)
        if data:
            yield Artifact(
                kind="tftp-file",
                name=about["name"],
                data=data,
                protocol="tftp",
                device=about["server"],
                source=ends[0],
                destination=ends[1],
                first_ns=transfer.first_ns,
                last_ns=transfer.last_ns,
                frames=tuple(sorted(transfer.frames)),
                to_device=about["to_server"],
                missing=missing,
                complete=whole and not missing and not transfer.cut,
            )
