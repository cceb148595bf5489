"""Which hardware address stands behind which network address, from the Ethernet headers of protocol messages.

Of a host behind a router that is the router's: it changes as seldom. Looks at one frame of each conversation and
direction among SAMPLED events of a batch, when something new is said and otherwise every PAUSE_NS: who takes an address
over keeps it for longer. Blind to hosts inside tunnels and to links that are not Ethernet.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from detectors.baseline.book import MAX_MACS
from detectors.contract import Scene
from sensor.capture.frames import FrameBatch
from sensor.decode.link import MAC48
from sensor.events import EventBatch

ETHERNET = 1
PAUSE_NS = 10**9
SAMPLED = 512  # events of a batch looked at, up to twice as many; all of a small one
MAX_NEIGHBOURS = 1 << 16  # hosts followed: a flood of invented ones is not remembered


class Neighbours:
    """Hardware addresses by row of the host table, in the order in which they were seen."""

    def __init__(self) -> None:
        self._seen: dict[int, dict[int, int]] = {}  # host -> hardware address -> frame that showed it first
        self._last: dict[int, int] = {}
        self._place = np.zeros(1 << 10, np.int32)
        self._turn = self._behaviours = 0
        self._looked_ns = -PAUSE_NS

    def look(self, batch: EventBatch, scene: Scene) -> list[tuple[int, int, int, int]]:
        """New pairs of host and hardware address in a batch, as (host, address, frame, ts_ns)."""
        known = len(scene.view.behaviours)
        if not batch.size or (known == self._behaviours and 0 <= scene.now_ns - self._looked_ns < PAUSE_NS):
            return []
        self._behaviours, self._looked_ns = known, scene.now_ns
        columns = batch.columns
        talks = scene.view.conversations
        sampled = slice(self._turn % max(batch.size // SAMPLED, 1), None, max(batch.size // SAMPLED, 1))
        self._turn += 1
        rows = np.arange(batch.size)[sampled]
        rows = rows[self._one_each(2 * columns.conversation[rows] + columns.forward[rows], 2 * len(talks))]
        talk = talks[columns.conversation[rows]]
        plain = (talk["tunnel"] == 0) & (talk["family"] != MAC48)
        rows, talk = rows[plain], talk[plain]
        host = np.where(columns.forward[rows] == 1, talk["a_host"], talk["b_host"])
        new = []
        for frames in scene.frames:
            number = columns.frame[rows]
            here = np.flatnonzero((number >= frames.first) & (number < frames.first + frames.size))
            if len(here):
                new += self._take(frames, number[here], host[here], columns.ts_ns[rows[here]])
        return new

    def _one_each(self, keys: npt.NDArray[np.int32], size: int) -> npt.NDArray[np.int64]:
        """Positions of one row for each key below `size`, without sorting: the last to be written stays."""
        if len(self._place) < size:
            self._place = np.zeros(2 * size, np.int32)
        order = np.arange(len(keys), dtype=np.int32)
        self._place[keys] = order
        return np.flatnonzero(self._place[keys] == order)

    def _take(
        self, frames: FrameBatch, numbers: npt.NDArray[np.int64], hosts: npt.NDArray[np.int32],
        times: npt.NDArray[np.int64],
    ) -> list[tuple[int, int, int, int]]:  # fmt: skip
        index = numbers - frames.first
        ethernet = (frames.link[index] == ETHERNET) & (frames.captured[index] >= 14)
        index, hosts, times, numbers = index[ethernet], hosts[ethernet], times[ethernet], numbers[ethernet]
        address = np.zeros(len(index), np.int64)
        for octet in range(6):
            address = address << 8 | frames.data[frames.offset[index] + 6 + octet]
        new = []
        for host, mac, number, ts_ns in zip(
            hosts.tolist(), address.tolist(), numbers.tolist(), times.tolist(), strict=True
        ):
            if not mac or self._last.get(host) == mac:  # zeros: a loopback, or a capture made anonymous
                continue
            known = self._seen.get(host)
            if known is None:
                if len(self._seen) >= MAX_NEIGHBOURS:
                    continue
                known = self._seen[host] = {}
            self._last[host] = mac
            if mac not in known and len(known) < MAX_MACS:
                known[mac] = number
                new.append((host, mac, number, ts_ns))
        return new

    def known(self) -> dict[int, list[str]]:
        """Hardware addresses of each host, as text."""
        return {host: [mac_text(mac) for mac in macs] for host, macs in self._seen.items()}


def mac_text(mac: int) -> str:
    """A hardware address as it is written: 02:00:0a:14:01:0a."""
    return mac.to_bytes(6, "big").hex(":")
