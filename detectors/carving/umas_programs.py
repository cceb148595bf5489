"""Programs of Schneider controllers out of UMAS transfers (Modbus function 90).

Schneider has not published UMAS; sub-codes are as sensor/protocols/modbus_tables.py names them: 0x30 to 0x32 write the
program into the controller, 0x33 to 0x35 read it out. A block carries its number and, just before its octets, their
count as 16 bits, least significant first: it is found where such a count fits what follows exactly.
"""

from __future__ import annotations

from collections.abc import Iterator

from detectors.carving.artifact import Artifact
from detectors.carving.assembly import Assemblies, Transfer
from detectors.carving.row import Row
from sensor.decode.pdu import Kind, Protocol

UMAS = 90
BEGIN_WRITE, WRITE, END_WRITE, BEGIN_READ, READ, END_READ = range(0x30, 0x36)
OK = 0xFE  # status of an answer that grants
MBAP = 7
MAX_PENDING = 1024
COUNT_WITHIN = 8  # octets in which the count of a block stands


class UmasPrograms:
    """See the module."""

    def __init__(self, assemblies: Assemblies) -> None:
        self._assemblies = assemblies
        self._asked: dict[tuple[int, int], tuple[int, int]] = {}  # (conversation, transaction) -> sub-code, block

    def take(self, row: Row) -> Iterator[Artifact]:
        """Use one PDU of function 90."""
        body = row.pdu[MBAP:] if row.protocol == Protocol.MODBUS else row.pdu[1:-2]
        if len(body) < 3 or body[0] != UMAS:
            return
        if row.kind == Kind.REQUEST:
            yield from self._request(row, body[2], body[3:])
        else:
            yield from self._answer(row, body[2], body[3:])

    def _request(self, row: Row, code: int, data: bytes) -> Iterator[Artifact]:
        if not BEGIN_WRITE <= code <= END_READ:
            return
        if len(self._asked) >= MAX_PENDING:
            self._asked.pop(next(iter(self._asked)))
        block = int.from_bytes(data[2:4], "little")
        self._asked[row.conversation, row.transaction] = (code, block)
        down = code <= END_WRITE
        key = ("umas", row.conversation, row.station, down)
        if code in (BEGIN_WRITE, BEGIN_READ):
            yield from self._finish(key)
            self._begin(key, row, row.destination, down=down)
        elif code == WRITE:
            self._put(self._assemblies.get(key) or self._begin(key, row, row.destination, down=True), row, block, data)
        elif code in (END_WRITE, END_READ):
            if transfer := self._assemblies.get(key):
                transfer.about["ended"] = True
            yield from self._finish(key)

    def _answer(self, row: Row, status: int, data: bytes) -> Iterator[Artifact]:
        code, block = self._asked.pop((row.conversation, row.transaction), (0, 0))
        if code != READ or status != OK:
            return
        key = ("umas", row.conversation, row.station, False)
        transfer = self._assemblies.get(key) or self._begin(key, row, row.source, down=False)
        self._put(transfer, row, block, data)
        yield from ()

    def _begin(self, key: tuple[str, int, int, bool], row: Row, device: str, *, down: bool) -> Transfer:
        other = row.source if row.kind == Kind.REQUEST else row.destination
        about = {"device": device, "other": other, "down": down, "station": row.station, "blocks": set()}
        return self._assemblies.begin(key, row.ts_ns, row.frame, **about)

    def _put(self, transfer: Transfer, row: Row, block: int, data: bytes) -> None:
        if block in transfer.about["blocks"]:
            return  # sent again
        transfer.about["blocks"].add(block)
        transfer.about["gap"] = transfer.about.get("gap", False) or row.gap
        self._assemblies.add(transfer, octets_of(data), row.ts_ns, row.frame)

    def _finish(self, key: tuple[str, int, int, bool]) -> Iterator[Artifact]:
        transfer = self._assemblies.take(key)
        if transfer is not None:
            yield from whole(transfer)


def octets_of(data: bytes) -> bytes:
    """The octets of a block behind their count; all of it where no count fits."""
    for at in range(min(COUNT_WITHIN, len(data) - 1)):
        if int.from_bytes(data[at : at + 2], "little") == len(data) - at - 2 > 0:
            return data[at + 2 :]
    return data


def whole(transfer: Transfer) -> Iterator[Artifact]:
    """A transfer as a program, where it holds anything."""
    data, missing = transfer.data()
    about = transfer.about
    if not data:
        return
    numbers = sorted(about["blocks"])
    lost = max(numbers) - min(numbers) + 1 - len(numbers)
    yield transfer.artifact(
        kind="umas-program",
        name="program",
        data=data,
        protocol="modbus",
        missing=missing,
        complete=bool(about.get("ended")) and not missing and not lost and not transfer.cut and not about["gap"],
        details={"umas.blocks": len(numbers), "umas.blocks_missing": lost},
    )
