"""The programs of a world, each a process of its own: sensor, console, worker.

The console and the worker are those that people run. The sensor is the durable half of `fenghuo sensor run`, spool and
uplink wired as there, and its findings come from outside, through a pipe: so what it promised is known to somebody who
outlives it. Importing all this takes seconds; a server process does it once and forks one for each start.

Only times differ from real life (`hasten`): a sensor that waits a minute after its console was killed proves nothing
more than one that waits a few milliseconds.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import import_module
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import console
import console.run
import console.web.application
from console.notify import worker
from console.services import incident_policy
from console.settings import Settings
from console.store.search import indexer
from console.store.search import worker as feeding
from detectors.finding import Finding, FindingId, Severity, Text, to_dict
from detectors.losses import loss_line
from sensor import failpoints, uplink
from sensor.spool import Spool, SpoolError

for _name in console.BLUEPRINTS:
    import_module(_name)

TESTS = Path(__file__).resolve().parents[1]
SENSOR = "s1"
SINGLE, REPEATED = "chaos.single", "chaos.repeated"
TOKEN, PROBLEM = "chaos.token", "chaos.problem"
SEGMENT_BYTES = 48 * 1024  # small, so that segments begin and end all the time
START_NS = 1_795_334_400_000_000_000  # 2026-11-22 08:00 UTC
LEVELS = (Severity.INFORMATIONAL, Severity.LOW, Severity.MEDIUM, Severity.HIGH)


def processes() -> Any:
    """Makes processes quickly; the one that forks them is started with the first."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "chaos.scenes", "chaos.index_scene"])
    # The server does not take over our sys.path, and would pass over in silence what it cannot import.
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, (TESTS, TESTS.parent)))
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return context


# Starting a process looks after the others of this program too: two threads would take an exit code from each other.
_processes = threading.Lock()


def start(process: Any) -> None:
    """Start it."""
    with _processes:
        process.start()


def alive(process: Any) -> bool:
    """Whether it runs."""
    with _processes:
        return bool(process.is_alive())


def wait(process: Any) -> None:
    """Until it has ended."""
    while alive(process):
        time.sleep(0.002)


def hasten() -> None:
    """Shorten what only waits, and let every grave finding be an incident of its own."""
    indexer.IDLE_S, indexer.FIRST_PAUSE_S, indexer.LONGEST_PAUSE_S = 0.02, 0.05, 0.5
    uplink.FIRST_PAUSE_S, uplink.LONGEST_PAUSE_S, uplink.IDLE_S, uplink.HEARTBEAT_S = 0.02, 0.2, 0.01, 0.5
    worker.TICK_S = 0.2
    incident_policy.STORM = 1_000_000


def begin(log: Path, armed: str) -> None:
    """What every program does first: its words go to a file, and its failpoint is armed."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    hasten()
    failpoints.arm(armed)


def _end_with(parent: int) -> None:
    """No program outlives the harness, however that ends."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def run_console(settings: Settings, log: Path, armed: str) -> None:
    """`fenghuo console run --no-worker`."""
    begin(log, armed)
    console.run.serve(settings, worker=False)


def run_worker(settings: Settings, log: Path, armed: str) -> None:
    """`fenghuo console worker`."""
    begin(log, armed)
    worker.run_worker(settings)


def run_index(settings: Settings, log: Path, armed: str) -> None:
    """What feeds the search cluster beside `fenghuo console run`."""
    begin(log, armed)
    logging.getLogger("elastic_transport").setLevel(logging.ERROR)
    feeding.run_indexer(settings)


def run_sensor(pipe: Connection, folder: Path, quota_bytes: int, url: str, key: str, log: Path, armed: str) -> None:
    """Takes lists of tokens from the pipe, answers each with its length once they are on disk; "depth" with what waits.

    Ends when the other end of the pipe is closed.
    """
    begin(log, armed)
    spool = Spool(
        folder, lambda loss: loss_line(loss, SENSOR, spool.epoch), segment_bytes=SEGMENT_BYTES, quota_bytes=quota_bytes
    )
    sender = uplink.Uplink(url, key, spool)
    stop = threading.Event()
    thread = threading.Thread(target=sender.run, args=(stop, dict, _ignore), daemon=True)
    thread.start()
    try:
        while True:
            asked = pipe.recv()
            if asked == "depth":
                pipe.send(spool.depth)
                continue
            append(spool, asked)
            flush(spool)
            pipe.send(len(asked))
    except (EOFError, OSError):
        stop.set()


def append(spool: Spool, tokens: Sequence[int]) -> None:
    """One finding for each token into the spool's memory."""
    for token in tokens:
        spool.append(lambda sequence, token=token: line(spool, token, sequence))  # type: ignore[misc]


def flush(spool: Spool) -> None:
    """Until it is on disk: `fenghuo sensor run` tries again every FLUSH_S as well."""
    while True:
        try:
            spool.flush()
            return
        except SpoolError:
            time.sleep(0.01)


def _ignore(_config: uplink.Config) -> None:
    pass


def read_line(data: bytes) -> dict[str, Any]:
    """A finding as it is sent."""
    found: dict[str, Any] = json.loads(data)
    return found


def token_of(finding: Mapping[str, Any]) -> int:
    """The token of a finding that `line` made: it is in its time."""
    return round(datetime.fromisoformat(finding["@timestamp"]).timestamp() * 1000) - START_NS // 1_000_000


def problem_of(token: int) -> int | None:
    """The problem that a token is one more record of; None where it is a problem of its own."""
    return token // 5 % 7 if token % 5 == 0 else None


def rule_of(token: int) -> str:
    """Records of one problem have another rule than the others."""
    return SINGLE if problem_of(token) is None else REPEATED


def severity_of(token: int) -> Severity:
    """A few of those that are problems of their own are critical."""
    if problem_of(token) is not None:
        return Severity.LOW
    return Severity.CRITICAL if token % 97 == 1 else LEVELS[token % len(LEVELS)]


def line(spool: Spool, token: int, sequence: int) -> Mapping[str, Any]:
    """The finding that a token stands for."""
    problem = problem_of(token)
    when = START_NS + token * 1_000_000
    finding = Finding(
        rule_id=rule_of(token),
        rule_name=Text(zh="混沌", en="Chaos"),
        severity=severity_of(token),
        protocol="modbus",
        first_ns=when,
        last_ns=when,
        explanation=Text(zh="一次试验。" * (1 + token % 20), en="An experiment. " * (1 + token % 20)),
        source_ip=f"10.{token >> 16 & 255}.{token >> 8 & 255}.{token & 255}" if problem is None else "10.0.0.1",
        destination_ip="",
        techniques=("T0858",),
        fields={TOKEN: token} if problem is None else {PROBLEM: problem},
    )
    return to_dict(finding, FindingId(SENSOR, spool.epoch, sequence))
