"""Terms: addresses and hashes that a file holds, as octets that sort: 16 of an address, 6 of a MAC, 32 of a SHA-256.

The catalogue keeps them for each file (exact, no false hits), so that a list of indicators opens only the files in
which one of them occurs; a network is a range of octets.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address

import pyarrow as pa
import pyarrow.compute as pc

ADDRESSES = ("source.ip", "destination.ip")
MACS = ("source.mac", "destination.mac")
HASHES = ("artifact.sha256",)
INDEXED = (*ADDRESSES, *MACS, *HASHES)
MAX_TERMS = 200_000  # of one file; a flood of addresses leaves it without: then it is always opened
_MAPPED = b"\0" * 10 + b"\xff\xff"  # ::ffff:0:0/96, where IPv4 has its place among IPv6


@lru_cache(1 << 16)
def term(text: str) -> bytes | None:
    """An address, hardware address or SHA-256 as octets; None for anything else."""
    try:
        packed = ip_address(text).packed
        return _MAPPED + packed if len(packed) == 4 else packed
    except ValueError:
        pass
    try:
        octets = bytes.fromhex(text.replace(":", "").replace("-", ""))
    except ValueError:
        return None
    return octets if len(octets) in (6, 32) else None


def span_of(network: IPv4Network | IPv6Network) -> tuple[bytes, bytes]:
    """The first and the last address of a network, as octets."""
    pad = _MAPPED if network.version == 4 else b""
    return pad + network[0].packed, pad + network[-1].packed


def text_of(octets: bytes) -> str:
    """What stands in the columns for it."""
    if len(octets) == 6:
        return octets.hex(":")
    if len(octets) == 32:
        return octets.hex()
    return str(ip_address(octets.removeprefix(_MAPPED)) if octets.startswith(_MAPPED) else ip_address(octets))


def terms_of(tables: Iterable[pa.Table]) -> set[bytes] | None:
    """All terms in some tables; None where there are too many."""
    found: set[bytes] = set()
    for table in tables:
        for name in INDEXED:
            if name in table.column_names:
                for text in pc.unique(table[name]).to_pylist():
                    octets = term(text) if text is not None else None
                    if octets is not None:
                        found.add(octets)
                if len(found) > MAX_TERMS:
                    return None
    return found
