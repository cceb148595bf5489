"""Files out of Modbus file records (MODBUS Application Protocol Specification V1.1b3, 6.14 and 6.15).

A record is a 16-bit word of a numbered file: its number is its place. What is read and what is written are two files.
"""

from __future__ import annotations

from collections.abc import Iterator

from detectors.carving.artifact import Artifact
from detectors.carving.assembly import Assemblies, Transfer
from detectors.carving.row import Row
from sensor.decode.pdu import Kind, Protocol

READ, WRITE = 20, 21
REFERENCE_TYPE = 6
MBAP = 7
MAX_PENDING = 1024


class ModbusFiles:
    """See the module."""

    def __init__(self, assemblies: Assemblies) -> None:
        self._assemblies = assemblies
        self._asked: dict[tuple[int, int], list[tuple[int, int, int]]] = {}

    def take(self, row: Row) -> Iterator[Artifact]:
        """Use one PDU of function 20 or 21. Files have no end: they are whole when nothing came for long."""
        body = row.pdu[MBAP:] if row.protocol == Protocol.MODBUS else row.pdu[1:-2]
        if len(body) < 2 or row.refused:
            return iter(())
        records = body[2 : 2 + body[1]]
        if row.function == WRITE and row.kind == Kind.REQUEST:
            at = 0
            while at + 7 <= len(records) and records[at] == REFERENCE_TYPE:
                file, record, words = (int.from_bytes(records[at + n : at + n + 2], "big") for n in (1, 3, 5))
                self._put(row, file, record, records[at + 7 : at + 7 + 2 * words], down=True)
                at += 7 + 2 * words
        elif row.function == READ and row.kind == Kind.REQUEST:
            if len(self._asked) >= MAX_PENDING:
                self._asked.pop(next(iter(self._asked)))
            self._asked[row.conversation, row.transaction] = [
                (int.from_bytes(part[1:3], "big"), int.from_bytes(part[3:5], "big"), int.from_bytes(part[5:7], "big"))
                for part in (records[at : at + 7] for at in range(0, len(records) - 6, 7))
                if part[0] == REFERENCE_TYPE
            ]
        elif row.function == READ:
            at = 0
            for file, record, _ in self._asked.pop((row.conversation, row.transaction), []):
                if at + 2 > len(records):
                    break
                length = records[at]  # of what follows: the reference type and the record
                self._put(row, file, record, records[at + 2 : at + 1 + length], down=False)
                at += 1 + length
        return iter(())

    def _put(self, row: Row, file: int, record: int, data: bytes, *, down: bool) -> None:
        device, other = (row.destination, row.source) if down else (row.source, row.destination)
        key = ("modbus", row.conversation, row.station, file, down)
        transfer = self._assemblies.get(key) or self._assemblies.begin(
            key,
            row.ts_ns,
            row.frame,
            device=device,
            other=other,
            down=down,
            file=file,
            station=row.station,
            first=record,
        )
        transfer.about["first"] = min(transfer.about["first"], record)
        self._assemblies.add(transfer, data, row.ts_ns, row.frame, at=2 * record)


def whole(transfer: Transfer) -> Iterator[Artifact]:
    """What was transferred of a file, where it holds anything."""
    data, missing = transfer.data()
    about = transfer.about
    if not data:
        return
    yield transfer.artifact(
        kind="modbus-file",
        name=f"file {about['file']}",
        data=data,
        protocol="modbus",
        missing=max(missing - 2 * about["first"], 0),
        complete=missing == 2 * about["first"] and not transfer.cut,
        details={"modbus.file": about["file"], "modbus.first_record": about["first"]},
    )
