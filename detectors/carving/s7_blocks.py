"""S7 blocks out of up- and downloads.

A download is fetched by the controller: its jobs 0x1B name the block, the acknowledgements hold the octets; job 0x1C
ends it. An upload is started with the block's name (0x1D, answered with a number), fetched with that number (0x1E) and
ended (0x1F). The octets of an acknowledgement stand behind a length and 0x00FB. Siemens has not published this; it is
what captures show and independent dissectors agree on.

A block begins with a header of 36 octets (0x7070, version, attributes, language, type, number, length, protection, two
times, lengths of interface, segment table, local data and code) and ends with a footer of 36 (author, family, name,
version, checksum). Two versions are told apart by what stands between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from detectors.carving.artifact import Artifact
from detectors.carving.assembly import Assemblies, Transfer
from detectors.carving.row import Row
from detectors.wording import safe
from sensor.decode.pdu import Kind
from sensor.protocols import s7comm_tables as t
from sensor.protocols.s7comm_blocks import describe_file
from sensor.protocols.s7comm_items import Octets, printable

HEADER = FOOTER = 36
SIGNATURE = b"pp"
MAX_PENDING = 1024  # jobs that wait for their acknowledgement
JOB_HEADER, ACK_HEADER, MORE, FAILED = 10, 12, 0x01, 0x02
_S7_EPOCH = datetime(1984, 1, 1, tzinfo=UTC)
_FUNCTIONS = (t.REQUEST_DOWNLOAD, t.DOWNLOAD_BLOCK, t.DOWNLOAD_ENDED, t.START_UPLOAD, t.UPLOAD, t.END_UPLOAD)


class S7Blocks:
    """See the module. One row of an EventBatch at a time; `take` gives what became whole."""

    def __init__(self, assemblies: Assemblies) -> None:
        self._assemblies = assemblies
        self._asked: dict[tuple[int, int], tuple[int, str]] = {}  # (conversation, reference) -> (function, block or id)
        self._uploads: dict[tuple[int, int], str] = {}  # (conversation, upload id) -> block

    def take(self, row: Row) -> Iterator[Artifact]:
        """Use one PDU of functions 0x1A to 0x1F."""
        if row.function not in _FUNCTIONS or len(row.pdu) < JOB_HEADER + 1:
            return
        if row.kind == Kind.REQUEST:
            yield from self._job(row)
        else:
            yield from self._acknowledgement(row)

    def _job(self, row: Row) -> Iterator[Artifact]:
        octets = Octets(row.pdu[JOB_HEADER + 1 :])
        octets.take(3)
        upload_id = octets.number(4)
        if row.function in (t.UPLOAD, t.END_UPLOAD):
            self._wait(row, str(upload_id))
            if row.function == t.END_UPLOAD:
                yield from self._finish(("s7", row.conversation, f"up {upload_id}"))
            return
        out: dict[str, Any] = {}
        describe_file(octets, out)
        name = safe(out.get("s7comm.block") or out.get("s7comm.file") or "?", 64)
        self._wait(row, name)
        key = ("s7", row.conversation, f"down {name}")
        if row.function == t.REQUEST_DOWNLOAD or (
            row.function == t.DOWNLOAD_BLOCK and self._assemblies.get(key) is None
        ):
            sender, device = (row.source, row.destination)
            if row.function == t.DOWNLOAD_BLOCK:  # the controller asks
                sender, device = device, sender
            yield from self._finish(key)
            self._assemblies.begin(key, row.ts_ns, row.frame, name=name, source=sender, device=device, down=True)

    def _acknowledgement(self, row: Row) -> Iterator[Artifact]:
        function, name = self._asked.pop((row.conversation, row.transaction), (-1, ""))
        if function != row.function or row.refused or len(row.pdu) <= ACK_HEADER:
            return
        end = ACK_HEADER + int.from_bytes(row.pdu[6:8], "big")
        if function == t.START_UPLOAD:
            octets = Octets(row.pdu[ACK_HEADER + 4 : end])
            upload_id = octets.number(4)
            if len(self._uploads) >= MAX_PENDING:
                self._uploads.pop(next(iter(self._uploads)))
            self._uploads[row.conversation, upload_id] = name
            key = ("s7", row.conversation, f"up {upload_id}")
            yield from self._finish(key)
            self._assemblies.begin(
                key, row.ts_ns, row.frame, name=name, source=row.source, device=row.source, other=row.destination,
                down=False,
            )  # fmt: skip
            return
        if function == t.DOWNLOAD_ENDED:
            yield from self._finish(("s7", row.conversation, f"down {name}"))
            return
        key = ("s7", row.conversation, f"down {name}" if function == t.DOWNLOAD_BLOCK else f"up {name}")
        transfer = self._assemblies.get(key)
        status = row.pdu[ACK_HEADER + 1] if end > ACK_HEADER + 1 else 0
        if function not in (t.DOWNLOAD_BLOCK, t.UPLOAD) or transfer is None:
            return
        data = row.pdu[end:]
        size = int.from_bytes(data[:2], "big")
        self._assemblies.add(transfer, data[4 : 4 + size], row.ts_ns, row.frame)
        if row.gap:
            transfer.about["gap"] = True
        if not status & MORE:
            transfer.about["ended"] = not status & FAILED

    def _wait(self, row: Row, name: str) -> None:
        if len(self._asked) >= MAX_PENDING:
            self._asked.pop(next(iter(self._asked)))
        self._asked[row.conversation, row.transaction] = (row.function, name)

    def _finish(self, key: tuple[str, int, str]) -> Iterator[Artifact]:
        transfer = self._assemblies.take(key)
        if transfer is not None:
            yield from whole(transfer)


def whole(transfer: Transfer) -> Iterator[Artifact]:
    """A transfer as a block, where it holds anything."""
    data, missing = transfer.data()
    if not data:
        return
    about = transfer.about
    name, down = about["name"], about["down"]
    details = header_of(data)
    length = details.get("s7.load_memory_length", 0)
    if length != len(data) and details.get("s7.block") != name:
        details = {}  # it only looks like a header
    exact = bool(details) and length == len(data)
    missing += max(length - len(data), 0) if details else 0
    body = (HEADER, max(len(data) - FOOTER, HEADER)) if exact else None
    yield Artifact(
        kind="s7-block",
        name=name,
        data=data,
        protocol="s7comm",
        device=about["device"],
        source=about["source"],
        destination=about["device"] if down else about["other"],
        first_ns=transfer.first_ns,
        last_ns=transfer.last_ns,
        frames=tuple(sorted(transfer.frames)),
        to_device=down,
        missing=missing,
        complete=bool(about.get("ended")) and not missing and not transfer.cut and (exact or not about.get("gap")),
        body=body,
        details=details,
    )


def header_of(data: bytes) -> dict[str, Any]:
    """What header and footer of a block say; nothing where it begins otherwise."""
    if not data.startswith(SIGNATURE) or len(data) < HEADER:
        return {}
    octets = Octets(data)
    octets.take(4)
    language, kind, number, length, protection = (octets.number(n) for n in (1, 1, 2, 4, 4))
    out: dict[str, Any] = {
        "s7.block": f"{t.BLOCK_TYPES.get(kind, f'0x{kind:02X}-')}{number}",
        "s7.language": t.BLOCK_LANGUAGES.get(language, f"0x{language:02X}"),
        "s7.load_memory_length": length,
        "s7.know_how_protected": protection == 3,
        "s7.code_time": _stamp(octets),
        "s7.interface_time": _stamp(octets),
    }
    lengths = [octets.number(2) for _ in range(4)]
    out["s7.interface_length"], out["s7.segment_length"], out["s7.local_data_length"], out["s7.mc7_length"] = lengths
    if len(data) >= HEADER + FOOTER and length == len(data):
        footer = Octets(data[-FOOTER:])
        for key in ("author", "family", "name"):
            if text := printable(footer.take(8)).strip():
                out[f"s7.{key}"] = safe(text, 16)
        version = footer.number()
        out["s7.version"] = f"{version >> 4}.{version & 15}"
        footer.take(1)
        out["s7.checksum"] = footer.number(2)
    return out


def _stamp(octets: Octets) -> str:
    milliseconds, days = octets.number(4), octets.number(2)
    return (_S7_EPOCH + timedelta(days=days, milliseconds=milliseconds)).strftime("%Y-%m-%dT%H:%M:%S")
