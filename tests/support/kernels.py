"""The compiled functions of a protocol file, called from tests: with other bytes around, and on mutated messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType

import numpy as np

from sensor.decode.pdu import PDU, clear

SEED = np.uint64(0x1234_5678_9ABC_DEF0)
_BEFORE, _BEHIND = b"\x81before", b"behind\xff\xff\xff"


def framed(kernel: ModuleType, data: bytes) -> int:
    """What `frame` says about bytes in the middle of a buffer."""
    buffer = np.frombuffer(_BEFORE + data + _BEHIND, np.uint8)
    return int(kernel.frame(buffer, len(_BEFORE), len(_BEFORE) + len(data)))


def probed(kernel: ModuleType, data: bytes) -> bool:
    """What `probe` says about bytes in the middle of a buffer."""
    buffer = np.frombuffer(_BEFORE + data + _BEHIND, np.uint8)
    return bool(kernel.probe(buffer, len(_BEFORE), len(_BEFORE) + len(data)))


def row(kernel: ModuleType, data: bytes, seed: np.uint64 = SEED) -> np.void:
    """The record that `read` fills from one message in the middle of a buffer."""
    record = np.zeros(1, PDU)
    clear(record[0])
    buffer = np.frombuffer(_BEFORE + data + _BEHIND, np.uint8)
    kernel.read(buffer, len(_BEFORE), len(_BEFORE) + len(data), seed, record[0])
    return record[0]


def mutations(messages: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Messages with octets changed to any or to telling values, cut, repeated, joined; the same for the same seed."""
    random = np.random.default_rng(seed)
    telling = np.array([0, 1, 0x7F, 0x80, 0xFE, 0xFF], np.uint8)
    for _ in range(count):
        data = bytearray(messages[random.integers(len(messages))])
        for _ in range(random.integers(1, 5)):
            how, at = random.integers(6), int(random.integers(len(data) + 1))
            if how < 3 and at < len(data):
                data[at] = int(random.integers(256)) if how < 2 else int(telling[random.integers(len(telling))])
            elif how == 3:
                del data[at:]
            elif how == 4:
                data[at:at] = data[: int(random.integers(len(data) + 1))]
            else:
                data += messages[random.integers(len(messages))]
        yield bytes(data)
