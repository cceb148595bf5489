"""`make bench`: how fast captures are read, decoded and inspected, beside other tools where they are installed.

The traces are made here (`traffic.py`), the same for everybody and every time. All programs take them from the page
cache, in turn, several rounds long, so that what else the machine does meets all of them; printed are medians and best.
Reading the file is the limit. What each decoded is counted, so that none is fast by doing nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tools import contenders, traffic
from tools.contenders import MB, Contender, ProgramError, Taken
from tools.traces import Made, Trace, write

CACHE = Path(__file__).resolve().parent.parent / "var" / "bench"
SOURCES = ("traces.py", "traffic.py")
LARGE = "modbus"  # the trace that is also measured at its largest
HEADS = (
    ("median", 10), ("best", 10), ("cpu", 10), ("packets/s", 12), ("x suricata", 12), ("by cpu", 8),
    ("x cat", 9), ("peak", 9),
)  # fmt: skip
DECODE, INSPECT = "fenghuo: decode, in process", "fenghuo inspect, whole process"
MEMORY, DETECT = "fenghuo: in memory, one core", "fenghuo: detect, in process"


@dataclass
class Measured:
    """One program on one trace. packets: how many it was given; rounds: what each took."""

    trace: str
    program: str
    packets: int
    expected: int
    rounds: list[Taken] = field(default_factory=list)

    @property
    def wall(self) -> float:
        """Median seconds by the clock."""
        return statistics.median(it.wall for it in self.rounds)

    @property
    def cpu(self) -> float:
        """Median seconds of processor time."""
        return statistics.median(it.cpu for it in self.rounds)

    @property
    def each(self) -> float:
        """Median seconds for each packet."""
        return self.wall / self.packets

    @property
    def cpu_each(self) -> float:
        """Median processor time for each packet, in seconds."""
        return self.cpu / self.packets

    @property
    def peak(self) -> int:
        """Largest memory of any round, in bytes; 0 where it is not known."""
        return max(it.peak or 0 for it in self.rounds)


@dataclass(frozen=True)
class Job:
    """One trace, its file, and for slow programs the file with its first packets."""

    title: str
    made: Made
    part: Made
    programs: Sequence[Contender]

    def given(self, program: Contender) -> Made:
        """The file that a program takes."""
        return self.part if program.part else self.made


def made(trace: Trace, packets: int, folder: Path) -> Made:
    """A trace's file in the cache folder, written unless it is there already."""
    here = Path(__file__).resolve().parent
    digest = hashlib.sha256(b"".join((here / name).read_bytes() for name in SOURCES)).hexdigest()[:8]
    path = folder / f"{trace.name}-{packets}-{digest}.pcap"
    note = path.with_suffix(".json")
    if not note.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"{trace.name}-{packets}-*"):
            old.unlink()
        partial = path.with_suffix(".partial")
        it = write(trace, packets, partial)
        os.replace(partial, path)
        note.write_text(json.dumps({"packets": it.packets, "size": it.size, "messages": it.messages}))
    return Made(path, **json.loads(note.read_text()))


def jobs(options: argparse.Namespace) -> list[Job]:
    """What is to be measured, in order."""
    found = []
    for name, trace in traffic.traces().items():
        if name not in options.traces:
            continue
        protocols = [it.protocol for it in trace.exchanges if it.protocol]
        programs = contenders.contenders(protocols, alone=options.alone)
        part = made(trace, min(options.part, options.packets), options.folder)
        found.append(Job(name, made(trace, options.packets, options.folder), part, programs))
        if name == LARGE and options.large > options.packets:
            quick = [program for program in programs if not program.part]
            found.append(Job(f"{name}, large", made(trace, options.large, options.folder), part, quick))
    return found


def measure(todo: Sequence[Job], rounds: int) -> list[Measured]:
    """All programs on all traces in turn, `rounds` times. A program that fails is named and left out."""
    results: dict[tuple[str, str], Measured] = {}
    failed: set[tuple[str, str]] = set()
    for job in todo:
        for it in (job.made, job.part):
            contenders.read(it.path, it.path)  # into the page cache
    with tempfile.TemporaryDirectory() as name:
        for number in range(rounds):
            for job in todo:
                for program in job.programs:
                    key, given = (job.title, program.name), job.given(program)
                    if key in failed:
                        continue
                    if sys.stderr.isatty():
                        print(f"\r\033[Kround {number + 1} of {rounds}: {', '.join(key)}", end="", file=sys.stderr)
                    try:
                        taken = program.run(given.path, Path(name))
                    except ProgramError as error:
                        print(f"\n{program.name} failed on {job.title}: {error}", file=sys.stderr)
                        failed.add(key)
                        continue
                    expected = sum(given.messages.values())
                    results.setdefault(key, Measured(*key, given.packets, expected)).rounds.append(taken)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return list(results.values())


def yardstick(results: Sequence[Measured], trace: str, program: str) -> Measured | None:
    """The fastest of the programs on a trace whose name begins so."""
    found = [it for it in results if it.trace == trace and it.program.startswith(program)]
    return min(found, key=lambda it: it.each, default=None)


