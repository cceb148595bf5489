"""Bytes of slow protocols as text: addresses, names, type-length-value elements. Total on hostile input."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from sensor.text import wire_text

MAX_ELEMENTS = 64  # of one message: real ones have a dozen
MAX_TEXT = 256  # characters of one value


def mac(data: bytes) -> str:
    """Six octets as aa:bb:cc:dd:ee:ff."""
    return data[:6].hex(":")


@lru_cache(maxsize=8192)  # a plant has a few hundred
def ip(data: bytes) -> str:
    """Four or sixteen octets as an address, "" for any other number."""
    if len(data) == 4:
        return str(IPv4Address(data))
    return str(IPv6Address(data)) if len(data) == 16 else ""


def addresses(data: bytes) -> list[str]:
    """IPv4 addresses that follow each other."""
    return [ip(data[at : at + 4]) for at in range(0, min(len(data), 4 * MAX_ELEMENTS) - 3, 4)]


def text(data: bytes) -> str:
    """A name or description as one printable line, cut to MAX_TEXT."""
    return wire_text(data[:MAX_TEXT]).strip()[:MAX_TEXT]


def number(data: bytes) -> int:
    """A big-endian number."""
    return int.from_bytes(data, "big")


def elements(data: bytes, head: int, end: int = -1) -> Iterator[tuple[int, bytes, bool]]:
    """(type, value, whole) of elements with `head` octets of type and as many of length, up to MAX_ELEMENTS.

    A type of `end` ends them and is not given. `whole` is false where the last one claims more than there is.
    """
    at = 0
    for _ in range(MAX_ELEMENTS):
        if at + head > len(data):
            return
        kind = number(data[at : at + head])
        if kind == end:
            return
        if at + 2 * head > len(data):
            return
        length = number(data[at + head : at + 2 * head])
        at += 2 * head
        yield kind, data[at : at + length], at + length <= len(data)
        at += length
