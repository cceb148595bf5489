"""Reports beside the findings: what stands (devices, who does what to whom), asked for until the console has taken it.

It is state: a later record of the same thing takes the place of an earlier one, and one that comes twice in a row
changes nothing. So nothing of it goes through the spool: what is not taken yet waits in memory, and is noted on disk at
the end and after each capture, which is looked at once only. What is taken of a note is struck out (`.taken`) before
anything else is sent: a record of an older run that came again after a newer one would be counted twice.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from sensor.failpoints import failpoint
from sensor.notes import sync_folder, write_note
from sensor.text import printable
from sensor.uplink import TooLargeError, UplinkError

log = logging.getLogger(__name__)

MAX_RECORDS = 200  # of one request, as the console takes them
MAX_BYTES = 1024 * 1024
MAX_WAITING = 60_000  # records; all devices of a full list with all that they do are half as many
MAX_WAITING_BYTES = 32 * 1024 * 1024
BETWEEN_S = 0.2  # two requests: the console has findings to store
IDLE_S = 1.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 300.0  # between attempts that fail
ATTEMPTS = 5
LONGEST_WAIT_S = 30.0  # of a command, where a console asks for patience
TIMEOUT_S = 30.0
# What makes two records ones of the same thing.
KEYS: Mapping[str, tuple[str, ...]] = {
    "assets": ("segment", "address"),
    "behaviours": ("segment", "client", "server", "protocol", "station", "operation", "action", "function",
                   "subfunction"),
}  # fmt: skip

Post = Callable[[str, bytes], Mapping[str, Any]]
_Key = tuple[str, ...]


class ReportError(Exception):
    """The console would not take a report; one clear line."""


class Reports:
    """See the module. Records come from any thread; one thread sends (`run`)."""

    def __init__(self, note: Path, post: Post) -> None:
        """note: file for what is not taken. post: asks the console (kind, body); UplinkError where it takes nothing."""
        self._note, self._struck, self._post = note, note.with_suffix(".taken"), post
        self._disk = threading.Lock()  # of the files; taken before the other one
        self._name, self._noted = "", set[_Key]()  # of the note that stands there, and what it holds that was not taken
        self._lock = threading.Lock()
        self._waiting: dict[_Key, bytes] = {}
        self._bytes = 0
        self._most_bytes = MAX_BYTES
        self._not_before: dict[str, float] = {}  # kinds that the console does not take, and when to ask again
        self._trouble = ""
        self.taken = dict.fromkeys(KEYS, 0)  # records that the console has taken
        self.refused = 0  # records that it would not store
        self.dropped = 0  # records for which there was no room here
        self._recall()

    def put(self, what: str, run: str, records: Sequence[Mapping[str, Any]]) -> None:
        """Report these. run: names the run that they are from, so that its counts are added once."""
        with self._lock:
            for record in records:
                key = (what, run, *(str(record.get(name, "")) for name in KEYS[what]))
                self._keep(key, json.dumps({**record, "run": run}, ensure_ascii=False, separators=(",", ":")).encode())

    def _keep(self, key: _Key, line: bytes) -> None:
        before = len(self._waiting.get(key, b""))
        full = not before and len(self._waiting) >= MAX_WAITING
        if full or self._bytes + len(line) - before > MAX_WAITING_BYTES or len(line) > MAX_BYTES:
            self.dropped += 1
            return
        self._waiting[key] = line
        self._bytes += len(line) - before

    def counters(self) -> dict[str, int]:
        """For the heartbeat."""
        return {
            **{f"reports.{what}": taken for what, taken in self.taken.items()},
            "reports.waiting": len(self._waiting),
            "reports.refused": self.refused,
            "reports.dropped": self.dropped,
        }

    def run(self, stop: threading.Event) -> None:
        """Send until `stop` is set. Trouble is logged once and never ends this."""
        failures = 0
        while not stop.is_set():
            try:
                pause = BETWEEN_S if self.step() else IDLE_S
                failures = 0
                self._say("")
            except UplinkError as error:
                failures += 1
                pause = min(FIRST_PAUSE_S * 2.0 ** min(failures - 1, 10), LONGEST_PAUSE_S)
                if error.permanent:  # the other kind may be taken
                    pause = IDLE_S
                if error.retry_after_s is not None:
                    pause = max(error.retry_after_s, BETWEEN_S)
                self._say(str(error))
            stop.wait(pause)

    def drain(self, stop: threading.Event, give_up_s: float) -> None:
        """Send until nothing waits; UplinkError where only a person can help, or after so long without progress."""
        since = time.monotonic()
        while not stop.is_set():
            try:
                if not self.step():
                    return
                since = time.monotonic()
            except UplinkError as error:
                pause = FIRST_PAUSE_S if error.retry_after_s is None else error.retry_after_s
                if error.permanent or time.monotonic() + pause - since > give_up_s:
                    raise
                stop.wait(pause)

    def step(self) -> bool:
        """Send one request; False where nothing waits. UplinkError where the console did not take it."""
        piece = self._piece()
        if not piece:
            return False
        what = next(iter(piece))[0]
        try:
            failpoint("reports.before_request")
            reply = self._post(what, b'{"%b":[%b]}' % (what.encode(), b",".join(piece.values())))
            failpoint("reports.after_reply")
        except TooLargeError:  # a proxy before the console may take less than the console itself
            if len(piece) == 1:
                self._done(piece)
                self.dropped += 1
            else:
                self._most_bytes = sum(map(len, piece.values())) // 2
            return True
        except UplinkError as error:
            if error.permanent:
                self._not_before[what] = time.monotonic() + LONGEST_PAUSE_S
            raise
        rejected = reply.get("rejected")
        refused = len(rejected) if isinstance(rejected, list) else 0
        if refused:
            first = printable(str(rejected[0]))[:200] if rejected else ""
            log.warning("the console does not store %d of %d reported %s: %s", refused, len(piece), what, first)
        self.refused += refused
        self.taken[what] += len(piece) - min(refused, len(piece))
        self._done(piece)
        return True

    def _piece(self) -> dict[_Key, bytes]:
        """Records of one kind that fit into a request, the oldest first.

        Never two of one thing: the console tells by the latest run of each what it has counted already.
        """
        found: dict[_Key, bytes] = {}
        things: set[_Key] = set()
        size = 0
        with self._lock:
            now = time.monotonic()
            for key, line in self._waiting.items():
                if self._not_before.get(key[0], now) > now:
                    continue
                if found and (key[0] != next(iter(found))[0] or size + len(line) > self._most_bytes):
                    break
                thing = key[2:]
                if thing in things:
                    break
                things.add(thing)
                found[key] = line
                size += len(line) + 1
                if len(found) == MAX_RECORDS:
                    break
        return found

    def _done(self, piece: Mapping[_Key, bytes]) -> None:
        self._strike(piece)
        with self._lock:
            for key, line in piece.items():
                if self._waiting.get(key) is line:  # otherwise it was reported anew meanwhile
                    del self._waiting[key]
                    self._bytes -= len(line)

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            log.log(logging.WARNING if trouble else logging.INFO, "what stands: %s", trouble or "it is reported again")

    def save(self) -> None:
        """Note on disk what waits; OSError where that cannot be."""
        with self._disk:
            with self._lock:
                waiting = dict(self._waiting)
            failpoint("reports.before_note")
            if waiting:
                name = secrets.token_hex(8)
                lines = [json.dumps([*key, line.decode()]) + "\n" for key, line in waiting.items()]
                write_note(self._note, [json.dumps({"note": name}) + "\n", *lines])
                self._name, self._noted = name, set(waiting)
            elif self._note.exists():
                self._note.unlink()
                sync_folder(self._note)
                self._noted.clear()
            failpoint("reports.after_note")
            self._struck.unlink(missing_ok=True)
            failpoint("reports.after_taken_unlink")

    def _strike(self, piece: Mapping[_Key, bytes]) -> None:
        """Strike out of the note what the console has taken now."""
        with self._disk:
            taken = self._noted.intersection(piece)
            if not taken:
                return
            try:
                failpoint("reports.before_taken")
                new = not self._struck.exists()
                with self._struck.open("a", encoding="utf-8") as file:
                    file.write("\n")  # behind a line that was torn
                    file.writelines(json.dumps([self._name, *key]) + "\n" for key in sorted(taken))
                    file.flush()
                    os.fsync(file.fileno())
                if new:
                    sync_folder(self._struck)
                failpoint("reports.after_taken")
            except OSError as error:
                log.warning("%s cannot be written (%s): a crash may count some twice", self._struck, error)
            self._noted -= taken

    def _recall(self) -> None:
        """Take up what was not taken when the sensor ended; what is damaged is left out."""
        try:
            if self._note.stat().st_size > 4 * MAX_WAITING_BYTES:
                raise ValueError("it is too large to be ours")
            struck = self._taken_of("")
            with self._note.open(encoding="utf-8") as file:
                for number, text in enumerate(file):
                    said = json.loads(text)
                    if not number and isinstance(said, dict):  # notes of earlier versions have no name
                        self._name = str(said["note"])
                        struck = self._taken_of(self._name)
                        continue
                    *key, line = said
                    texts = all(isinstance(part, str) for part in (*key, line))
                    if not texts or len(key) != 2 + len(KEYS[key[0]]) or not isinstance(json.loads(line), dict):
                        raise ValueError("a line is no record")
                    if tuple(key) not in struck:
                        self._keep(tuple(key), line.encode())
                        self._noted.add(tuple(key))
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
            log.warning("%s cannot be read (%s); going on without the rest of it", self._note, error)

    def _taken_of(self, name: str) -> set[_Key]:
        """What was struck out of the note of this name; a torn line says nothing, for nothing was sent after it."""
        found: set[_Key] = set()
        try:
            lines = self._struck.read_text("utf-8").split("\n")
        except FileNotFoundError:
            return found
        for text in lines:
            with contextlib.suppress(ValueError, TypeError):
                note, *key = json.loads(text)
                if note == name:
                    found.add(tuple(key))
        return found


def send_assets(url: str, key: str, assets: Sequence[Mapping[str, Any]]) -> list[str]:
    """Report assets; gives what the console rejected, a line each. ReportError where it takes nothing."""
    rejected: list[str] = []
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    try:
        with httpx.Client(headers=headers, timeout=TIMEOUT_S, trust_env=False) as client:
            for piece in _pieces(assets):
                said = _posted(client, f"{url.rstrip('/')}/api/v1/assets", piece)
                rejected += [printable(str(it))[:300] for it in said.get("rejected", [])]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ReportError(f"the console at {printable(url)} cannot be reached: {printable(str(error))}") from None
    return rejected


def _pieces(assets: Sequence[Mapping[str, Any]]) -> Iterator[bytes]:
    piece: list[str] = []
    size = 0
    for asset in assets:
        line = json.dumps(asset, ensure_ascii=False)
        if piece and (len(piece) >= MAX_RECORDS or size + len(line.encode()) > MAX_BYTES):
            yield f'{{"assets": [{",".join(piece)}]}}'.encode()
            piece, size = [], 0
        piece.append(line)
        size += len(line.encode())
    if piece:
        yield f'{{"assets": [{",".join(piece)}]}}'.encode()


def _posted(client: httpx.Client, url: str, body: bytes) -> dict[str, Any]:
    """The answer to one piece; while the console is busy it is asked again."""
    for attempt in range(ATTEMPTS):
        answer = client.post(url, content=body)
        if answer.status_code not in (429, 503) or attempt + 1 == ATTEMPTS:
            break
        wait = answer.headers.get("Retry-After", "")
        time.sleep(min(float(wait) if wait.isdecimal() else 2.0**attempt, LONGEST_WAIT_S))
    if answer.status_code == 401:
        raise ReportError("the console does not know this key")
    if answer.status_code != 200:
        raise ReportError(f"the console answers {answer.status_code}: {printable(answer.text)[:200]}")
    said = answer.json()
    return said if isinstance(said, dict) else {}
