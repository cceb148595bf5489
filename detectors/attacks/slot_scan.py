"""Slot scan: one host calls a controller under one TSAP after the other to learn in which rack and slot its CPU stands.

An S7 connection is asked for by a called TSAP, which holds rack and slot (or names a resource); a project knows the
right one, tools that look for it try them all. Catches distinct called TSAPs in COTP connection requests of one host to
one device, whether they are granted or not. Blind to requests behind many other frames, in tunnels, and to somebody who
needs a few attempts only. Reads the few bytes behind the beginning of connections to port 102, nothing else. Technique:
T0888.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import NamedTuple

import numpy as np

from detectors.attacks.cases import CaseDetector, examples
from detectors.attacks.talks import FreshTalks, called
from detectors.contract import Scene
from sensor.capture.frames import FrameBatch
from sensor.decode.packet import TCP
from sensor.events import EventBatch

ISO_TSAP = 102  # TCP port (RFC 1006)
ENOUGH = 8  # distinct called TSAPs: programming software and its checks get along with fewer
WINDOW_NS = 3600 * 10**9
LOOKED_AT = 2000  # frames behind the beginning of a connection in which its request is looked for
PATIENCE_NS = 5 * 10**9  # until then the request has come
MAX_WAITING = 4096  # connections whose request has not come yet; more at one time are left out
MAX_PAIRS = 1024  # hosts and devices followed; more at one time are left out
MAX_TSAPS = 256  # remembered of each
MAX_REQUESTS = 4096  # found in one batch that are looked at
CONNECTION_REQUEST = 0xE0  # ISO 8073, 13.3
CALLED_TSAP = 0xC2
FIXED_PART = 7  # of the request: length, code, two references, class
LONGEST_REQUEST = 200
CONNECTION_TYPES = {1: "PG", 2: "OP", 3: "S7"}


class _Waiting(NamedTuple):
    """A connection whose request is looked for. asker, asked: rows of the host table."""

    asker: int
    asked: int
    first_frame: int
    first_ns: int


class SlotScan(CaseDetector):
    """See the module."""

    name = "slot_scan"

    def __init__(self) -> None:
        super().__init__()
        self._fresh = FreshTalks()
        # By port and address of the asker, and address of the asked.
        self._waiting: dict[tuple[int, bytes, bytes], _Waiting] = {}
        self._next = 0  # frames before this one were looked at for all that wait
        self._tried: dict[tuple[int, int], dict[bytes, tuple[int, int]]] = {}  # pair -> TSAP -> (time, frame)
        self._told: dict[tuple[int, int], int] = {}

    def _look(self, batch: EventBatch, scene: Scene) -> None:
        self._learn(scene)
        if self._waiting:
            for frames in scene.frames:
                self._search(scene, frames)
            self._next = scene.frames[-1].first + scene.frames[-1].size if scene.frames else self._next
            late_ns = scene.now_ns - PATIENCE_NS
            self._waiting = {key: it for key, it in self._waiting.items() if it.first_ns >= late_ns}

    def _learn(self, scene: Scene) -> None:
        """Note connections that were begun."""
        view = scene.view
        rows = self._fresh.rows(view, scene.now_ns)
        if not len(rows):
            return
        talks = view.conversations.take(rows)
        who = called(talks)
        for at in np.flatnonzero((who.port == ISO_TSAP) & (talks["transport"] == TCP)).tolist():
            if len(self._waiting) >= MAX_WAITING:
                return
            asker, asked = int(who.asker[at]), int(who.asked[at])
            try:
                ends = ip_address(view.host(asker)).packed, ip_address(view.host(asked)).packed
            except ValueError:  # no IP: then no TCP either
                continue
            first = int(talks["first_frame"][at])
            self._next = min(self._next, first)  # its frames may have been there before it was told of
            self._waiting[int(who.asker_port[at]), *ends] = _Waiting(asker, asked, first, int(talks["first_ns"][at]))

    def _search(self, scene: Scene, frames: FrameBatch) -> None:
        """Look for the requests of waiting connections in those frames that were not looked at yet."""
        latest = max((it.first_frame for it in self._waiting.values()), default=0)
        begin, end = max(self._next, frames.first), min(frames.first + frames.size, latest + LOOKED_AT)
        if begin >= end:
            return
        low = int(frames.offset[begin - frames.first])
        high = int(frames.offset[end - 1 - frames.first] + frames.captured[end - 1 - frames.first])
        octets = frames.data[low:high]
        if len(octets) < FIXED_PART + 4:
            return
        # TPKT version 3, reserved 0, a length of one octet, and the code of the TPDU behind its own length.
        found = (octets[:-5] == 3) & (octets[1:-4] == 0) & (octets[2:-3] == 0)
        found &= octets[5:] & 0xF0 == CONNECTION_REQUEST
        for place in (np.flatnonzero(found)[:MAX_REQUESTS] + low).tolist():
            at = int(np.searchsorted(frames.offset, place, side="right")) - 1
            start = int(frames.offset[at])
            frame = frames.data[start : start + int(frames.captured[at])].tobytes()
            self._request(scene, frame, place - start, frames.first + at, int(frames.ts_ns[at]))

    def _request(self, scene: Scene, frame: bytes, payload: int, number: int, ts_ns: int) -> None:
        """What may be a connection request at `payload` of a frame."""
        tsap = called_tsap(frame[payload:])
        key = None if tsap is None else sender(frame, payload)
        it = self._waiting.pop(key, None) if key is not None else None
        if tsap is None or it is None:
            return
        pair = (it.asker, it.asked)
        if pair not in self._tried and len(self._tried) >= MAX_PAIRS:
            return
        tried = self._tried.setdefault(pair, {})
        if len(tried) < MAX_TSAPS:
            tried.setdefault(tsap, (ts_ns, number))
        recent = {one: at for one, at in tried.items() if ts_ns - at[0] <= WINDOW_NS}
        told = self._told.get(pair, 0)
        if len(recent) < max(ENOUGH, told + 1):
            return
        self._told[pair] = len(recent)
        case = self._cases.case(
            scene, "scan.slots", pair, protocol="s7comm", source_ip=scene.view.host(it.asker),
            destination_ip=scene.view.host(it.asked), destination_port=ISO_TSAP,
        )  # fmt: skip
        times = [at for at, _ in recent.values()]
        case.values = {
            "distinct": len(recent), "examples": examples(map(shown, recent)),
            "seconds": (max(times) - min(times)) // 10**9,
        }  # fmt: skip
        case.problem.add(len(recent) - told, min(times), max(times))
        for _, one in list(recent.values())[-20:] if told else recent.values():
            scene.show_frame(case.problem.exhibit, one)


def called_tsap(payload: bytes) -> bytes | None:
    """The called TSAP of a TPKT with a COTP connection request; None where it is none, or names none."""
    if len(payload) < 4 + FIXED_PART:
        return None
    length = int.from_bytes(payload[2:4], "big")
    if not 4 + FIXED_PART <= length <= min(len(payload), LONGEST_REQUEST) or payload[4] != length - 5:
        return None
    at = 4 + FIXED_PART
    while at + 2 <= length:
        code, size = payload[at], payload[at + 1]
        if at + 2 + size > length:
            return None
        if code == CALLED_TSAP:
            return payload[at + 2 : at + 2 + size]
        at += 2 + size
    return None


def sender(frame: bytes, payload: int) -> tuple[int, bytes, bytes] | None:
    """(port, address of the sender, address of the receiver) of a TCP segment whose payload begins at `payload`."""
    for size in range(20, 64, 4):  # the header's length stands in it
        tcp = payload - size
        if tcp < 20 or frame[tcp + 12] >> 4 != size // 4:
            continue
        if int.from_bytes(frame[tcp + 2 : tcp + 4], "big") != ISO_TSAP:
            continue
        port = int.from_bytes(frame[tcp : tcp + 2], "big")
        if frame[tcp - 20] == 0x45:
            return port, frame[tcp - 8 : tcp - 4], frame[tcp - 4 : tcp]
        if tcp >= 40 and frame[tcp - 40] >> 4 == 6:
            return port, frame[tcp - 32 : tcp - 16], frame[tcp - 16 : tcp]
    return None


def shown(tsap: bytes) -> str:
    """A TSAP in hexadecimal, of an S7 station with connection type, rack and slot."""
    if len(tsap) == 2 and tsap[0] in CONNECTION_TYPES:
        return f"{CONNECTION_TYPES[tsap[0]]} {tsap[1] >> 5}/{tsap[1] & 0x1F}"
    return f"0x{tsap.hex().upper()}"
