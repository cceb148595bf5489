"""What a spool's files look like: segments of compressed, checksummed blocks, and the state file, replaced as a whole.

A segment is a header (magic, epoch, CRC-32) and blocks. A block is a header with its own CRC-32, from which the block
can be skipped without reading it, and records, compressed: what was flushed together, the records of one rule beside
each other, for those resemble each other and zlib looks back 32 KiB only. After damage the next block is found by its
mark. The state file is one line: CRC-32 in hexadecimal, space, JSON object. Numbers in segments are little-endian.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

MAX_RECORD_BYTES = 4 * 1024 * 1024  # half of what the console takes in one request
MAX_RULE_BYTES = 200
BLOCK_BYTES = 2 * 1024 * 1024  # of records, before compression; one longer record is a block of its own
MAX_BLOCK_BYTES = BLOCK_BYTES + MAX_RECORD_BYTES + 1024
MAX_LOST_RANGES = 100  # kept by number; all are counted

# Weights of findings, as the words of rule.severity; 0 is no finding but the record of a loss.
SEVERITIES = {"informational": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}
LOSS, MEDIUM, HIGH, CRITICAL = 0, 3, 4, 5

SEGMENT_HEADER = struct.Struct("<8sQI")  # magic, epoch, CRC-32 of both
BLOCK_HEADER = struct.Struct("<4sIIIIQQ6I")  # mark, CRC-32 of what follows here, then the fields of Block
_SEGMENT_MAGIC = b"FHSPOOL2"
_BLOCK_MAGIC = b"\xfeFB\xff"
_RECORD_HEADER = struct.Struct("<QQQBBI")  # sequence, span, events, severity, bytes of the rule, bytes of the line
_LEVEL = 6  # of zlib: 4 to 5 % of a core at 1,000 findings a second, and a fifth smaller than level 3


class Record(NamedTuple):
    """One finding on its way, or what stands in the place of lost ones.

    sequence: its number. line: its JSON object as UTF-8 without line ends. severity: 1 to 5; LOSS where this stands for
    findings that are lost, then `rule` says why and `line` holds the rest of the Loss (sensor/spool_loss.py).
    events: what it counts. span: how many sequences it stands for, the last of them its own.
    """

    sequence: int
    line: bytes
    severity: int = MEDIUM
    rule: str = ""
    events: int = 1
    span: int = 1

    @property
    def first(self) -> int:
        """The first sequence that it stands for."""
        return self.sequence - self.span + 1


class Block(NamedTuple):
    """A block without its records.

    checksum: CRC-32 of the compressed bytes; length: how many they are; raw: how many there were before.
    first, last: the sequences that it stands for, both included. counts: records of each severity, losses first.
    """

    checksum: int
    length: int
    raw: int
    first: int
    last: int
    counts: tuple[int, ...]


class State(NamedTuple):
    """What the state file holds.

    epoch: when the spool was made, seconds since 1970. acknowledged: up to here nothing has to be sent any more.
    handed_out: up to here the console may have seen findings; ahead: up to here it may have seen grave ones.
    noted: up to here losses are counted. lost_count: records that were damaged; lost: the last ranges of them.
    """

    epoch: int
    acknowledged: int = 0
    handed_out: int = 0
    noted: int = 0
    lost_count: int = 0
    lost: tuple[tuple[int, int], ...] = ()
    ahead: int = 0


def with_loss(state: State, first: int, last: int) -> State:
    """The state after finding that records are damaged; each is counted once. Call in ascending order."""
    first = max(first, state.noted + 1)
    if last < first:
        return state
    lost = state.lost
    if lost and lost[-1][1] == first - 1:
        lost = (*lost[:-1], (lost[-1][0], last))
    else:
        lost = (*lost, (first, last))[-MAX_LOST_RANGES:]
    return state._replace(noted=last, lost_count=state.lost_count + last - first + 1, lost=lost)


# --- records and blocks


def pack(records: Iterable[Record]) -> bytes:
    """Records as bytes, those of one rule and of like length beside each other."""
    parts: list[bytes] = []
    for record in sorted(records, key=lambda it: (it.rule, len(it.line))):
        rule = record.rule.encode()
        head = _RECORD_HEADER.pack(
            record.sequence, record.span, record.events, record.severity, len(rule), len(record.line)
        )
        parts += (head, rule, record.line)
    return b"".join(parts)


def unpack(raw: bytes) -> list[Record]:
    """Records in the order of their sequences; ValueError where these bytes hold none."""
    records = []
    at = 0
    try:
        while at < len(raw):
            sequence, span, events, severity, rule_length, length = _RECORD_HEADER.unpack_from(raw, at)
            at += _RECORD_HEADER.size
            rule, line = raw[at : at + rule_length], raw[at + rule_length : at + rule_length + length]
            at += rule_length + length
            if at > len(raw) or not 1 <= span <= sequence:
                raise ValueError("cut off")
            records.append(Record(sequence, line, severity, rule.decode(), events, span))
    except (struct.error, UnicodeDecodeError):
        raise ValueError("no records") from None
    return sorted(records)


def inflated(data: bytes, most: int) -> bytes:
    """What was compressed; ValueError where it is damaged or longer than `most` bytes."""
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(data, most)
    except zlib.error:
        raise ValueError("damaged") from None
    if not inflater.eof:
        raise ValueError("cut off, or too long")
    return raw


def encode(records: Sequence[Record]) -> bytes:
    """Records, in order, as the blocks of a segment."""
    encoded: list[bytes] = []
    for group in _groups(records):
        raw = pack(group)
        data = zlib.compress(raw, _LEVEL)
        counts = [0] * 6
        for record in group:
            counts[record.severity] += 1
        rest = BLOCK_HEADER.pack(
            b"", 0, zlib.crc32(data), len(data), len(raw), group[0].first, group[-1].sequence, *counts
        )[8:]
        encoded += (_BLOCK_MAGIC, struct.pack("<I", zlib.crc32(rest)), rest, data)
    return b"".join(encoded)


def _groups(records: Sequence[Record]) -> Iterator[list[Record]]:
    group: list[Record] = []
    size = 0
    for record in records:
        size += len(record.line)
        if group and size > BLOCK_BYTES:
            yield group
            group, size = [], len(record.line)
        group.append(record)
    if group:
        yield group


def block_at(head: bytes) -> Block | None:
    """The block whose header these bytes begin with; None where they are none, or damaged."""
    if len(head) < BLOCK_HEADER.size:
        return None
    mark, checksum, payload, length, raw, first, last, *counts = BLOCK_HEADER.unpack_from(head)
    if mark != _BLOCK_MAGIC or zlib.crc32(head[8 : BLOCK_HEADER.size]) != checksum or raw > MAX_BLOCK_BYTES:
        return None
    return Block(payload, length, raw, first, last, tuple(counts))


def blocks(file: BinaryIO, end: int | None = None) -> Iterator[tuple[Block, int]]:
    """Every block of a segment with the position of its compressed bytes, as far as the headers tell.

    Damage is skipped up to the next mark. end: where to stop, the size of the file where None. OSError.
    """
    end = os.fstat(file.fileno()).st_size if end is None else end
    at = SEGMENT_HEADER.size
    while at + BLOCK_HEADER.size <= end:
        file.seek(at)
        block = block_at(file.read(BLOCK_HEADER.size))
        if block is not None and at + BLOCK_HEADER.size + block.length <= end:
            yield block, at + BLOCK_HEADER.size
            at += BLOCK_HEADER.size + block.length
        else:
            at = _next_mark(file, at + 1, end)


def _next_mark(file: BinaryIO, at: int, end: int) -> int:
    file.seek(at)
    before = b""
    while at < end:
        part = file.read(1 << 16)
        if not part:
            return end
        found = (before + part).find(_BLOCK_MAGIC)
        if found >= 0:
            return at - len(before) + found
        at += len(part)
        before = (before + part)[-3:]
    return end


def records_of(file: BinaryIO, block: Block, at: int) -> list[Record] | None:
    """The records of a block in the order of their sequences; None where it is damaged. OSError."""
    file.seek(at)
    data = file.read(block.length)
    if zlib.crc32(data) != block.checksum:
        return None
    try:
        return unpack(inflated(data, block.raw))
    except ValueError:
        return None


# --- files


def segment_header(epoch: int) -> bytes:
    """What a segment of a spool of this epoch begins with."""
    start = SEGMENT_HEADER.pack(_SEGMENT_MAGIC, epoch, 0)[:-4]
    return start + struct.pack("<I", zlib.crc32(start))


def segment_epoch(path: Path) -> int | None:
    """The epoch in a segment's header, None where that is damaged."""
    with path.open("rb") as file:
        header = file.read(SEGMENT_HEADER.size)
    if len(header) < SEGMENT_HEADER.size:
        return None
    magic, epoch, checksum = SEGMENT_HEADER.unpack(header)
    return int(epoch) if magic == _SEGMENT_MAGIC and zlib.crc32(header[:-4]) == checksum else None


