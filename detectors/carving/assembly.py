"""Pieces of transfers gathered until they are whole: bounded, whatever the wire claims."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from detectors.carving.artifact import MAX_FRAMES, Artifact

MAX_OPEN = 256  # transfers in progress at one time; a plant has a few
MAX_BYTES_EACH = 16 * 1024 * 1024  # of one transfer: programs have kilobytes, firmware some megabytes
MAX_BYTES = 64 * 1024 * 1024  # of all in progress
MAX_PIECES = 1 << 16  # of one transfer
IDLE_NS = 300 * 10**9  # without a further piece a transfer is taken as it is


@dataclass(slots=True)
class Transfer:
    """One transfer: pieces in the order of arrival, or at places of their own.

    about: whatever the carver remembers of it.
    """

    about: dict[str, Any]
    first_ns: int
    last_ns: int
    pieces: dict[int, bytes] = field(default_factory=dict)
    frames: list[int] = field(default_factory=list)
    size: int = 0
    end: int = 0  # where the next piece in order goes
    cut: bool = False  # a cap was reached: the rest was not kept

    def data(self) -> tuple[bytes, int]:
        """(octets, how many are missing between them): holes are left out, and counted."""
        parts, at, missing = [], 0, 0
        for begin in sorted(self.pieces):
            piece = self.pieces[begin]
            if begin > at:
                missing += begin - at
            elif begin < at:
                piece = piece[at - begin :]
            parts.append(piece)
            at = max(at, begin + len(self.pieces[begin]))
        return b"".join(parts), missing

    def artifact(self, **known: Any) -> Artifact:
        """What one end moved into a device, or out of it, as an Artifact with these other fields.

        `about` names both ends as `device` and `other`, the `station` behind the device, and whether it went `down`.
        """
        device, other, down = self.about["device"], self.about["other"], self.about["down"]
        return Artifact(
            device=device,
            source=other if down else device,
            destination=device if down else other,
            first_ns=self.first_ns,
            last_ns=self.last_ns,
            frames=tuple(sorted(self.frames)),
            station=self.about["station"],
            to_device=down,
            **known,
        )


class Assemblies:
    """Transfers in progress, by a key of the carver's own. What caps let go is counted in `refused`."""

    def __init__(self) -> None:
        self._open: OrderedDict[Hashable, Transfer] = OrderedDict()
        self._bytes = 0
        self.refused = 0

    def __len__(self) -> int:
        return len(self._open)

    def get(self, key: Hashable) -> Transfer | None:
        """The transfer, where it is in progress."""
        return self._open.get(key)

    def begin(self, key: Hashable, now_ns: int, frame: int, **about: Any) -> Transfer:
        """A new transfer in place of an older one of the same key."""
        self.take(key)
        if len(self._open) >= MAX_OPEN:
            self.refused += 1
            self.take(next(iter(self._open)))
        made = self._open[key] = Transfer(about, now_ns, now_ns, frames=[frame])
        return made

    def add(self, transfer: Transfer, piece: bytes, now_ns: int, frame: int, at: int | None = None) -> None:
        """Put a piece at its place, or behind the last one."""
        transfer.last_ns = max(transfer.last_ns, now_ns)
        if len(transfer.frames) < MAX_FRAMES and frame not in transfer.frames[-4:]:
            transfer.frames.append(frame)
        begin = transfer.end if at is None else at
        fits = begin + len(piece) <= MAX_BYTES_EACH and len(transfer.pieces) < MAX_PIECES
        if not piece or not fits or self._bytes + len(piece) > MAX_BYTES:
            if piece:
                transfer.cut = True
                self.refused += 1
            return
        old = transfer.pieces.get(begin)
        if old is not None and len(old) >= len(piece):
            return  # sent again
        transfer.pieces[begin] = piece
        grown = len(piece) - (len(old) if old else 0)
        transfer.size += grown
        self._bytes += grown
        transfer.end = max(transfer.end, begin + len(piece))

    def take(self, key: Hashable) -> Transfer | None:
        """The transfer, no longer in progress."""
        transfer = self._open.pop(key, None)
        if transfer is not None:
            self._bytes -= transfer.size
        return transfer

    def idle(self, now_ns: int) -> list[tuple[Hashable, Transfer]]:
        """Transfers without a further piece for long, no longer in progress."""
        keys = [key for key, it in self._open.items() if now_ns - it.last_ns > IDLE_NS]
        return [(key, it) for key in keys if (it := self.take(key)) is not None]

    def rest(self) -> list[tuple[Hashable, Transfer]]:
        """All that are left."""
        return [(key, it) for key in list(self._open) if (it := self.take(key)) is not None]
