"""Dialogues on a clock, and what the detectors say about them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detectors.finding import Finding
from detectors.pipeline import Options, Pipeline, merge
from sensor.capture.frames import FrameBatch
from support.wire import SECOND, Talk, udp

BEGINS_NS = 1_700_000_000 * SECOND
MODBUS, S7, DNP3 = 502, 102, 20000


class Plant:
    """Frames of a plant, in the order in which they are made; `wait` moves the clock."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._packets: list[tuple[float, bytes]] = []
        self._talks: dict[tuple[str, str, int], Talk] = {}

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds

    def talk(self, client: str, server: str, port: int = MODBUS) -> Talk:
        """The connection between two hosts, opened when it is first used."""
        key = (client, server, port)
        if key not in self._talks:
            self._talks[key] = Talk(src=client, dst=server, dport=port, sport=50000 + len(self._talks))
            for packet in self._talks[key].handshake():
                self.sends(packet)
        return self._talks[key]

    def sends(self, packet: bytes) -> None:
        """Put a frame on the wire, a millisecond after the last."""
        self.now_s += 0.001
        self._packets.append((self.now_s, packet))

    def asks(self, client: str, server: str, payload: bytes, port: int = MODBUS) -> None:
        """The client speaks."""
        self.sends(self.talk(client, server, port).asks(payload))

    def answers(self, client: str, server: str, payload: bytes, port: int = MODBUS) -> None:
        """The server speaks."""
        self.sends(self.talk(client, server, port).answers(payload))

    def exchange(self, client: str, server: str, request: bytes, response: bytes, port: int = MODBUS) -> None:
        """Question and answer."""
        self.asks(client, server, request, port)
        self.answers(client, server, response, port)

    def datagram(self, source: str, destination: str, payload: bytes, port: int = DNP3) -> None:
        """One UDP datagram."""
        self.sends(udp(payload, src=source, dst=destination, dport=port))

    def batches(self, size: int | None = None) -> list[FrameBatch]:
        """All frames, in batches of `size` or in one."""
        size = size or max(len(self._packets), 1)
        parts = [self._packets[at : at + size] for at in range(0, len(self._packets), size)]
        return [_batch(part, 1 + number * size) for number, part in enumerate(parts)]

    def records(self, size: int | None = None, options: Options | None = None) -> list[Finding]:
        """Every record that the pipeline makes."""
        return list(Pipeline(options).run(self.batches(size)))

    def findings(self, size: int | None = None, options: Options | None = None) -> list[Finding]:
        """The records summed, one finding for each problem."""
        return merge(self.records(size, options))


def of(findings: Sequence[Finding], rule_id: str) -> list[Finding]:
    """Those of one rule."""
    return [finding for finding in findings if finding.rule_id == rule_id]


def the(findings: Sequence[Finding], rule_id: str) -> Finding:
    """The only one of a rule."""
    (finding,) = of(findings, rule_id)
    return finding


def _batch(packets: Sequence[tuple[float, bytes]], first: int) -> FrameBatch:
    lengths = np.array([len(packet) for _, packet in packets], np.int32)
    return FrameBatch(
        data=np.frombuffer(b"".join(packet for _, packet in packets), np.uint8),
        ts_ns=np.array([BEGINS_NS + round(at * SECOND) for at, _ in packets], np.int64),
        offset=np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64),
        captured=lengths,
        wire=lengths,
        link=np.ones(len(packets), np.int32),
        first=first,
    )
