"""Programs that are measured side by side: ours, Suricata, tshark, and reading the file as the limit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from detectors.pipeline import Pipeline, merge
from sensor.capture.ahead import ahead
from sensor.capture.source import open_capture
from sensor.decode.decoder import Decoder

MB = 1e6
HERE = Path(__file__).resolve().parent.parent
LOG = "eve.json"

# What Suricata is asked for: the two industrial protocols that it decodes, logged message by message. Everything else
# is off, so that it does no work that we do not do; its memory caps are raised, so that it drops nothing.
OTHER_PARSERS = (
    "http", "http2", "tls", "dns", "smb", "ftp", "ssh", "smtp", "imap", "dcerpc", "enip", "nfs", "ntp", "dhcp", "krb5",
    "tftp", "ikev2", "snmp", "sip", "rfb", "mqtt", "rdp", "telnet", "pgsql", "bittorrent-dht", "quic",
)  # fmt: skip
SURICATA = """%YAML 1.1
---
default-log-dir: /nonexistent
stats: {{enabled: no}}
outputs:
  - eve-log: {{enabled: yes, filetype: regular, filename: {log}, types: [modbus, dnp3]}}
app-layer:
  protocols:
    modbus: {{enabled: yes, detection-ports: {{dp: 502}}, stream-depth: 0}}
    dnp3: {{enabled: yes, detection-ports: {{dp: 20000}}}}
{others}
stream: {{memcap: 512mb, checksum-validation: no, reassembly: {{memcap: 1gb, depth: 0}}}}
flow: {{memcap: 512mb, hash-size: 65536, prealloc: 10000}}
"""
TSHARK_FIELDS = {
    "modbus": ("frame.number", "mbtcp.trans_id", "modbus.func_code", "modbus.reference_num", "modbus.word_cnt"),
    "s7comm": ("frame.number", "s7comm.header.rosctr", "s7comm.header.pduref", "s7comm.param.func"),
    "dnp3": ("frame.number", "dnp3.src", "dnp3.dst", "dnp3.al.func", "dnp3.al.seq"),
}


@dataclass(frozen=True, slots=True)
class Taken:
    """What one run took: seconds by the clock, seconds of processor time (user and system), peak memory in bytes.

    messages: how many it decoded, None where it does not say.
    """

    wall: float
    cpu: float
    peak: int | None
    messages: int | None


@dataclass(frozen=True)
class Contender:
    """A program that takes a capture. run(capture, scratch folder) raises ProgramError where it fails.

    part: it is given only the first packets of a trace, being slow. ours: it is of this project.
    """

    name: str
    run: Callable[[Path, Path], Taken]
    part: bool = False
    ours: bool = False


class ProgramError(Exception):
    """A program ended with an error."""


def child(command: Sequence[str | Path], output: Path | None = None) -> Taken:
    """Run a program to its end, by way of spawn.py; `output` takes what it prints."""
    target = os.fspath(output) if output else os.devnull
    starter = [sys.executable, "-I", "-S", HERE / "tools" / "spawn.py", target]
    # With that variable every start of ours would compile the source of all packages again.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [*starter, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise ProgramError(f"{done.stderr.strip()}: {' '.join(map(str, command))}")
    wall, cpu, peak = (float(word) for word in done.stdout.split())
    return Taken(wall, cpu, int(peak), None)


def decode(capture: Path, _: Path) -> Taken:
    """Read and decode in this process, so without its start; every event is made, every behaviour interned."""
    wall, cpu = time.perf_counter(), time.process_time()
    messages = sum(batch.size for batch in Decoder().decode(ahead(open_capture(capture))))
    return Taken(time.perf_counter() - wall, time.process_time() - cpu, None, messages)


def decode_alone(capture: Path, _: Path) -> Taken:
    """Decode frames that are in memory already, on one core: no reading, no second thread."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        frames = list(open_capture(capture))
        wall, cpu = time.perf_counter(), time.process_time()
        messages = sum(batch.size for batch in Decoder().decode(frames))
        return Taken(time.perf_counter() - wall, time.process_time() - cpu, None, messages)
    finally:
        os.sched_setaffinity(0, cores)


