"""A world: one sensor, one console, one worker as processes, load upon them, and a ledger of what was promised."""

from __future__ import annotations

import contextlib
import random
import re
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sqlalchemy import select
from support.far_side import MailServer
from support.programs import free_port

from chaos import programs
from chaos.backing import Backing
from chaos.index_ledger import index_complaints, is_fed
from chaos.ledger import CALLS, NOBODY, Ledger, message_complaints, unsent
from console.notify.email import EmailChannel, SmtpSettings
from console.run import add_sensor, init_console
from console.services import contacts, inventory
from console.services.actor import Actor, the_console, utc_now
from console.services.incident_policy import set_policy
from console.settings import Settings
from console.store.engine import open_store
from console.store.models import Lease, Organisation, Sensor
from console.store.search import indexer
from detectors.finding import Severity
from sensor.spool import QUOTA_BYTES

SENSOR, CONSOLE, WORKER = "sensor", "console", "worker"
INDEXER, NODE, DATABASE = "indexer", "node", "database"  # the latter two are programs of others
ALL = (SENSOR, CONSOLE, WORKER)
PROGRAMS = {CONSOLE: programs.run_console, WORKER: programs.run_worker, INDEXER: programs.run_index}
LARGEST = 5  # findings that become safe with one flush
AHEAD = 4  # flushes that are asked for and not yet answered
PACE_S = 0.008  # between two of them: about what the console takes while it is killed all the time
PATIENCE_S = 120.0  # to drain, on a busy machine
SQLITE_ALONE = Backing()


# What a log may say of a database that was killed: that it did not answer.
AWAY = (
    "psycopg.OperationalError",
    "psycopg.errors.",
    "sqlalchemy.exc.OperationalError",
    "sqlalchemy.exc.InvalidatePool",
)


def mistakes(log: Path, away: Sequence[str] = ()) -> list[str]:
    """What ended each traceback in a log, but with the beginnings of `away`.

    A store that was locked for ten seconds is none: the machine is too busy.
    """
    text = log.read_text("utf-8", "replace")
    ends = re.findall(r"^Traceback \(most.*?^(?=\w)([^\n]*)", text, re.MULTILINE | re.DOTALL)
    return [end for end in ends if "database is locked" not in end and not end.startswith(tuple(away))][:1]


