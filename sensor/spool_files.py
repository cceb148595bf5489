"""What a spool's files look like: segments of checksummed records, and the state file that is replaced as a whole.

A segment is a header (magic, epoch, CRC-32) and records, each behind a mark by which the next one is found again after
damage. The state file is one line: CRC-32 in hexadecimal, space, JSON object. Numbers in segments are little-endian.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MAX_RECORD_BYTES = 4 * 1024 * 1024  # half of what the console takes in one request
MAX_LOST_RANGES = 100  # kept by number; all are counted

_SEGMENT_MAGIC = b"FHSPOOL1"
SEGMENT_HEADER = struct.Struct("<8sQI")  # magic, epoch, CRC-32 of both
# 0xFE and 0xFF never occur in UTF-8, so no record holds the mark by which the next one is found again.
_RECORD_MAGIC = b"\xfeFR\xff"
_RECORD_HEADER = struct.Struct("<4sIIQ")  # magic, CRC-32 of all that follows, length of the line, sequence
_RECORD_REST = struct.Struct("<IQ")


class Record(NamedTuple):
    """One finding on its way: its sequence, and its JSON object as UTF-8 without line ends."""

    sequence: int
    line: bytes


class State(NamedTuple):
    """What the state file holds.

    epoch: when the spool was made, seconds since 1970. acknowledged: up to here nothing has to be sent any more.
    handed_out: up to here the console may have seen findings. noted: up to here losses are counted. lost_count: records
    that were damaged; lost: the last ranges of them.
    """

    epoch: int
    acknowledged: int = 0
    handed_out: int = 0
    noted: int = 0
    lost_count: int = 0
    lost: tuple[tuple[int, int], ...] = ()


def with_loss(state: State, sequence: int) -> State:
    """The state after finding that a record is damaged; each is counted once. Call in ascending order."""
    if sequence <= state.noted:
        return state
    lost = state.lost
    if lost and lost[-1][1] == sequence - 1:
        lost = (*lost[:-1], (lost[-1][0], sequence))
    else:
        lost = (*lost, (sequence, sequence))[-MAX_LOST_RANGES:]
    return state._replace(noted=sequence, lost_count=state.lost_count + 1, lost=lost)


def encode(record: Record) -> bytes:
    """The record as it stands in a segment."""
    rest = _RECORD_REST.pack(len(record.line), record.sequence) + record.line
    return _RECORD_MAGIC + struct.pack("<I", zlib.crc32(rest)) + rest


def decode(data: bytes) -> Iterator[tuple[Record, int]]:
    """Every whole record in a segment with the position behind it; damage is skipped up to the next mark."""
    at = data.find(_RECORD_MAGIC)
    while at >= 0:
        line = at + _RECORD_HEADER.size
        end = -1
        if line <= len(data):
            _, checksum, length, sequence = _RECORD_HEADER.unpack_from(data, at)
            whole = length <= MAX_RECORD_BYTES and line + length <= len(data)
            if whole and zlib.crc32(memoryview(data)[at + 8 : line + length]) == checksum:
                end = line + length
                yield Record(sequence, data[line:end]), end
        at = data.find(_RECORD_MAGIC, end if end >= 0 else at + 1)


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
    """The state as it was stored, None where there is none or it is damaged."""
    try:
        checksum, _, text = path.read_text("utf-8").rstrip("\n").partition(" ")
        if checksum != f"{zlib.crc32(text.encode()):08x}":
            return None
        fields = json.loads(text)
        fields["lost"] = tuple((int(first), int(last)) for first, last in fields["lost"])
        return State(**fields)
    except (FileNotFoundError, UnicodeDecodeError, ValueError, TypeError, KeyError):
        return None


def write_all(file: int, data: bytes) -> None:
    """Write all of `data` to a descriptor; one write may take only a part."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
