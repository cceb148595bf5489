"""Rows of the archive on their way from a worker, which may not write, to the sensor, which does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from detectors.worker.channel import Message
from detectors.worker.codec import CodecError
from sensor.archive.origin import ArchiveError, Origin
from sensor.archive.taker import Folder, Taking

ROWS = 1 << 17  # of one message
MAX_COLUMNS = 2000
KINDS = ("behaviours", "events")

Ask = Callable[[str, Mapping[str, Any], bytes], Message]


class RemoteTaker:
    """In the worker: see sensor/archive/taker.py, Taker."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def taken(self, origin: Origin) -> bool:
        """See Taker."""
        return bool(self._asked("taken", {"origin": asdict(origin)})["taken"])

    def begin(self, origin: Origin) -> RemoteTaker:
        """See Taker; one at a time."""
        self._asked("begin", {"origin": asdict(origin)})
        return self

    def add(self, kind: str, table: pa.Table, unfit: int = 0) -> None:
        """See Taking."""
        for begin in range(0, table.num_rows, ROWS):
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table.slice(begin, ROWS))
            self._asked("add", {"kind": kind, "unfit": 0 if begin else unfit}, sink.getvalue().to_pybytes())

    def commit(self, *, records: int, archived: int, rejected: int = 0, left_out: int = 0) -> None:
        """See Taking."""
        counts = {"records": records, "archived": archived, "rejected": rejected, "left_out": left_out}
        self._asked("commit", {"counts": counts})

    def end(self) -> None:
        """See Taking."""
        self._asked("end", {})

    def _asked(self, what: str, content: Mapping[str, Any], octets: bytes = b"") -> dict[str, Any]:
        reply = self._ask("archive", {**content, "archive": what}, octets).json
        if "error" in reply:
            raise ArchiveError(str(reply["error"]))
        return reply


class Archivist:
    """In the sensor: writes what a worker hands in. origin: what its rows may say of themselves, but for the time."""

    def __init__(self, folder: Path) -> None:
        self._folder = Folder(folder)
        self._taking: Taking | None = None

    def answer(self, request: Message) -> dict[str, Any]:
        """The answer to a request; CodecError where it is none."""
        what = request.json.get("archive")
        try:
            if what in ("taken", "begin"):
                origin = _origin(request.json["origin"])
                if what == "taken":
                    return {"taken": self._folder.taken(origin)}
                self.end()
                self._taking = self._folder.begin(origin)
            elif what == "end":
                self.end()
            elif self._taking is None:
                raise CodecError("nothing is being archived")
            elif what == "add":
                self._taking.add(_of(request.json["kind"]), _table(request.octets), int(request.json["unfit"]))
            elif what == "commit":
                counts = request.json["counts"]
                names = ("records", "archived", "rejected", "left_out")
                self._taking.commit(**{name: int(counts[name]) for name in names})
            else:
                raise CodecError(f"the archive does not {what!r}")
        except ArchiveError as error:
            return {"error": str(error)}
        except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise CodecError(f"rows that are none: {error!r}"[:300]) from None
        return {}

    def end(self) -> None:
        """Remove what a worker left behind that did not count yet."""
        taking, self._taking = self._taking, None
        if taking is not None:
            taking.end()


def _of(kind: Any) -> str:
    if kind not in KINDS:
        raise CodecError(f"no kind of rows: {kind!r}"[:100])
    return str(kind)


def _table(octets: bytes) -> pa.Table:
    """Rows, checked to the last value: what arrow reads from a stream it believes."""
    with pa.ipc.open_stream(octets) as reader:
        if len(reader.schema) > MAX_COLUMNS:
            raise CodecError("too many columns")
        table = reader.read_all()
    table.validate(full=True)
    if table.num_rows > ROWS:
        raise CodecError("too many rows")
    return table


def _origin(content: Mapping[str, Any]) -> Origin:
    texts = {name: str(content[name])[:4096] for name in ("kind", "path", "sha256", "sensor", "ring")}
    return Origin(**texts, epoch=int(content["epoch"]), started_ns=int(content["started_ns"]))