class World:
    """See the module. Everything that it does follows from `seed`, but for when the processes are scheduled."""

    def __init__(
        self, folder: Path, seed: int, quota_bytes: int = QUOTA_BYTES, backing: Backing = SQLITE_ALONE
    ) -> None:
        """folder: empty or new. quota_bytes: of the spool; where that is reached, findings are given up and counted.

        backing: what the console stands on; it is killed and started here, and ended by whoever made it.
        """
        self._quota_bytes = quota_bytes
        self.backing = backing
        self.all = (*ALL, *([INDEXER] if backing.url else []))
        others = {DATABASE: backing.database, NODE: backing.node}
        self.others = {name: it for name, it in others.items() if it is not None}
        self._dead: set[str] = set()  # of the others
        self._starting: threading.Thread | None = None
        self._widowed: set[str] = set()  # dead programs whose leases are not ended yet
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.chance = random.Random(seed)
        self.ledger = Ledger()
        self.mail = MailServer()
        self.mail.box.always[NOBODY] = "RCPT 550 5.1.1 No such user"
        self.mail.__enter__()
        self.settings = Settings(
            data_dir=folder / "console",
            port=free_port(),
            locale="en",
            smtp_host="127.0.0.1",
            smtp_port=self.mail.port,
            smtp_security="none",
            smtp_sender="fenghuo@console.example",
            **backing.settings(),
        )
        init_console(self.settings, "Plant")
        self._key = add_sensor(self.settings, programs.SENSOR, "North", "Line 1")
        self.store = open_store(self.settings.store_url)
        self._addresses = self._name_contacts()
        self._report_asset()
        self._make = programs.processes()
        self._running: dict[str, Any] = {}
        self._expected: set[Any] = set()  # processes that we killed, or armed to die
        self._pipe: Connection | None = None
        self._asked: deque[list[int]] = deque()
        self._next_token = 1
        self.deaths: Counter[str] = Counter()
        self.crashes: list[str] = []

    def _report_asset(self) -> None:
        """One device, so that there is a document of that kind."""
        record = {
            "address": "10.0.0.1", "first_seen": "2026-11-22T08:00:00Z", "last_seen": "2026-11-22T08:00:00Z",
        }  # fmt: skip
        with self.store.transaction() as session:
            sensor = session.scalars(select(Sensor)).one()
            outcome, records = inventory.check(inventory.Report(assets=[record]))
            inventory.store(session, sensor, outcome, records, utc_now())
            assert outcome.stored == 1

    def _name_contacts(self) -> list[int]:
        """Two mailboxes and one that is refused; that one is called first for each critical finding's incident."""
        channel = EmailChannel(SmtpSettings("127.0.0.1", 25, "none", "", "", "fenghuo@console.example"))
        made = []
        with self.store.transaction() as session:
            self._actor: Actor = the_console(session.scalars(select(Organisation.id)).one())
            for address in (NOBODY, "li@plant.example", "wang@plant.example"):
                contact = contacts.add_contact(session, self._actor, address, "zh", utc_now())
                typed = {"address": address}
                made.append(contacts.add_address(session, self._actor, contact.id, channel, typed, utc_now()).id)
            steps = [contacts.Step(address, 24 * 60) for address in made[:CALLS]]
            contacts.set_escalation(session, self._actor, steps, 1, utc_now())
            set_policy(session, self._actor, int(Severity.CRITICAL), 24, utc_now())
        return made[1:]

    # --- processes

    def start(self, names: Iterable[str] = (), armed: str = "") -> None:
        """Start the programs of these names, or all, that do not run, and before them what they stand on.

        armed: a failpoint for each, see sensor/failpoints.py.
        """
        for name in sorted(self._dead):
            if name == NODE:  # it takes its time, and the world goes on meanwhile
                self._starting = threading.Thread(target=self.others[name].start)
                self._starting.start()
            else:
                self.others[name].start()
        self._dead.clear()
        self.bury()
        for name in names or self.all:
            if name in self._running:
                continue
            log = self.folder / f"{name}.log"
            if name == SENSOR:
                ours, theirs = self._make.Pipe()
                url = self.settings.base_url
                arguments = (theirs, self.folder / "spool", self._quota_bytes, url, self._key, log, armed)
                process = self._make.Process(target=programs.run_sensor, args=arguments)
                programs.start(process)
                theirs.close()
                self._pipe = ours
            else:
                process = self._make.Process(target=PROGRAMS[name], args=(self.settings, log, armed))
                programs.start(process)
            self._running[name] = process
            if armed:
                self._expected.add(process)

    def kill(self, *names: str) -> None:
        """SIGKILL, all at once, and none of them knows; the database by an immediate shutdown."""
        for name in self.others.keys() & set(names) - self._dead:
            if name == NODE and self._starting is not None:
                self._starting.join()
            self.others[name].kill()
            self._dead.add(name)
            self.deaths[name] += 1
        dying = [self._running[name] for name in names if name in self._running]
        for process in dying:
            self._expected.add(process)
            process.kill()
        for process in dying:
            programs.wait(process)
        self.bury()

    def bury(self) -> list[str]:
        """Take note of the programs that have ended; their names."""
        dead = []
        for name, process in list(self._running.items()):
            if programs.alive(process):
                continue
            del self._running[name]
            dead.append(name)
            self.deaths[name] += 1
            if process not in self._expected or process.exitcode != -signal.SIGKILL:
                self.crashes.append(f"{name} ended by itself, exit code {process.exitcode}")
            self._expected.discard(process)
            if name == SENSOR:
                self._lose_the_pipe()
            elif name in (WORKER, INDEXER):
                self._widowed.add(name)
        if self._widowed and DATABASE not in self._dead:
            self._end_leases()
        return dead

    def _end_leases(self) -> None:
        """A dead holder's leases end by themselves, after ten seconds each time; a test need not wait for that."""
        with self.store.transaction() as session:
            for row in session.scalars(select(Lease)):
                if (INDEXER if row.name == indexer.LEASE else WORKER) in self._widowed:
                    row.until = utc_now()
        self._widowed.clear()

    def _lose_the_pipe(self) -> None:
        """The sensor is dead: what it still said counts; what it did not answer may stand or not."""
        assert self._pipe is not None
        try:
            while True:
                self._hear()
        except (EOFError, OSError):
            pass
        for tokens in self._asked:
            self.ledger.unsure.update(tokens)
        self._asked.clear()
        self._pipe.close()
        self._pipe = None

    # --- load

    def feed(self, seconds: float) -> None:
        """Load for so long: findings, a few with each flush."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            begin = time.monotonic()
            self.ask()
            while (left := min(begin + PACE_S, until) - time.monotonic()) > 0:
                self._listen(left)

    def feed_until_promised(self, more: int, seconds: float) -> None:
        """Load until so many more are promised, for at most so long."""
        end, wanted = time.monotonic() + seconds, len(self.ledger.promised) + more
        while len(self.ledger.promised) < wanted and time.monotonic() < end:
            self.feed(PACE_S)

    def ask(self) -> None:
        """Give the sensor some findings, without waiting for its promise."""
        if self._pipe is None or len(self._asked) >= AHEAD:
            return
        count = self.chance.randint(1, LARGEST)
        tokens = list(range(self._next_token, self._next_token + count))
        self._next_token += count
        self._asked.append(tokens)
        with contextlib.suppress(OSError):  # it is dead; whoever killed it will bury it
            self._pipe.send(tokens)

    def _listen(self, seconds: float) -> None:
        try:
            if self._pipe is not None and self._pipe.poll(seconds):
                self._hear()
                return
        except (EOFError, OSError):
            pass
        time.sleep(min(seconds, 0.001))

    def _hear(self) -> None:
        assert self._pipe is not None
        count = self._pipe.recv()
        tokens = self._asked.popleft()
        assert count == len(tokens)
        self.ledger.promised.update(tokens)

    def write_message(self) -> None:
        """A message to one of the contacts, as a person would have it sent."""
        if DATABASE in self._dead:
            return
        with self.store.transaction() as session:
            contacts.send_test(session, self._actor, self.chance.choice(self._addresses), utc_now())

    # --- the end

    def settle(self, patience_s: float = PATIENCE_S) -> list[str]:
        """Let everything run until nothing waits; complaints where that does not happen by itself."""
        self.start()
        return [
            *self._until(lambda: not self._asked, patience_s, "the sensor does not promise any more", hear=True),
            *self._until(lambda: self._depth() == 0, patience_s, "the spool does not drain"),
            *self._until(lambda: unsent(self.store) == 0, patience_s, "messages stay unsent"),
            *(self._until(lambda: is_fed(self.store), patience_s, "the index is not fed") if self.backing.url else []),
        ]

    def _until(self, condition: Callable[[], bool], patience_s: float, what: str, *, hear: bool = False) -> list[str]:
        end = time.monotonic() + patience_s
        try:
            while not condition():
                if time.monotonic() > end:
                    return [what]
                if hear and self._pipe is not None and self._pipe.poll(0.05):
                    self._hear()
                else:
                    time.sleep(0.01)
        except (EOFError, OSError) as error:
            self.bury()
            return [f"{what}: the sensor has ended ({type(error).__name__})"]
        return []

    def _depth(self) -> int:
        assert self._pipe is not None
        self._pipe.send("depth")
        return int(self._pipe.recv())

    def complaints(self) -> list[str]:
        """What is wrong now that everything has settled; nothing where everything stands exactly once."""
        self.bury()
        taken = Counter(delivery.key for delivery in self.mail.box.taken)
        away = AWAY if DATABASE in self.others else ()
        return [
            *self.crashes,
            *(
                f"{path.stem} made a mistake: {one}"
                for path in self.folder.glob("*.log")
                for one in mistakes(path, away)
            ),
            *self.ledger.complaints(self.store, may_lose=self._quota_bytes < QUOTA_BYTES),
            *message_complaints(self.store, taken),
            *(index_complaints(self.store, self.settings) if self.backing.url else []),
        ]

    def close(self) -> None:
        """End everything."""
        self.kill(*self.all)
        if self._starting is not None:
            self._starting.join()
        if self.backing.url:
            self.backing.forget(self.settings.elasticsearch_prefix)
        self.store.engine.dispose()
        self.mail.__exit__()
