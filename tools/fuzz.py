"""`make fuzz`: mutated messages through the compiled decoder, by the million, and through whatever explains them.

    python -m tools.fuzz --seconds 600 --seed 1 --protocol modbus    one protocol; seed and batch make it again
    python -m tools.fuzz --messages 100000000                        so many mutants of each protocol

What must hold: no exception, no batch in which a message took longer than SLOWEST_S, memory that does not grow, events
whose numbers lie within their tables. What breaks it is written as a capture under --save and named; exit code 1.
`python -m tools.fuzz_readable` drives the uncompiled functions by their coverage instead.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sensor.capture.frames import FrameBatch
from sensor.capture.source import open_capture
from sensor.capture.write import frame_of, small_pcap
from sensor.decode import link
from sensor.decode.compilation import compile_ahead
from sensor.decode.decoder import Decoder
from sensor.decode.pdu import Protocol
from sensor.decode.state import PACKET
from sensor.events import EventBatch
from sensor.protocols import modbus_rtu
from sensor.schema import FIELDS
from tools.mutations import LONGEST, datagrams, mutate, segments

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "tests" / "corpus"
PORTS = {
    Protocol.MODBUS: 502, Protocol.S7COMM: 102, Protocol.DNP3: 20000, Protocol.IEC104: 2404, Protocol.ENIP: 44818,
    Protocol.OPCUA: 4840, Protocol.BACNET: 47808, Protocol.MMS: 102, Protocol.GOOSE: 0, Protocol.S7COMM_PLUS: 102,
    Protocol.MODBUS_RTU: 4001,
}  # fmt: skip
CAPTURED = {Protocol.MODBUS: 502, Protocol.S7COMM: 102, Protocol.DNP3: 20000}  # whose seeds come out of pcaps/
SEEDS = 400  # messages of a corpus
BATCH = 20_000  # messages
EXPLAINED = 8  # events of a batch that are explained at full depth
SLOWEST_S = 0.050  # for one message
GROWTH_BYTES = 64 << 20  # that memory may differ between the second quarter of a run and its end
ETHERNET = bytes(6) + b"\x02\x00\x00\x00\x00\x01"
IPV4 = b"\x08\x00\x45\x00\x00\x00\x00\x00\x40\x00\x40%c\x00\x00\x0a\x01\x00\x05\x0a\x01\x00\x14"
NAMES = frozenset(FIELDS)


class FoundError(Exception):
    """Something that must not happen did: what, and the frames that made it happen."""

    def __init__(self, what: str, batch: FrameBatch) -> None:
        super().__init__(what)
        self.batch = batch


class Ran(NamedTuple):
    """What was done for one protocol."""

    protocol: str
    messages: int
    events: int
    seconds: float
    slowest_s: float
    grown_bytes: int


def corpus(protocol: Protocol) -> list[bytes]:
    """Messages to begin with: of the sample captures, or those that tests/corpus holds."""
    if protocol == Protocol.MODBUS_RTU:
        return [_as_rtu(adu) for adu in corpus(Protocol.MODBUS)]
    if protocol not in CAPTURED:
        lines = (CORPUS / f"{protocol.name.lower()}.hex").read_text().split()
        return [bytes.fromhex(line) for line in lines]
    found: dict[bytes, None] = {}
    port = CAPTURED[protocol]
    for path in sorted((ROOT / "pcaps").glob("*/*.pcap*")):
        for data in _payloads(path, port):
            key = data[:LONGEST]
            if len(found) < SEEDS:
                found.setdefault(key)
    return list(found)


def _as_rtu(adu: bytes) -> bytes:
    pdu = np.frombuffer(adu[6:], np.uint8)
    return adu[6:] + int(modbus_rtu.crc16(pdu, 0, len(pdu))).to_bytes(2, "little")


def _payloads(path: Path, port: int) -> Iterator[bytes]:
    packet = np.zeros(1, PACKET)[0]
    for batch in open_capture(path):
        for i in range(0, batch.size, 5):
            at = int(batch.offset[i])
            verdict = link.parse(batch.data, at, batch.captured[i], batch.wire[i], batch.link[i], packet)
            if verdict == link.OK and port in (packet.src_port, packet.dst_port) and packet.end > packet.at:
                yield batch.data[packet.at : packet.end].tobytes()


class Mutants:
    """Batches of frames with mutants of one protocol, the same for the same seed."""

    def __init__(self, protocol: Protocol, seed: int) -> None:
        messages = corpus(protocol)
        sizes = np.array([len(message) for message in messages], np.int64)
        self._end = np.cumsum(sizes)
        self._begin = self._end - sizes
        self._corpus = np.frombuffer(b"".join(messages), np.uint8)
        self._protocol, self._port, self._seed = protocol, PORTS[protocol], seed
        self._sequence = np.full(64, 1000, np.uint32)
        self._first = 1

    def batch(self, number: int, count: int = BATCH) -> FrameBatch:
        """Batch `number` of the run; every second one as TCP. Its mutants follow from the seed and the number alone."""
        random = np.array([self._seed * 1_000_003 + number * 2_654_435_761 + 1], np.uint64)
        out = np.empty(count * LONGEST, np.uint8)
        starts, lengths = np.empty(count, np.int64), np.empty(count, np.int64)
        mutate(self._corpus, self._begin, self._end, int(self._protocol), count, random, out, starts, lengths)
        tcp = bool(number & 1) and self._port != 0
        head = np.frombuffer(self._head(tcp), np.uint8)
        data = np.empty(2 * (int(lengths.sum()) + count * len(head)), np.uint8)
        offset, captured = np.empty(2 * count, np.int64), np.empty(2 * count, np.int32)
        if tcp:
            rows, octets = segments(
                out, starts, lengths, count, self._port, self._first, self._sequence, head, data, offset, captured,
                random,
            )  # fmt: skip
        else:
            rows = count
            octets = datagrams(out, starts, lengths, count, self._port, self._first, head, data, offset, captured)
        first, self._first = self._first, self._first + rows
        ts_ns = 1_700_000_000_000_000_000 + np.arange(first, first + rows, dtype=np.int64) * 1_000_000
        ethernet = np.ones(rows, np.int32)
        return FrameBatch(data[:octets], ts_ns, offset[:rows], captured[:rows], captured[:rows], ethernet, first)

    def _head(self, tcp: bool) -> bytes:
        if self._port == 0:
            return ETHERNET + b"\x88\xb8"
        if tcp:
            return ETHERNET + IPV4 % 6 + bytes(12) + b"\x50\x18\x20\x00" + bytes(4)
        return ETHERNET + IPV4 % 17 + bytes(8)


def decode(decoder: Decoder, batch: FrameBatch, random: np.random.Generator) -> int:
    """Run one batch; the number of its events. Raises FoundError."""
    events = 0
    try:
        for part in decoder.decode([batch]):
            events += part.size
            _check(decoder, part, random, batch)
    except FoundError:
        raise
    except Exception as error:
        raise FoundError(f"{type(error).__name__}: {error}", batch) from error
    return events


def _check(decoder: Decoder, part: EventBatch, random: np.random.Generator, batch: FrameBatch) -> None:
    columns = part.columns
    inside = np.where(columns.pdu_at >= 0, len(part.frames), len(part.assembled))
    at = np.where(columns.pdu_at >= 0, columns.pdu_at, ~columns.pdu_at)
    if (columns.pdu_length < 0).any() or (at + columns.pdu_length > inside).any():
        raise FoundError("a PDU lies outside its buffer", batch)
    if (columns.behaviour < 0).any() or (columns.behaviour >= len(decoder.view.behaviours)).any():
        raise FoundError("an event names a behaviour that does not exist", batch)
    for row in random.integers(0, part.size, EXPLAINED).tolist():
        began = time.thread_time()
        fields = decoder.view.fields(part, row)
        described = decoder.view.behaviours.describe(int(columns.behaviour[row]))
        took = time.thread_time() - began
        unknown = (set(fields) | set(described)) - NAMES
        if unknown:
            raise FoundError(f"fields that the schema does not know: {sorted(unknown)}", batch)
        json.dumps(fields)
        if took > SLOWEST_S and _again(partial(decoder.view.fields, part, row)) > SLOWEST_S:
            raise FoundError(f"explaining one event took {took:.3f} s", batch)


def _again(work: Callable[[], object]) -> float:
    """The best of three: what else the machine does is not the message's fault."""
    best = 1e9
    for _ in range(3):
        began, spent = time.perf_counter(), time.process_time()
        work()
        best = min(best, time.perf_counter() - began, time.process_time() - spent)
    return best


