"""Campaigns: kills at random moments, and at every failpoint. Each gives a report in which nothing may be wrong."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from chaos import scenes
from chaos.backing import OWN, SQLITE, Backing, backing
from chaos.index_scene import IndexScene
from chaos.points import read_points
from chaos.world import ALL, CONSOLE, DATABASE, INDEXER, NODE, SENSOR, SQLITE_ALONE, WORKER, World
from sensor.spool import LEAST_QUOTA_BYTES, QUOTA_BYTES
from sensor.spool_files import SEGMENT_HEADER, Record, encode, segment_header
from sensor.spool_segments import SUFFIX, found, survey

ROUND = 25  # kills, after which a world settles and its ledgers are compared
LIFE = 4  # rounds of one world
VICTIMS = {(SENSOR,): 40, (CONSOLE,): 35, (WORKER,): 12, (SENSOR, CONSOLE): 5, ALL: 8}
OF_DATABASE = {(DATABASE,): 20, (DATABASE, CONSOLE): 10, (DATABASE, *ALL): 5}
OF_INDEX = {(INDEXER,): 40, (INDEXER, CONSOLE): 10}
OF_NODE = {(NODE,): 4, (NODE, INDEXER): 2}  # it takes many seconds to come back
ARRIVALS = (1, 3)  # at which a point kills
PROGRAM_OF = {"spool": SENSOR, "uplink": SENSOR, "ingest": CONSOLE, "outbox": WORKER}  # by the begin of a point's name
INDEX = "index."  # begins the names of points of who feeds the index
TIGHT = ("rewrite", "merge")  # in the names of points that are reached when the quota is, while there is no console
STUCK_S = 3.0  # a sensor that was just started promises something within it, mostly
REACH_S = 60.0  # within which a point is reached for the first time, on a busy machine
AGAIN_S = 2.0  # a later arrival is waited for; what happens once in the life of a process never comes to it
T = TypeVar("T")
_lock = threading.Lock()  # of reports, and of setting up: Alembic keeps what it works on in a global
Tell = Callable[[str], None]


@dataclass
class Report:
    """What was done, and what was wrong: complaints name the seed or the point."""

    killed: int = 0
    deaths: Counter[str] = field(default_factory=Counter)
    reached: set[str] = field(default_factory=set)
    promised: int = 0
    unsure: int = 0
    messages: int = 0
    seconds: float = 0.0
    complaints: list[str] = field(default_factory=list)

    def progress(self, kills: int) -> None:
        """So many more are done."""
        with _lock:
            self.killed += kills

    def reach(self, point: str) -> None:
        """Somebody died there."""
        with _lock:
            self.killed += 1
            self.reached.add(point)

    def complain(self, complaint: str) -> None:
        """Something is wrong."""
        with _lock:
            self.complaints.append(complaint)

    def add(self, world: World, what: str, complaints: Sequence[str]) -> None:
        """Take over what a world that is about to end has counted."""
        with _lock:
            self.deaths.update(world.deaths)
            self.promised += len(world.ledger.promised)
            self.unsure += len(world.ledger.unsure)
            self.messages += len(world.mail.box.taken)
            self.complaints += [f"{what}: {complaint}" for complaint in complaints]


@contextmanager
def new_folder() -> Iterator[Path]:
    """In memory where there is such a directory: a kill does not ask what the disk has synced."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="fenghuo-chaos-", dir=memory if memory.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def new_world(seed: int, quota_bytes: int = QUOTA_BYTES, base: Backing = SQLITE_ALONE) -> Iterator[World]:
    """A world that ends with the block."""
    with new_folder() as folder:
        with _lock:
            world = World(folder, seed, quota_bytes, base)
        try:
            yield world
        finally:
            world.close()


