"""What the console's indicators match in the past: a sensor with an archive searches it for each that is new to it.

The search runs in a process of its own at the lowest priority (`python -m detectors.hunting.retro DIR`: indicators come
in, one JSON line for each that was found goes out), so that years of files never keep frames waiting. Which indicators
were searched for is noted when what they found is in the spool; a crash before that searches again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from detectors import knowledge
from detectors.finding import Evidence, Finding, rfc3339
from detectors.hunting.search import Hit, Search
from detectors.hunting.wanted import Condition, Sought, condition
from detectors.sigma.tree import Node, all_of
from detectors.wording import listed
from sensor.archive.origin import ArchiveError
from sensor.archive.store import Archive
from sensor.archive.terms import span_of
from sensor.notes import write_note

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
MAX_ROWS = 2000  # that are described, of all indicators together
MAX_SHOWN = 5  # rows and pairs of addresses of one indicator in its finding
MAX_NOTED = 200_000  # indicators that are remembered as searched for
PATIENCE_S = 3600.0
_ASKED: Node = ["in", "event.outcome", ["asked"]]

Items = Sequence[Mapping[str, Any]]


class RetroHunt:
    """Searches for what is new among the indicators, in a thread; `ask` may be called from any other."""

    def __init__(self, archive: Path, notes: Path, found: Callable[[Finding], None]) -> None:
        """notes: file that says what was searched for. found: takes a finding, and has it on disk when it returns."""
        self._archive, self._notes, self._found = archive, notes, found
        self._items: Items | None = None
        self._wake, self._stop = threading.Event(), threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name="retro-hunt", daemon=True)
        self._thread.start()

    def ask(self, items: Items) -> None:
        """Search for those of these that were not searched for; the latest call counts."""
        self._items = list(items)
        self._wake.set()

    def close(self) -> None:
        """Let go; a search that goes on is ended, and begun anew at the next start."""
        self._stop.set()
        self._wake.set()
        process = self._process
        if process is not None:
            process.kill()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            items, self._items = self._items, None
            if items and not self._stop.is_set():
                try:
                    self._search(items)
                except (OSError, ValueError, KeyError, TypeError):
                    log.exception("the archive could not be searched for the console's indicators")

    def _search(self, items: Items) -> None:
        noted = _noted(self._notes)
        new = {digest: item for item in items if (digest := _digest(item)) not in noted}
        if not new:
            return
        command = [sys.executable, "-m", "detectors.hunting.retro", str(self._archive.resolve())]
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            self._process = process
            try:
                out, error = process.communicate(json.dumps(list(new.values())), PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                out, error = "", f"it took longer than {PATIENCE_S:.0f} s"
            finally:
                self._process = None
        if self._stop.is_set():
            return
        if process.returncode:
            log.error("the archive could not be searched for %d indicators: %s", len(new), error.strip()[-300:])
            return
        for line in out.splitlines():
            self._found(finding_of(json.loads(line)))
        log.info("the archive was searched for %d new indicators", len(new))
        write_note(self._notes, [json.dumps([*noted, *new][-MAX_NOTED:])])


def finding_of(told: Mapping[str, Any]) -> Finding:
    """What one indicator found in the past, as a finding."""
    rule = knowledge.detector_rules()["indicator.archived"]
    first_ns, last_ns = int(told["first_ns"]), int(told["last_ns"])
    values = {
        "indicator": told["shown"],
        "bulletin": told["bulletin_title"],
        "count": told["events"],
        "first_seen": rfc3339(first_ns)[:19] + "Z",
        "seen": rfc3339(last_ns)[:19] + "Z",
        "examples": listed(told["pairs"]),
    }
    return Finding(
        rule.id,
        rule.name,
        rule.severity,
        str(told["protocol"]),
        first_ns,
        last_ns,
        rule.explain(values),
        source_ip=str(told["source"]),
        destination_ip=str(told["destination"]),
        techniques=rule.techniques,
        count=int(told["events"]),
        fields={"indicator.id": told["id"], "bulletin.id": told["bulletin_id"]},
        evidence=Evidence(pdus=tuple(told["pdus"])),
    )


def look(folder: Path, items: Items) -> Iterator[dict[str, Any]]:
    """What these indicators match in an archive: one record for each that matches anything. ArchiveError."""
    from detectors.indicators import Indicator, read
    from detectors.sigma.ruleset import shipped

    rules = {rule.id: rule for rule in shipped().rules}
    known: dict[str, Indicator] = {}
    sought: list[Sought] = []
    conditions: list[Condition] = []
    for item in items:
        try:
            it = read(item, rules)
        except (ValueError, TypeError, AttributeError):
            continue  # the detector names it in `rejected`
        known[it.id] = it
        if it.network is not None:
            sought.append(Sought(it.id, it.shown, *span_of(it.network)))
        elif it.operation:
            conditions.append(condition(it.id, it.shown, rules[it.operation].condition))
        elif it.match is not None:
            conditions.append(condition(it.id, it.shown, all_of([_ASKED, it.match])))
    archive = Archive(folder)
    search = Search(archive, conditions, sought, most=MAX_ROWS)
    origins = archive.catalogue.origins()
    shown: dict[str, list[Hit]] = {}
    for hit in search.run(lambda _done, _all: None):
        hits = shown.setdefault(hit.name, [])
        if len(hits) < MAX_SHOWN:
            hits.append(hit)
    for name, total in search.totals.items():
        it, hits = known[name], shown.get(name, [])
        ends = [_ends(hit.line) for hit in hits]
        source, destination = ends[0] if ends else ("", "")
        yield {
            "id": it.id, "shown": it.shown, "bulletin_id": it.bulletin_id, "bulletin_title": it.bulletin_title,
            "events": total.events, "first_ns": total.first_ns, "last_ns": total.last_ns,
            "source": source, "destination": destination,
            "protocol": hits[0].line.get("network.protocol", "") if hits else "",
            "pairs": list(dict.fromkeys(f"{one} -> {other}" for one, other in ends)),
            "pdus": [_pdu(hit.line, origins) for hit in hits],
        }  # fmt: skip


def _ends(line: Mapping[str, Any]) -> tuple[str, str]:
    """Who asks and who is asked, as far as the row tells."""
    ends = tuple(str(line.get(f"{side}.ip") or line.get(f"{side}.mac") or "") for side in ("source", "destination"))
    return (ends[1], ends[0]) if line.get("event.kind") == "response" else (ends[0], ends[1])


def _pdu(line: Mapping[str, Any], origins: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A row as evidence: fields of the schema, and the capture that `frame` counts in."""
    path = origins.get(line.get("archive.origin", ""), {}).get("path")
    fields = {name: value for name, value in line.items() if not name.startswith("archive.")}
    return fields | ({"capture": path} if path else {})


def _digest(item: Mapping[str, Any]) -> str:
    """An indicator that is the same in every way that a search sees."""
    same = [item.get("id"), item.get("type"), item.get("value")]
    return hashlib.sha256(json.dumps(same, sort_keys=True, default=str).encode()).hexdigest()[:24]


def _noted(path: Path) -> list[str]:
    try:
        noted = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):  # then all are searched for again
        return []
    return [str(it) for it in noted] if isinstance(noted, list) else []


def main() -> int:
    """The process: an archive's folder as the argument, indicators as a JSON list on standard input."""
    os.nice(19)
    try:
        for record in look(Path(sys.argv[1]), json.load(sys.stdin)):
            sys.stdout.write(json.dumps(record, default=str) + "\n")
    except ArchiveError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
