"""`make bench`: how long one core takes to decode and intern a million packets of Modbus polling.

The traffic is built in memory with numpy: many connections, requests and responses with right sequence numbers and
checksums. Measured are the decoder on frames in memory, and reading the same trace as a pcap file from the page cache
and decoding it; other tools read that file too, where they are installed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sensor.capture.frames import FrameBatch
from sensor.capture.source import open_capture
from sensor.decode.decoder import Decoder

CONNECTIONS = 64
POINTS = 8  # different reads that each connection repeats
REGISTERS = 10  # of each response
ETHERNET, IPV4, TCP = 14, 20, 20  # header lengths
HEADERS = ETHERNET + IPV4 + TCP
RECORD = 16  # pcap record header
REQUEST, RESPONSE = HEADERS + 12, HEADERS + 9 + 2 * REGISTERS  # frame lengths
PAIR = RECORD + REQUEST + RECORD + RESPONSE
GLOBAL_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)

Bytes = npt.NDArray[np.uint8]


def put(frames: Bytes, at: int, values: npt.ArrayLike, width: int) -> None:
    """Write one number into each row of `frames`, big-endian, `width` octets from column `at`."""
    numbers = np.broadcast_to(np.asarray(values, dtype=np.int64), (len(frames),))
    for octet in range(width):
        frames[:, at + octet] = (numbers >> (8 * (width - 1 - octet))) & 0xFF


def checksum(frames: Bytes, begin: int, end: int, more: npt.ArrayLike = 0) -> npt.NDArray[np.int64]:
    """Internet checksum (RFC 1071) of columns begin to end of each row, with `more` added (the pseudo header)."""
    high: npt.NDArray[np.int64] = frames[:, begin:end:2].sum(axis=1, dtype=np.int64)
    low: npt.NDArray[np.int64] = frames[:, begin + 1 : end : 2].sum(axis=1, dtype=np.int64)
    total: npt.NDArray[np.int64] = (high << 8) + low + np.asarray(more, dtype=np.int64)
    while (total >> 16).any():
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def headers(
    frames: Bytes, source: npt.ArrayLike, destination: npt.ArrayLike, ports: tuple[npt.ArrayLike, npt.ArrayLike]
) -> None:
    """Ethernet, IPv4 and TCP headers but for sequence numbers and checksums; addresses as 32-bit numbers."""
    size = frames.shape[1]
    put(frames, 0, 0x020000000002, 6)
    put(frames, 6, 0x020000000001, 6)
    put(frames, 12, 0x0800, 2)
    put(frames, 14, 0x4500, 2)
    put(frames, 16, size - ETHERNET, 2)
    put(frames, 22, (64 << 8) | 6, 2)  # TTL, TCP
    put(frames, 26, source, 4)
    put(frames, 30, destination, 4)
    put(frames, 24, checksum(frames, ETHERNET, ETHERNET + IPV4), 2)
    put(frames, 34, ports[0], 2)
    put(frames, 36, ports[1], 2)
    put(frames, 46, 0x5018, 2)  # header of 20 octets, PSH and ACK
    put(frames, 48, 8192, 2)


def finish(frames: Bytes) -> None:
    """TCP checksums."""
    pseudo = frames[:, 26:34:2].sum(axis=1, dtype=np.int64) << 8
    pseudo += frames[:, 27:34:2].sum(axis=1, dtype=np.int64) + 6 + frames.shape[1] - ETHERNET - IPV4
    put(frames, 50, checksum_of_odd(frames, pseudo), 2)


def checksum_of_odd(frames: Bytes, more: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Checksum from the TCP header on; a last odd octet counts as the high one of a word."""
    begin, end = ETHERNET + IPV4, frames.shape[1]
    if (end - begin) % 2:
        more = more + (frames[:, end - 1].astype(np.int64) << 8)
        end -= 1
    return checksum(frames, begin, end, more)


