"""Vendor protocols that are not decoded: named by port and first bytes; who searches with them, who comes from outside.

Knows Unitronics PCOM (TCP 20256), CODESYS 2 and 3 (TCP 1217, 2455, 11740), Omron FINS (TCP and UDP 9600), and by port
alone TriStation (UDP 1502) and Schneider discovery (UDP 27127). Catches (`vendor.seen`) who programs with them,
(`vendor.public`) a public address that speaks one of them, as in the attacks on Unitronics controllers of 2023, and
(`vendor.discovery`) broadcasts or many datagrams by which TRITON and INCONTROLLER look for such devices; Schneider's
own software broadcasts too, so that alone is a low matter. Blind to other ports. Reads the first payload of a
conversation on these ports only. Layouts as in public dissectors of these protocols. Techniques: T0883, T0812, T0846,
T0888.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

import numpy as np

from detectors.attacks.cases import Case, Cases, examples
from detectors.attacks.talks import FreshTalks, Settling, called
from detectors.contract import Scene
from detectors.finding import Finding, Severity
from sensor.capture.frames import FrameBatch
from sensor.decode import link
from sensor.decode.packet import OK, TCP, UDP
from sensor.decode.state import PACKET
from sensor.events import EventBatch
from sensor.records import untouched

NAMES = {
    (TCP, 20256): "PCOM", (TCP, 1217): "CODESYS", (TCP, 2455): "CODESYS", (TCP, 11740): "CODESYS", (TCP, 9600): "FINS",
    (UDP, 9600): "FINS", (UDP, 1502): "TriStation", (UDP, 27127): "Schneider NetManage",
}  # fmt: skip
BROADCASTS_ITSELF = "Schneider NetManage"
SEARCHED = ("TriStation", BROADCASTS_ITSELF)  # whose devices are looked for by broadcast
ENOUGH = 5  # hosts asked by datagram, without one broadcast
SETTLED_NS = 3 * 10**9  # the first payload comes sooner
MAX_PENDING = 1024  # conversations on these ports that wait to be looked at
MAX_READ = 256  # frames read to find the first payload of one
MAX_ASKERS, MAX_ASKED = 1024, 1024


class VendorProtocols:
    """See the module."""

    name = "vendor_protocols"

    def __init__(self) -> None:
        self._fresh = FreshTalks()
        self._settling = Settling(MAX_PENDING)
        self._asked: dict[tuple[int, str], dict[int, None]] = {}
        self._packet = untouched(1, PACKET)
        self._cases = Cases()

    def observe(self, batch: EventBatch, scene: Scene) -> Iterable[Finding]:
        """See Detector."""
        self._look(scene, final=False)
        return self._cases.say(scene, final=False)

    def flush(self, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        self._look(scene, final=True)
        return self._cases.say(scene, final=True)

    def _look(self, scene: Scene, *, final: bool) -> None:
        table = scene.view.conversations
        new = self._fresh.rows(scene.view, scene.now_ns)
        if len(new):
            talks = table.take(new)
            wanted = np.zeros(len(new), np.bool_)
            for transport, port in NAMES:
                at = (talks["a_port"] == port) | (talks["b_port"] == port)
                wanted |= at & (talks["transport"] == transport)
            self._settling.add(scene.view, new[wanted & (talks["protocol"] == 0)])
        # A capture is over before its time has passed: what its frames hold must be read while they are at hand.
        begun_ns = scene.now_ns - SETTLED_NS
        rows = self._settling.settled(scene.view, begun_ns, final=final or scene.clock_ns < 0)
        for row in rows.tolist():
            self._judge(scene, row)

    def _judge(self, scene: Scene, row: int) -> None:
        talk = scene.view.conversations[row]
        who = called(talk.reshape(1))
        asker, asked, port = int(who.asker[0]), int(who.asked[0]), int(who.port[0])
        name = NAMES.get((int(talk.transport), port))
        if name is None or talk.protocol:
            return
        payload = self._payload(scene, row)
        if not payload or not _fits(name, payload):
            return
        source, target = scene.view.host(asker), scene.view.host(asked)
        if name in SEARCHED:
            hosts = self._asked.setdefault((asker, name), {}) if len(self._asked) < MAX_ASKERS else {}
            if len(hosts) < MAX_ASKED:
                hosts[asked] = None
            if _to_many(target) or len(hosts) >= ENOUGH:
                shown = examples(scene.view.host(host) for host in hosts)
                case = self._case(scene, "vendor.discovery", (asker, name), row, source, "")
                case.values = {"other": name, "port": port, "examples": shown}
                case.severity = Severity.LOW if name == BROADCASTS_ITSELF and len(hosts) < ENOUGH else None
                return
        public = ip_address(source).is_global
        rule = "vendor.public" if public and not ip_address(target).is_global else "vendor.seen"
        case = self._case(scene, rule, (asker, asked, port), row, source, target)
        case.values = {"other": name, "port": port}

    def _case(self, scene: Scene, rule: str, key: object, row: int, source: str, target: str) -> Case:
        talk = scene.view.conversations[row]
        transport = "tcp" if talk.transport == TCP else "udp"
        case = self._cases.case(scene, rule, str(key), protocol=transport, source_ip=source, destination_ip=target)
        case.problem.add(1, int(talk.first_ns), int(talk.last_ns))
        scene.show_frame(case.problem.exhibit, int(talk.first_frame))
        return case

    def _payload(self, scene: Scene, row: int) -> bytes:
        """The first bytes that the asking end sent, where their frame is at hand."""
        talk = scene.view.conversations[row]
        who = called(talk.reshape(1))
        ports = int(who.asker_port[0]), int(who.port[0])
        read = 0
        for frames in scene.frames:
            begin = max(int(talk.first_frame) - frames.first, 0)
            for at in range(begin, frames.size):
                read += 1
                if read > MAX_READ:
                    return b""
                if payload := self._read(frames, at, ports):
                    return payload
        return b""

    def _read(self, frames: FrameBatch, at: int, ports: tuple[int, int]) -> bytes:
        """What a frame carries from the first of these ports to the second."""
        packet = self._packet[0]
        verdict = link.parse(
            frames.data, frames.offset[at], frames.captured[at], frames.wire[at], frames.link[at], packet
        )
        if verdict != OK or (int(packet.src_port), int(packet.dst_port)) != ports:
            return b""
        return frames.data[int(packet.at) : min(int(packet.end), int(packet.at) + 32)].tobytes()


def _fits(name: str, payload: bytes) -> bool:
    """Whether a first payload looks like the protocol that its port promises."""
    if name == "PCOM":  # transaction, protocol 101 (ASCII) or 102 (binary), 0, length
        return len(payload) >= 6 and payload[2] in (101, 102) and payload[3] == 0
    if name == "CODESYS":  # version 2; block driver of version 3
        return payload[:2] == b"\xbb\xbb" or payload[:4] in (bytes.fromhex("000117e8"), bytes.fromhex("e8170100"))
    if name == "FINS":  # over TCP by name; over UDP the information control field, reserved, gateway count
        return payload[:4] == b"FINS" or (len(payload) >= 10 and payload[0] in (0x80, 0x81, 0xC0) and not payload[1])
    return True


def _to_many(address: str) -> bool:
    """Whether an address is multicast or an IPv4 broadcast."""
    ip = ip_address(address)
    return ip.is_multicast or (ip.version == 4 and int(ip) & 0xFF == 0xFF)