def kill_at_random(
    kills: int,
    seed: int,
    worlds: int,
    tell: Tell,
    minutes: float = float("inf"),
    store: str = SQLITE,
    cluster: str = "",
) -> Report:
    """`kills` kills at moments that follow from `seed`, in `worlds` worlds at a time. minutes: begin no more after.

    store, cluster: what the consoles stand on, see backing.py; each world at a time has its own.
    """
    report, begin = Report(), time.monotonic()
    each = min(ROUND * LIFE, -(-kills // worlds))
    lives = [(seed * 100_003 + at, min(each, kills - at)) for at in range(0, kills, each)]

    def live(life: tuple[int, int]) -> None:
        life_seed, wanted = life
        if time.monotonic() > begin + 60 * minutes:
            return
        base = free.get()
        try:
            with new_world(life_seed, base=base) as world:
                wrong: list[str] = []
                for at in range(0, wanted, ROUND):
                    if time.monotonic() > begin + 60 * minutes:
                        break
                    done = min(ROUND, wanted - at)
                    wrong = _round(world, done)
                    report.progress(done)
                    tell(f"{report.killed} of {kills} kills")
                    if wrong:
                        break
                report.add(world, f"life with seed {life_seed}", wrong)
        finally:
            free.put(base)  # whatever went wrong: the lives after it wait for one

    free: SimpleQueue[Backing] = SimpleQueue()
    with ExitStack() as stack:
        for _ in range(min(worlds, len(lives))):
            free.put(stack.enter_context(backing(store, cluster)))
        _in_parallel(live, lives, worlds, report, lambda life: f"life with seed {life[0]}")
    report.seconds = time.monotonic() - begin
    return report


def _round(world: World, kills: int) -> list[str]:
    """Some kills under load; then what is wrong after everything has settled."""
    chance, victims = world.chance, victims_of(world)
    spared = [name for name in (*world.all, *world.others) if not world.deaths[name]]
    world.start()
    for _ in range(kills):
        world.feed_until_promised(chance.randint(0, 30), STUCK_S)
        world.feed(chance.uniform(0, 0.05))
        if chance.random() < 0.3:
            world.write_message()
        if chance.random() < 0.5:  # in the middle of a flush, rather than anywhere
            world.ask()
            time.sleep(chance.uniform(0, 0.002))
        # Each of them once before chance decides: among few kills it may never meet one.
        world.kill(*([spared.pop()] if spared else chance.choices(list(victims), list(victims.values()))[0]))
        if chance.random() < 0.3:
            world.feed(chance.uniform(0, 0.1))
        world.start()
    return world.settle() + world.complaints()


def victims_of(world: World) -> dict[tuple[str, ...], int]:
    """Who may die together there, with weights."""
    found = dict(VICTIMS)
    if world.backing.database:
        found |= OF_DATABASE
    if world.backing.url:
        found |= OF_INDEX
    return found | OF_NODE if world.backing.node else found


def kill_at_points(
    points: Sequence[str], seed: int, worlds: int, tell: Tell, store: str = SQLITE, cluster: str = ""
) -> Report:
    """Let a program die at each of these points, at its first arrival and at a later one. store, cluster: see above."""
    report, begin = Report(), time.monotonic()
    staged = [point for point in points if _is_staged(point)]
    indexing = [point for point in points if point.startswith(INDEX)]
    points = [point for point in points if not _is_staged(point) and not point.startswith(INDEX)]
    # A spool as small as that of the tight ones holds nothing but critical findings by the time of a later arrival.
    armed = [f"{point}:{arrival}" for point in points for arrival in (ARRIVALS[:1] if _is_tight(point) else ARRIVALS)]
    tight = [name for name in armed if _is_tight(name)]
    roomy = [name for name in armed if not _is_tight(name)]
    shares = [
        share for share in [tight, *(roomy[number::worlds] for number in range(worlds)), staged, indexing] if share
    ]

    def walk(share: Sequence[str]) -> None:
        if share is staged:
            _perform(share, report, tell)
            return
        if share is indexing:
            _feed_index(share, cluster, report, tell)
            return
        quota = LEAST_QUOTA_BYTES if _is_tight(share[0]) else QUOTA_BYTES
        with backing(store, "") as base, new_world(seed, quota, base) as world:
            world.start()
            world.feed_until_promised(1, REACH_S)  # there is a segment, in which something can be repaired
            for name in share:
                wrong = _die_at(world, name, report)
                tell(f"{len(report.reached)} points: {name}")
                if wrong:
                    break
            report.add(world, f"at {name}", wrong)

    _in_parallel(walk, shares, worlds, report, lambda share: f"points from {share[0]}")
    report.seconds = time.monotonic() - begin
    return report


def _die_at(world: World, armed: str, report: Report) -> list[str]:
    """Load until the program of this point dies there; then what is wrong after everything has settled."""
    point, _, arrival = armed.partition(":")
    program = PROGRAM_OF[point.partition(".")[0]]
    without = {CONSOLE} if _is_tight(point) else set()
    world.kill(program, *without)
    if program == SENSOR:
        dirty(world.folder / "spool", empty="unlink" in point)
    world.start([name for name in ALL if name not in {program, *without}])
    world.start((program,), armed)
    begin = time.monotonic()
    while not (dead := world.bury()) and time.monotonic() < begin + (REACH_S if arrival == "1" else AGAIN_S):
        world.feed(0.03)
        if world.chance.random() < 0.1:
            world.write_message()
    if dead:
        report.reach(point)
    elif arrival == "1":
        return ["never reached"]
    world.kill(program)  # where it has not died it is still armed
    world.start()
    world.feed(0.02)
    return world.settle() + world.complaints()


def _feed_index(points: Sequence[str], cluster: str, report: Report, tell: Tell) -> None:
    with backing(SQLITE, cluster) as base, new_folder() as folder:
        with _lock:
            scene = IndexScene(folder, base)
        for point in points:
            wrong = list(scene.die_at(point))
            if not wrong:
                report.reach(point)
            for complaint in wrong:
                report.complain(f"at {point}: {complaint}")
            tell(f"{len(report.reached)} points: {point}")
        scene.close()


def _perform(points: Sequence[str], report: Report, tell: Tell) -> None:
    for point in points:
        with new_folder() as folder:
            with _lock:
                scenes.prepare(point, folder)
            died, wrong = scenes.die_at(point, folder)
        for _ in range(died):
            report.reach(point)
        for complaint in wrong if died else [*wrong, "never reached"]:
            report.complain(f"at {point}: {complaint}")
        tell(f"{len(report.reached)} points: {point}")


def dirty(spool: Path, *, empty: bool) -> None:
    """Leave behind what kills and people leave: one of another spool; a torn block, or an empty segment at the end."""
    segments = found(spool)
    if not segments:
        return
    first, path = segments[-1]
    last = survey(path, first).last
    header = path.read_bytes()[: SEGMENT_HEADER.size]
    (spool / f"{0:020d}{SUFFIX}").write_bytes(segment_header(1) + encode([Record(1, b"{}")]))
    if empty:
        (spool / f"{last + 1:020d}{SUFFIX}").write_bytes(header)
        return
    with path.open("ab") as file:
        file.write(encode([Record(last + 1, b"{}")])[:-1])


def _is_staged(point: str) -> bool:
    return point.partition(".")[0] in scenes.SCENES


def _is_tight(point: str) -> bool:
    return any(word in point for word in TIGHT)


def all_points(cluster: str = OWN) -> list[str]:
    """Every failpoint that stands in the sources, without those of the index where there is no cluster for it."""
    return sorted(point for point in read_points() if cluster or not point.startswith(INDEX))


def _in_parallel(
    work: Callable[[T], None], items: Sequence[T], worlds: int, report: Report, name: Callable[[T], str]
) -> None:
    """Do all; what goes wrong with the harness itself is a complaint too."""

    def guarded(item: T) -> None:
        try:
            work(item)
        except Exception as error:  # it must not end the others, nor be overlooked
            report.complain(f"{name(item)}: the harness failed: {type(error).__name__}: {error}")

    with ThreadPoolExecutor(worlds) as pool:
        list(pool.map(guarded, items))