def detect(capture: Path, _: Path) -> Taken:
    """Read, decode and ask every detector in this process; what all rules and detectors cost besides decoding."""
    wall, cpu = time.perf_counter(), time.process_time()
    pipeline = Pipeline()
    merge(pipeline.run(ahead(open_capture(capture))))
    return Taken(time.perf_counter() - wall, time.process_time() - cpu, None, pipeline.events)


def inspect(capture: Path, _: Path) -> Taken:
    """`fenghuo inspect` from its start to its exit."""
    return child([sys.executable, HERE / "fenghuo.py", "inspect", capture])


def read(capture: Path, _: Path) -> Taken:
    """What the page cache gives: no program that reads the file with system calls can be faster."""
    return child(["cat", capture])


def suricata(mode: str) -> Callable[[Path, Path], Taken]:
    """Suricata as a whole process, in one of its run modes."""

    def run(capture: Path, scratch: Path) -> Taken:
        settings, log = scratch / "suricata.yaml", scratch / LOG
        others = "\n".join(f"    {name}: {{enabled: no}}" for name in OTHER_PARSERS)
        settings.write_text(SURICATA.format(log=LOG, others=others))
        log.unlink(missing_ok=True)
        command = ["suricata", "-c", settings, "-S", os.devnull, "-k", "none", "-r", capture, "-l", scratch]
        taken = child([*command, "--runmode", mode])
        messages = _logged(log)
        log.unlink()
        return Taken(taken.wall, taken.cpu, taken.peak, messages)

    return run


def _logged(log: Path) -> int:
    """Messages in Suricata's log: a Modbus line holds a request and its response, a DNP3 line one fragment."""
    messages = 0
    with open(log, "rb") as lines:
        for line in lines:
            messages += 2 if b'"event_type":"modbus"' in line and b'"response":' in line else 1
    return messages


def tshark(protocols: Sequence[str]) -> Callable[[Path, Path], Taken]:
    """tshark printing the main fields of each message, as a whole process."""
    fields = list(dict.fromkeys(name for protocol in protocols for name in TSHARK_FIELDS[protocol]))
    wanted = [part for name in fields for part in ("-e", name)]

    def run(capture: Path, scratch: Path) -> Taken:
        lines = scratch / "tshark.txt"
        command = ["tshark", "-n", "-r", capture, "-Y", " or ".join(protocols), "-T", "fields", *wanted]
        taken = child(command, lines)
        with open(lines, "rb") as printed:
            messages = sum(1 for _ in printed)
        lines.unlink()
        return Taken(taken.wall, taken.cpu, taken.peak, messages)

    return run


def contenders(protocols: Sequence[str], *, alone: bool) -> list[Contender]:
    """Those that are installed, for a trace that carries these protocols. alone: only ours, and reading."""
    found = [
        Contender("read the file (cat)", read),
        Contender("fenghuo: decode, in process", decode, ours=True),
        Contender("fenghuo: in memory, one core", decode_alone, ours=True),
        Contender("fenghuo: detect, in process", detect, ours=True),
        Contender("fenghuo inspect, whole process", inspect, ours=True),
    ]
    if not alone and shutil.which("suricata"):
        found += [Contender(f"suricata {mode}, whole process", suricata(mode)) for mode in ("single", "autofp")]
    if not alone and shutil.which("tshark"):
        found.append(Contender("tshark fields, whole process", tshark(protocols), part=True))
    return found


def versions() -> dict[str, str]:
    """Versions of the other programs, "" where one is not installed."""
    asked = {"suricata": ["suricata", "-V"], "tshark": ["tshark", "--version"]}
    told = {}
    for name, command in asked.items():
        done = subprocess.run(command, capture_output=True, text=True, check=False) if shutil.which(name) else None
        told[name] = next(iter(done.stdout.splitlines()), "") if done else ""
    return told