def encode_state(state: State) -> bytes:
    """The contents of the state file."""
    text = json.dumps(state._asdict(), separators=(",", ":"))
    return f"{zlib.crc32(text.encode()):08x} {text}\n".encode()


def read_state(path: Path) -> State | None:
    """The state as it was stored, None where there is none. ValueError where it is damaged; OSError."""
    try:
        checksum, _, text = path.read_text("utf-8").rstrip("\n").partition(" ")
        if checksum != f"{zlib.crc32(text.encode()):08x}":
            raise ValueError("its checksum is wrong")
        fields = json.loads(text)
        fields["lost"] = tuple((int(first), int(last)) for first, last in fields["lost"])
        return State(**fields)
    except FileNotFoundError:
        return None
    except (TypeError, KeyError) as error:
        raise ValueError(f"it is no state of a spool ({error})") from None


def write_all(file: int, data: bytes) -> None:
    """Write all of `data` to a descriptor; one write may take only a part."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def make_directory(path: Path) -> None:
    """Make a directory, with its parents, so that a loss of power does not take it and all that it holds.

    Its name is synced also where it stands already: whoever made it may have died before that.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for parent in path.absolute().parents:
        with contextlib.suppress(PermissionError):  # of a directory that we may not read: it was not made by us
            file = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(file)
            finally:
                os.close(file)
