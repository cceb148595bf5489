"""Who does what to whom, reported of captures: a sensor and the console in one process, so that a death takes both.

All captures tell of the same groups, each with counts of its own. In the end the console must have added up each
capture's counts once, whatever was sent again.
"""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import select

from chaos import programs
from console import create_app
from console.run import add_sensor, init_console
from console.settings import Settings
from console.store.engine import open_store
from console.store.models import Behaviour
from sensor.notes import load_note, write_note
from sensor.reports import Reports

CAPTURES, GROUPS = 6, 3
GIVE_UP_S = 20.0


@functools.cache
def _template() -> tuple[tempfile.TemporaryDirectory[str], str]:
    """A console that knows the sensor, and the sensor's key: made once, for that takes seconds."""
    folder = tempfile.TemporaryDirectory(prefix="chaos-console-")
    settings = Settings(data_dir=Path(folder.name), locale="en")
    init_console(settings, "Plant")
    return folder, add_sensor(settings, programs.SENSOR, "North", "Line 1")


def prepare(folder: Path) -> None:
    """A console in the folder, before anybody dies."""
    template, key = _template()
    shutil.copytree(template.name, folder / "console")
    (folder / "key").write_text(key, "utf-8")


def _count(capture: int, group: int) -> int:
    return 10**capture * (group + 1)


def _records(capture: int) -> list[dict[str, Any]]:
    seen = dict.fromkeys(("first_seen", "last_seen"), f"2026-11-22T08:0{capture}:00Z")
    return [
        {
            "client": "10.0.0.1",
            "server": f"10.0.1.{group}",
            "protocol": "modbus",
            "count": _count(capture, group),
            **seen,
        }
        for group in range(GROUPS)
    ]


def report_captures(folder: Path) -> None:
    """As a sensor does it: what a capture gave is noted before it counts as inspected, and sent meanwhile."""
    client = create_app(Settings(data_dir=folder / "console", locale="en")).test_client()
    headers = {"Authorization": f"Bearer {(folder / 'key').read_text('utf-8')}"}

    def post(what: str, body: bytes) -> Mapping[str, Any]:
        answer = client.post(f"/api/v1/{what}", data=body, headers=headers)
        assert answer.status_code == 200, answer.text
        found: Mapping[str, Any] = answer.get_json()
        return found

    reports, done = Reports(folder / "reports.json", post), load_note(folder / "done.json", list)
    for capture in range(CAPTURES):
        if capture not in done:
            reports.put("behaviours", f"{capture}.0", _records(capture))
            reports.save()
            done.append(capture)
            write_note(folder / "done.json", [json.dumps(done)])
        if capture % 2:
            reports.step()
    reports.drain(threading.Event(), GIVE_UP_S)
    reports.save()


def wrong_reports(folder: Path) -> Iterator[str]:
    """The console has counted what each capture gave once."""
    store = open_store(Settings(data_dir=folder / "console").store_url)
    with store.reader() as session:
        held = {row.server: row.count for row in session.scalars(select(Behaviour))}
    store.engine.dispose()
    wanted = {f"10.0.1.{group}": sum(_count(it, group) for it in range(CAPTURES)) for group in range(GROUPS)}
    if held != wanted:
        yield f"the console counted {held}, and not {wanted}"
    yield from (f"{path.name} is left" for path in folder.glob("reports.*") if path.suffix != ".log")
