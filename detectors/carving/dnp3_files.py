"""Files out of DNP3 file transfer (IEEE 1815-2012, A.28: group 70).

A file command (variation 3, function 25) names the file, its status (variation 4) gives a handle, transport objects
(variation 5) carry numbered blocks of it: in requests they are written to the outstation, in responses read from it.
Function 26 closes the handle. The authentication object (variation 2) is never looked into.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from detectors.carving.artifact import Artifact
from detectors.carving.assembly import Assemblies, Transfer
from detectors.carving.row import Row
from detectors.wording import safe
from sensor.decode.pdu import Kind
from sensor.protocols.dnp3_walk import PREFIX_OCTETS, header

GROUP, COMMAND, STATUS, TRANSPORT = 70, 3, 4, 5
OPEN, CLOSE, RESPONSE = 25, 26, 129
LAST = 1 << 31
MAX_PENDING = 1024
NAME_FIXED = 26  # octets of a file command before the name


class Dnp3Files:
    """See the module."""

    def __init__(self, assemblies: Assemblies) -> None:
        self._assemblies = assemblies
        self._opening: dict[tuple[int, int], tuple[int, str]] = {}  # (conversation, station) -> (sequence, file name)
        self._names: dict[tuple[int, int, int], str] = {}  # (conversation, station, handle) -> name

    def take(self, row: Row) -> Iterator[Artifact]:
        """Use one application fragment with objects of group 70."""
        if len(row.pdu) < 2:
            return
        function = row.pdu[1]
        for variation, data in objects(row.pdu):
            place = (row.conversation, row.station)
            if variation == COMMAND and function == OPEN and len(data) >= NAME_FIXED:
                size = int.from_bytes(data[2:4], "little")
                name = data[NAME_FIXED : NAME_FIXED + size].decode("utf-8", "replace")
                _bounded(self._opening)
                self._opening[place] = (row.pdu[0] & 15, safe(name or "?", 120))
            elif variation == STATUS and len(data) >= 4:
                handle = int.from_bytes(data[:4], "little")
                sequence, name = self._opening.get(place, (-1, ""))
                if function >= RESPONSE and name and sequence == row.pdu[0] & 15:
                    del self._opening[place]
                    _bounded(self._names)
                    self._names[*place, handle] = name
                elif function == CLOSE:
                    for down in (True, False):
                        yield from self._finish(("dnp3", *place, handle, down))
            elif variation == TRANSPORT and len(data) > 8:
                self._block(row, data, down=function < RESPONSE)

    def _block(self, row: Row, data: bytes, *, down: bool) -> None:
        handle, number = int.from_bytes(data[:4], "little"), int.from_bytes(data[4:8], "little")
        key = ("dnp3", row.conversation, row.station, handle, down)
        device = row.destination if down else row.source
        transfer = self._assemblies.get(key)
        if transfer is None:
            transfer = self._assemblies.begin(
                key, row.ts_ns, row.frame, device=device, other=row.source if down else row.destination, down=down,
                name=self._names.get((row.conversation, row.station, handle), f"file {handle:08X}"),
                station=row.station & 0xFFFF if row.station >= 0 else None, blocks=set(), last=-1,
            )  # fmt: skip
        block = number & ~LAST
        if block in transfer.about["blocks"] or (row.kind == Kind.REQUEST) != down:
            return
        transfer.about["blocks"].add(block)
        if number & LAST:
            transfer.about["last"] = block
        self._assemblies.add(transfer, data[8:], row.ts_ns, row.frame)

    def _finish(self, key: tuple[str, int, int, int, bool]) -> Iterator[Artifact]:
        transfer = self._assemblies.take(key)
        if transfer is not None:
            yield from whole(transfer)


def _bounded(table: dict[Any, Any]) -> None:
    if len(table) >= MAX_PENDING:
        table.pop(next(iter(table)))


def objects(fragment: bytes) -> Iterator[tuple[int, bytes]]:
    """(variation, octets) of each object of group 70 in an application fragment."""
    function = fragment[1]
    octets = np.frombuffer(bytearray(fragment), np.uint8)
    at = 4 if function >= RESPONSE else 2
    while len(fragment) - at >= 3:
        _, qualifier, _, _, begin, after, _ = map(int, header(octets, at, len(fragment), function))
        if fragment[at] == GROUP:
            prefix = int(PREFIX_OCTETS[qualifier >> 4 & 7])
            yield fragment[at + 1], fragment[begin + max(prefix, 0) : after]
        at = after


def whole(transfer: Transfer) -> Iterator[Artifact]:
    """A transfer as a file, where it holds anything."""
    data, missing = transfer.data()
    about = transfer.about
    if not data:
        return
    blocks = about["blocks"]
    lost = max(blocks) + 1 - len(blocks)
    yield transfer.artifact(
        kind="dnp3-file",
        name=about["name"],
        data=data,
        protocol="dnp3",
        missing=missing,
        complete=about["last"] == max(blocks) and not lost and not missing and not transfer.cut,
        details={"dnp3.blocks": len(blocks), "dnp3.blocks_missing": lost},
    )