def table(todo: Sequence[Job], results: Sequence[Measured]) -> None:
    """Print what was measured, trace by trace."""
    for job in todo:
        mine = [it for it in results if it.trace == job.title]
        peer, limit = yardstick(results, job.title, "suricata"), yardstick(results, job.title, "read")
        leanest = min(
            (it for it in mine if it.program.startswith("suricata")), key=lambda it: it.cpu_each, default=None
        )
        it = job.made
        said = ", ".join(f"{count:,} {name}" for name, count in it.messages.items())
        print(f"\n{job.title}: {it.packets:,} packets, {it.size / MB:,.0f} MB; {said}")
        heads = "".join(f"{head:>{width}}" for head, width in HEADS)
        print(f"  {'':<32}{heads}")
        for row in mine:
            best = min(taken.wall for taken in row.rounds)
            against = f"{peer.each / row.each:.1f}" if peer else ""
            by_cpu = f"{leanest.cpu_each / row.cpu_each:.1f}" if leanest else ""
            slower = f"{row.each / limit.each:.1f}" if limit else ""
            peak = f"{row.peak / MB:,.0f} MB" if row.peak else ""
            print(
                f"  {row.program:<32}{row.wall:>8.3f} s{best:>8.3f} s{row.cpu:>8.3f} s{1e-6 / row.each:>10.3f} M"
                f"{against:>12}{by_cpu:>8}{slower:>9}{peak:>9}{_remark(row)}"
            )


def _remark(row: Measured) -> str:
    remarks = []
    counts = {taken.messages for taken in row.rounds} - {None}
    if counts and counts != {row.expected}:
        remarks.append(f"decoded {'/'.join(str(count) for count in sorted(counts, key=str))} of {row.expected}")
    if row.program.startswith("tshark"):
        remarks.append(f"first {row.packets:,} packets")
    return f"  ({'; '.join(remarks)})" if remarks else ""


def summary(todo: Sequence[Job], results: Sequence[Measured]) -> dict[str, float]:
    """The figures that are to be reached, by name, and their values; printed."""
    figures: dict[str, float] = {}
    wanted: dict[str, str] = {}
    for job in todo:
        peer, mine = yardstick(results, job.title, "suricata"), yardstick(results, job.title, DECODE)
        if peer and mine and peer.rounds[0].messages and job.title in traffic.POLLING:
            figures[f"{job.title}: decode, times Suricata"] = peer.each / mine.each
            wanted[f"{job.title}: decode, times Suricata"] = "at least 50"
    large = f"{LARGE}, large"
    inspect, limit, peer = (yardstick(results, large, name) for name in (INSPECT, "read", "suricata"))
    if inspect and peer:
        figures["large: inspect, times Suricata"] = peer.each / inspect.each
        wanted["large: inspect, times Suricata"] = "at least 15"
    for job in todo:
        decode, limit = yardstick(results, job.title, DECODE), yardstick(results, job.title, "read")
        if decode and limit:
            figures[f"{job.title}: decode, times reading"] = decode.each / limit.each
            wanted[f"{job.title}: decode, times reading"] = "at most 3"
    for job in todo:
        decode, detect = yardstick(results, job.title, DECODE), yardstick(results, job.title, DETECT)
        if decode and detect:
            name = f"{job.title}: all detectors, times decoding, by cpu"
            figures[name] = detect.cpu / decode.cpu
            wanted[name] = "at most 5" if job.title == "distinct" else "at most 2"
    memory = yardstick(results, LARGE, MEMORY)
    if memory:
        name = f"{LARGE}: 1 M packets in memory, one core, s"
        figures[name], wanted[name] = memory.each * 1e6, "below 0.2"
    for program in (DECODE, INSPECT):
        small, big = yardstick(results, LARGE, program), yardstick(results, large, program)
        if small and big:
            name = f"each packet, large against small: {program.split(',')[0].split()[-1]}"
            figures[name], wanted[name] = big.each / small.each, "at most 1.3"
    flows = yardstick(results, "flows", INSPECT)
    if flows:
        name = f"peak memory with {traffic.FLOWS:,} flows, MB"
        figures[name], wanted[name] = flows.peak / MB, "below 512"
    print()
    for name, value in figures.items():
        print(f"  {name:<48}{value:>10.2f}   ({wanted[name]})")
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the traces, measure, print; exit code 1 where our decoder missed a message."""
    parser = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").splitlines()[0])
    names = sorted(traffic.traces())
    parser.add_argument("--traces", nargs="+", choices=names, default=names, metavar="NAME", help=" ".join(names))
    parser.add_argument("--packets", type=int, default=1_000_000, help="of each trace")
    parser.add_argument(
        "--large", type=int, default=10_000_000, help=f"of the {LARGE} trace once more, 0 for not at all"
    )
    parser.add_argument("--part", type=int, default=100_000, help="packets that tshark is given, being slow")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="leave the other tools out")
    parser.add_argument("--folder", type=Path, default=CACHE, help="where the traces are kept")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, too")
    options = parser.parse_args(arguments)
    todo = jobs(options)
    for job in todo:  # compiles what is not compiled yet
        for program in job.programs:
            if program.ours:
                program.run(job.part.path, options.folder)
    about = {"machine": platform.machine(), "processors": os.cpu_count(), "python": platform.python_version()}
    about |= contenders.versions()
    print(", ".join(f"{name} {value}" for name, value in about.items() if value), f"; {options.rounds} rounds", sep="")
    results = measure(todo, options.rounds)
    table(todo, results)
    figures = summary(todo, results)
    if options.json:
        runs = [asdict(it) for it in results]
        options.json.write_text(json.dumps({"about": about, "figures": figures, "measured": runs}, indent=1) + "\n")
    missed = [
        it
        for it in results
        if it.program in (DECODE, MEMORY) and any(taken.messages != it.expected for taken in it.rounds)
    ]
    for it in missed:
        print(f"bench: {it.trace}: {it.expected:,} messages were sent{_remark(it)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
