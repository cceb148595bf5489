"""Evidence gathered while a problem unfolds: frame numbers, decoded PDUs, and the frames themselves as a small pcap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from detectors.finding import MAX_EVIDENCE_FRAMES, MAX_EVIDENCE_PCAP_BYTES, MAX_EVIDENCE_PDUS, Evidence
from sensor.capture.write import Frame, small_pcap

RECORD_BYTES = 16  # header of one pcap record
MAX_HELD_BYTES = 64 * 1024 * 1024  # frames held for all problems of a run; later ones keep numbers and PDUs only


class Budget:
    """Bytes of frames that all exhibits of a run may hold together. refused: frames that did not fit any more."""

    def __init__(self, limit: int = MAX_HELD_BYTES) -> None:
        self.left, self.refused = limit, 0


class Exhibit:
    """The evidence of one problem so far: the first frames that show it, each bounded as detectors/finding.py says."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._frames: dict[int, None] = {}
        self._pdus: list[Mapping[str, Any]] = []
        self._raw: dict[int, Frame] = {}
        self._link = 0
        self._bytes = 24  # file header
        self._shown = 0

    @property
    def full(self) -> bool:
        """Whether nothing more would be kept."""
        return len(self._frames) >= MAX_EVIDENCE_FRAMES

    @property
    def wants_pdus(self) -> bool:
        """Whether another decoded PDU would be kept."""
        return len(self._pdus) < MAX_EVIDENCE_PDUS

    def add(self, number: int, pdus: Iterable[Mapping[str, Any]] = (), raw: Frame | None = None, link: int = 0) -> None:
        """Keep frame `number`, its PDUs, and its bytes where they are at hand."""
        for pdu in pdus:
            if self.wants_pdus:
                self._pdus.append(pdu)
        if number in self._frames or self.full:
            return
        self._frames[number] = None
        if raw is None or (self._raw and link != self._link):  # a pcap has one link type
            return
        size = RECORD_BYTES + len(raw.data)
        if self._bytes + size > MAX_EVIDENCE_PCAP_BYTES or self._budget.left < size:
            self._budget.refused += 1
            return
        self._budget.left -= size
        self._bytes += size
        self._raw[number], self._link = raw, link

    def take(self) -> Evidence:
        """All evidence so far where it grew since the last call, otherwise none: it need not be sent twice."""
        size = len(self._frames)
        if size == self._shown:
            return Evidence()
        self._shown = size
        frames = [self._raw[number] for number in sorted(self._raw)]
        pcap = small_pcap(self._link, frames) if frames else b""
        return Evidence(tuple(sorted(self._frames)), tuple(self._pdus), pcap)
