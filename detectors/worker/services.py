"""What the sensor does for its worker on request. Each request is hostile: checked, bounded, answered or refused."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detectors.baseline.store import read, write
from detectors.carving.store import Store
from detectors.content import ContentError
from detectors.worker.channel import Message
from detectors.worker.codec import CodecError, unpacked_artifact
from detectors.worker.setup import Learning
from detectors.yara_jail import Jail
from detectors.yara_rules import YaraRules
from sensor.capture.write import Frame

if TYPE_CHECKING:
    from detectors.worker.archiving import Archivist

log = logging.getLogger(__name__)

MAX_CUT = 1000  # frames of one request
MAX_LEARNED_BYTES = 64 * 1024 * 1024
Cut = Callable[[Iterable[int]], Mapping[int, tuple[int, Frame]]]
Answer = tuple[dict[str, Any], bytes]


class Services:
    """See the module; used from the thread of the supervisor.

    store: where artifacts are kept. yara: the rules of artifacts, asked for when the first one comes. cut: raw frames
    of the latest time. learned: the file into which is learned; begun_ns: since when.
    archive: the folder for hunting back.
    """

    def __init__(
        self,
        store: Store | None = None,
        yara: Callable[[], YaraRules] | None = None,
        cut: Cut | None = None,
        learned: Path | None = None,
        archive: Path | None = None,
    ) -> None:
        self.store, self._yara, self._cut, self._learned = store, yara, cut, learned
        self._archivist = _archivist(archive)
        self._jail: Jail | None = None
        self._other_rules = False
        self._offset = 0  # tickets of workers before
        self._highest = 0
        self.begun_ns = -1
        self.learning_over = False

    def close(self) -> None:
        """End the process that looks into artifacts; let go of what was not archived yet."""
        if self._archivist is not None:
            self._archivist.end()
        if self._jail is not None:
            self._jail.close()
            self._jail = None

    def worker_begins(self) -> None:
        """Another worker counts its tickets from 1 again."""
        self._offset = self._highest
        if self._archivist is not None:
            self._archivist.end()

    def learning(self, first: Learning) -> Learning | None:
        """Where learning stands now; None where it is over."""
        if self._learned is None or self.learning_over or self.begun_ns < 0:
            return None if self.learning_over else first
        return Learning(first.length_ns, self.begun_ns, read(self._learned)[0])

    def use_yara(self, yara: Callable[[], YaraRules]) -> None:
        """Look into artifacts by other rules from the next one on; may be called from any thread."""
        self._yara, self._other_rules = yara, True

    def answer(self, request: Message) -> Answer:
        """The answer to a request; CodecError where it is none."""
        handlers: dict[str, Callable[[Message], Answer]] = {
            "keep": self._keep, "scan": self._scan, "verdicts": self._verdicts, "cut": self._frames,
            "learned": self._save, "archive": self._archive,
        }  # fmt: skip
        try:
            return handlers[request.json["what"]](request)
        except (KeyError, TypeError, ValueError) as error:
            raise CodecError(f"a request that is none: {error!r}") from None

    def _keep(self, request: Message) -> Answer:
        if self.store is None:
            raise CodecError("no artifacts are kept")
        artifact = unpacked_artifact(request.json, request.octets)
        try:
            self.store.keep(artifact)
        except OSError as error:
            return {"error": error.strerror or str(error)}, b""
        if artifact.complete:
            self.store.history.note(artifact)
        return {"refused": self.store.refused}, b""

    def _scan(self, request: Message) -> Answer:
        if self._other_rules and self._jail is not None:
            self._jail.close()
            self._jail = None
        self._other_rules = False
        if self._jail is None:
            if self._yara is None:
                return {"taken": False}, b""
            self._jail = Jail(self._yara().sources)
        externals = request.json["externals"]
        kinds = (str, bool)
        if not isinstance(externals, dict) or len(externals) > 16:
            raise CodecError("externals are an object")
        checked = {str(name): value for name, value in externals.items() if isinstance(value, kinds)}
        ticket = self._offset + int(request.json["ticket"])
        self._highest = max(self._highest, ticket)
        return {"taken": self._jail.submit(ticket, checked, request.octets)}, b""

    def _verdicts(self, _request: Message) -> Answer:
        done = self._jail.verdicts() if self._jail is not None else []
        return {
            "verdicts": [
                {"ticket": it.ticket - self._offset, "matches": it.matches, "more": it.more, "failure": it.failure}
                for it in done
                if it.ticket > self._offset  # others were asked for by a worker that is gone
            ]
        }, b""

    def _frames(self, request: Message) -> Answer:
        numbers = request.json["numbers"]
        if not isinstance(numbers, list) or len(numbers) > MAX_CUT or not all(type(it) is int for it in numbers):
            raise CodecError("numbers of frames are a short list")
        found = self._cut(numbers) if self._cut is not None else {}
        listed = sorted(found.items())
        rows = [(number, link, it.ts_ns, len(it.data), it.wire) for number, (link, it) in listed]
        return {"frames": rows}, b"".join(it.data for _, (_, it) in listed)

    def _archive(self, request: Message) -> Answer:
        if self._archivist is None:
            raise CodecError("nothing is archived")
        return self._archivist.answer(request), b""

    def _save(self, request: Message) -> Answer:
        if self._learned is None or len(request.octets) > MAX_LEARNED_BYTES:
            raise CodecError("nothing is learned")
        self.begun_ns, self.learning_over = int(request.json["begun_ns"]), bool(request.json["over"])
        partial = self._learned.with_name(self._learned.name + ".checked")
        try:
            write(partial, request.octets)
            read(partial)
            partial.replace(self._learned)
        except ContentError as error:
            partial.unlink(missing_ok=True)
            raise CodecError(f"what was learned is no baseline: {error}") from None
        except OSError as error:
            return {"error": error.strerror or str(error)}, b""
        return {}, b""


def _archivist(folder: Path | None) -> Archivist | None:
    """It needs packages of its own, so they are imported where it is wanted."""
    if folder is None:
        return None
    from detectors.worker.archiving import Archivist

    return Archivist(folder)