def slowest(batch: FrameBatch, size: int = BATCH) -> float:
    """Time of the slowest part of a batch, halved until one frame is left, each time in a decoder of its own."""
    while size > 1:
        size //= 2
        halves = [_cut(batch, 0, size), _cut(batch, size, batch.size)]
        times = [_again(partial(_alone, half)) for half in halves]
        batch, took = (halves[0], times[0]) if times[0] >= times[1] else (halves[1], times[1])
        size = batch.size
        if took < SLOWEST_S:
            return took
    return _again(partial(_alone, batch))


def _alone(batch: FrameBatch) -> int:
    return sum(part.size for part in Decoder(seed=1).decode([batch]))


def _cut(batch: FrameBatch, begin: int, end: int) -> FrameBatch:
    columns = (column[begin:end] for column in (batch.ts_ns, batch.offset, batch.captured, batch.wire, batch.link))
    return FrameBatch(batch.data, *columns, first=batch.first + begin)


def resident() -> int:
    """Octets of memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def run(protocol: Protocol, seed: int, seconds: float, messages: int, say: Callable[[str], None] | None = None) -> Ran:
    """Mutants of one protocol until the time is over or so many are done. Raises FoundError, which names the batch."""
    mutants, decoder, random = Mutants(protocol, seed), Decoder(seed=seed), np.random.default_rng(seed)
    began = time.monotonic()
    number = done = events = 0
    held = resident()
    worst = 0.0
    while (done < messages if messages else time.monotonic() - began < seconds) or number < 2:
        batch = mutants.batch(number)
        start, spent = time.perf_counter(), time.process_time()
        try:
            events += decode(decoder, batch, random)
        except FoundError as found:
            raise FoundError(f"{protocol.name.lower()}, seed {seed}, batch {number}: {found}", found.batch) from found
        # Less of clock and processor time: what else the machine does is not the message's fault.
        took = min(time.perf_counter() - start, time.process_time() - spent)
        worst = max(worst, took) if number > 1 else worst
        if number > 1 and took > BATCH * 20e-6 and slowest(batch) > SLOWEST_S:
            raise FoundError(f"{protocol.name.lower()}, seed {seed}, batch {number}: one message is too slow", batch)
        number += 1
        done += BATCH
        progress = done / messages if messages else (time.monotonic() - began) / seconds
        if progress < 0.5:
            held = resident()
        if say is not None:
            say(f"{protocol.name.lower()}: {done:,} mutants, {events:,} events, {time.monotonic() - began:.0f} s")
    return Ran(protocol.name.lower(), done, events, time.monotonic() - began, worst, resident() - held)


def main(arguments: list[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="fuzz", description="Mutated messages through the compiled decoder.")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each protocol")
    parser.add_argument("--messages", type=int, default=0, help="for each protocol, instead of a time")
    parser.add_argument("--seed", type=int, default=time.time_ns() & 0xFFFF)
    parser.add_argument("--protocol", action="append", choices=[it.name.lower() for it in PORTS])
    parser.add_argument("--save", type=Path, default=ROOT / "var" / "fuzz", help="where findings are written")
    given = parser.parse_args(arguments)
    chosen = [Protocol[name.upper()] for name in given.protocol] if given.protocol else list(PORTS)
    compile_ahead()  # a mutant may look like any protocol, and compiling its reader is not that mutant's time
    failed = 0
    for protocol in chosen:
        last = [0.0]

        def say(text: str, last: list[float] = last) -> None:
            if time.monotonic() - last[0] > 10:
                last[0] = time.monotonic()
                print(text, file=sys.stderr)

        try:
            ran = run(protocol, given.seed, given.seconds, given.messages, say)
        except FoundError as found:
            failed += 1
            given.save.mkdir(parents=True, exist_ok=True)
            path = given.save / f"{protocol.name.lower()}-{given.seed}.pcap"
            path.write_bytes(_pcap(found.batch))
            print(f"FOUND {found}\n      written to {path}")
            continue
        grown = ran.grown_bytes > GROWTH_BYTES
        failed += grown
        speed, slowest_ms = ran.messages / ran.seconds / 1e6, ran.slowest_s * 1e3
        print(
            f"{ran.protocol:12} seed {given.seed}: {ran.messages:,} mutants, {ran.events:,} events, "
            f"{ran.seconds:.0f} s ({speed:.2f} M/s), slowest batch of {BATCH:,} {slowest_ms:.0f} ms, "
            f"memory {ran.grown_bytes >> 20:+d} MiB{' GROWS' if grown else ''}",
            flush=True,
        )
    return 1 if failed else 0


def _pcap(batch: FrameBatch) -> bytes:
    frames = (frame_of(batch, batch.first + row) for row in range(batch.size))
    return small_pcap(1, frames)


if __name__ == "__main__":
    sys.exit(main())