def polling(packets: int) -> tuple[Bytes, FrameBatch]:
    """A trace of Modbus polling as a pcap file's bytes, and the frames in it as a batch over the same memory."""
    pairs = packets // 2
    index = np.arange(pairs, dtype=np.int64)
    connection, turn = index % CONNECTIONS, index // CONNECTIONS
    client, server = 0x0A140100 + connection % 4, 0x0A140200 + connection
    client_port = 49152 + connection
    point = turn % POINTS
    trace = np.zeros(len(GLOBAL_HEADER) + pairs * PAIR, np.uint8)
    trace[: len(GLOBAL_HEADER)] = np.frombuffer(GLOBAL_HEADER, np.uint8)
    rows = trace[len(GLOBAL_HEADER) :].reshape(pairs, PAIR)

    asked = rows[:, RECORD : RECORD + REQUEST]
    headers(asked, client, server, (client_port, 502))
    put(asked, 38, 1000 + turn * 12, 4)
    put(asked, 42, 2000 + turn * (RESPONSE - HEADERS), 4)
    put(asked, HEADERS, turn & 0xFFFF, 2)
    put(asked, HEADERS + 4, 6, 2)
    put(asked, HEADERS + 6, (1 << 8) | 3, 2)  # unit 1, read holding registers
    put(asked, HEADERS + 8, point * 100, 2)
    put(asked, HEADERS + 10, REGISTERS, 2)
    finish(asked)

    answered = rows[:, RECORD + REQUEST + RECORD :]
    headers(answered, server, client, (502, client_port))
    put(answered, 38, 2000 + turn * (RESPONSE - HEADERS), 4)
    put(answered, 42, 1000 + (turn + 1) * 12, 4)
    put(answered, HEADERS, turn & 0xFFFF, 2)
    put(answered, HEADERS + 4, 3 + 2 * REGISTERS, 2)
    put(answered, HEADERS + 6, (1 << 16) | (3 << 8) | 2 * REGISTERS, 3)
    for register in range(REGISTERS):
        put(answered, HEADERS + 9 + 2 * register, (turn * 7 + register * 13) & 0x3FF, 2)
    finish(answered)

    ts_us = np.empty(2 * pairs, np.int64)
    ts_us[0::2] = 1_772_409_600_000_000 + index * 200
    ts_us[1::2] = ts_us[0::2] + 80
    for begin, size, times in ((0, REQUEST, ts_us[0::2]), (RECORD + REQUEST, RESPONSE, ts_us[1::2])):
        words = np.stack([times // 1_000_000, times % 1_000_000, np.full(pairs, size), np.full(pairs, size)], axis=1)
        rows[:, begin : begin + RECORD] = words.astype("<u4").view(np.uint8).reshape(pairs, RECORD)

    starts = len(GLOBAL_HEADER) + index * PAIR
    offset = np.stack([starts + RECORD, starts + RECORD + REQUEST + RECORD], axis=1).reshape(-1)
    sizes = np.tile(np.array([REQUEST, RESPONSE], np.int32), pairs)
    return trace, FrameBatch(trace, ts_us * 1000, offset, sizes, sizes, np.ones(2 * pairs, np.int32), 1)


def decode(batches: Iterable[FrameBatch]) -> tuple[int, int]:
    """Decode and intern everything with a new decoder; number of events and of behaviours."""
    decoder = Decoder()
    events = sum(batch.size for batch in decoder.decode(batches))
    return events, len(decoder.view.behaviours)


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds of one round: by the clock, and spent on the core, which other work on the machine cannot stretch."""

    wall: float
    cpu: float


def timed(work: Callable[[], object], rounds: int) -> list[Taken]:
    """What each round took, in order."""
    taken = []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        taken.append(Taken(time.perf_counter() - wall, time.process_time() - cpu))
    return taken


def report(what: str, taken: list[Taken], packets: int) -> None:
    """One line: best and median by the clock, best of the core alone, packets a second at best."""
    best, median = min(it.wall for it in taken), statistics.median(it.wall for it in taken)
    core = min(it.cpu for it in taken)
    rate = packets / best / 1e6
    print(f"{what:<46}{best:8.3f} s {median:9.3f} s {core:8.3f} s {rate:8.2f} M/s", flush=True)


def others(path: Path, folder: Path) -> dict[str, list[str]]:
    """Commands of other tools that decode Modbus in a capture file, where they are installed."""
    fields = ["-T", "fields", "-e", "modbus.func_code", "-e", "mbtcp.trans_id"]
    commands = {
        "tshark": ["tshark", "-n", "-r", str(path), "-Y", "modbus", *fields],
        "suricata": [
            "suricata", "-r", str(path), "-l", str(folder), "-k", "none", "--runmode", "single",
            "--set", "app-layer.protocols.modbus.enabled=yes", "--set", "stream.midstream=true",
        ],
    }  # fmt: skip
    return {name: command for name, command in commands.items() if shutil.which(name)}


def main() -> int:
    """Measure and print; the exit code says only whether everything ran."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packets", type=int, default=1_000_000, help="how many, an even number")
    parser.add_argument("--rounds", type=int, default=7, help="how often the decoder is measured")
    parser.add_argument("--alone", action="store_true", help="leave the other tools out")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    packets = options.packets // 2 * 2
    trace, batch = polling(packets)
    print(f"{packets:,} packets of Modbus polling, {CONNECTIONS} connections, {len(trace) / 1e6:.0f} MB; one core")
    few = polling(2 * CONNECTIONS)[1]
    first = timed(lambda: decode([few]), 1)[0].wall
    print(f"first run, which compiles or loads what was compiled: {first:.1f} s")
    events, behaviours = decode([batch])
    print(f"{events:,} events, {behaviours:,} behaviours")
    if events != packets:
        print(f"bench: {packets:,} messages were sent, but {events:,} events were decoded", file=sys.stderr)
        return 1
    print(f"{'':<46}{'best':>10} {'median':>11} {'on its core':>12} {'packets':>10}")
    report("decode and intern, frames in memory", timed(lambda: decode([batch]), options.rounds), packets)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "polling.pcap"
        trace.tofile(path)
        path.read_bytes()  # into the page cache
        report("read frames from the file", timed(lambda: list(open_capture(path)), options.rounds), packets)
        read_and_decode = timed(lambda: decode(open_capture(path)), options.rounds)
        report("read and decode the file", read_and_decode, packets)
        for tool, command in ({} if options.alone else others(path, folder)).items():
            began, used = time.perf_counter(), os.times().children_user + os.times().children_system
            done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            if done.returncode:
                print(f"{tool} failed with exit code {done.returncode}: {' '.join(command)}", file=sys.stderr)
            else:
                core = os.times().children_user + os.times().children_system - used
                report(f"{tool} on the same file", [Taken(time.perf_counter() - began, core)], packets)
    return 0


if __name__ == "__main__":
    sys.exit(main())
