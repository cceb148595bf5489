"""What a one-way link carries: datagrams, each signed, in groups of which one may be lost.

A parcel (a stretch of a sensor's queue, compressed) is cut into chunks. Every GROUP of them has a parity chunk, their
XOR, from which one lost chunk of the group is made again. The chunks of a group do not lie beside each other, so that a
burst of losses hits several groups a little and none twice. A state datagram says how far the sender is, and its
counters.

    magic "FHW1" | kind | key id | epoch | first, last, released | length | number, data, parity | payload | signature

kind: 1 parcel, 2 state. key id: 8 bytes by which the receiver finds the key. first, last: the sequences of the parcel.
released: up to here everything was sent as often as it ever will be. length: of the parcel's body in bytes. number of
this chunk; data and parity: how many of each there are. Big-endian. The signature is HMAC-SHA256, cut to 16 bytes,
under a key that is derived from the sensor's; who has it may speak for that sensor, as on the way over HTTP.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sensor.spool_files import MAX_RECORD_BYTES, Record, inflated, pack, unpack

PARCEL, STATE = 1, 2
CHUNK_BYTES = 1200  # with all headers less than 1,280, which every IPv6 link carries
GROUP = 8  # chunks that share a parity chunk
MAX_RAW_BYTES = 2 * MAX_RECORD_BYTES
MAX_CHUNKS = 8192  # of a parcel
SIGNATURE_BYTES = 16
KEY_ID_BYTES = 8

_HEADER = struct.Struct(">4sB8sQQQQIHHH")
_MAGIC = b"FHW1"


class Keys(NamedTuple):
    """What is derived from a sensor's key. name: tells the receiver which key it is; secret: signs."""

    name: bytes
    secret: bytes


class Datagram(NamedTuple):
    """One datagram, checked; see the module."""

    kind: int
    epoch: int
    first: int
    last: int
    released: int
    length: int
    number: int
    data: int
    parity: int
    payload: bytes

    @property
    def parcel(self) -> tuple[int, int, int, int]:
        """What chunks of one parcel have in common. After a restart the sender may cut its queue in another way."""
        return self.epoch, self.first, self.last, self.length


def keys_of(sensor_key: str) -> Keys:
    """The keys of a sensor on one-way links."""

    def derived(use: bytes) -> bytes:
        return hmac.new(sensor_key.encode(), b"fenghuo one-way " + use, hashlib.sha256).digest()

    return Keys(derived(b"name")[:KEY_ID_BYTES], derived(b"signature"))


def sign(keys: Keys, datagram: Datagram) -> bytes:
    """The datagram as it goes onto the wire."""
    kind, epoch, first, last, released, length, number, data, parity, payload = datagram
    head = _HEADER.pack(_MAGIC, kind, keys.name, epoch, first, last, released, length, number, data, parity)
    return head + payload + hmac.digest(keys.secret, head + payload, "sha256")[:SIGNATURE_BYTES]


def key_name(data: bytes) -> bytes | None:
    """By which key this datagram claims to be signed; None where it is none of ours."""
    if len(data) < _HEADER.size + SIGNATURE_BYTES or data[:4] != _MAGIC:
        return None
    return data[5 : 5 + KEY_ID_BYTES]


def verified(keys: Keys, data: bytes) -> Datagram | None:
    """The datagram, None where its signature is wrong or its numbers make no sense."""
    body, signature = data[:-SIGNATURE_BYTES], data[-SIGNATURE_BYTES:]
    if not hmac.compare_digest(hmac.digest(keys.secret, body, "sha256")[:SIGNATURE_BYTES], signature):
        return None
    _, kind, _, epoch, first, last, released, length, number, count, parity = _HEADER.unpack_from(body)
    payload = body[_HEADER.size :]
    found = Datagram(kind, epoch, first, last, released, length, number, count, parity, payload)
    if kind == STATE:
        return found
    sound = (
        kind == PARCEL
        and 1 <= first <= last < 1 << 62
        and 1 <= count <= MAX_CHUNKS
        and parity == -(-count // GROUP)
        and number < count + parity
        and (count - 1) * CHUNK_BYTES < length <= count * CHUNK_BYTES
        and len(payload) == CHUNK_BYTES
    )
    return found if sound else None


def body_of(sensor: str, records: Sequence[Record]) -> bytes:
    """The body of a parcel."""
    return zlib.compress(sensor.encode() + b"\0" + pack(records), 6)


def records_in(body: bytes) -> tuple[str, list[Record]]:
    """The sensor's name and the records of a body; ValueError where it holds none."""
    name, _, packed = inflated(body, MAX_RAW_BYTES).partition(b"\0")
    return name.decode("ascii"), unpack(packed)


def cut(body: bytes) -> list[bytes]:
    """A body as chunks of one length, the parity chunks last."""
    count = -(-len(body) // CHUNK_BYTES)
    chunks = np.frombuffer(body.ljust(count * CHUNK_BYTES, b"\0"), np.uint8).reshape(count, CHUNK_BYTES)
    groups = -(-count // GROUP)
    parities = [np.bitwise_xor.reduce(chunks[group::groups], axis=0) for group in range(groups)]
    return [chunk.tobytes() for chunk in (*chunks, *parities)]


class Puzzle:
    """The chunks of one parcel as they come in; `parcel` of each of them is the same."""

    def __init__(self) -> None:
        self._chunks: dict[int, bytes] = {}

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        return len(self._chunks) * CHUNK_BYTES

    def put(self, datagram: Datagram) -> bytes | None:
        """Take a chunk; gives the body when enough of them are there."""
        self._chunks.setdefault(datagram.number, datagram.payload)
        count, groups = datagram.data, datagram.parity
        if len(self._chunks) < count:
            return None
        for group in range(groups):
            lost = [index for index in range(group, count, groups) if index not in self._chunks]
            if not lost:
                continue
            if len(lost) > 1 or count + group not in self._chunks:
                return None
            present = [self._chunks[index] for index in range(group, count, groups) if index != lost[0]]
            stacked = np.frombuffer(b"".join((*present, self._chunks[count + group])), np.uint8)
            self._chunks[lost[0]] = np.bitwise_xor.reduce(stacked.reshape(-1, CHUNK_BYTES), axis=0).tobytes()
        return b"".join(self._chunks[index] for index in range(count))[: datagram.length]
