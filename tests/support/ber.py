"""ASN.1 elements made by hand, for tests of MMS and GOOSE."""

from __future__ import annotations


def ber(identifier: int, *contents: bytes) -> bytes:
    """An element; identifiers above 255 are written as they stand: 0xBF2B is tag 43."""
    data = b"".join(contents)
    size = bytes([len(data)]) if len(data) < 0x80 else b"\x82" + len(data).to_bytes(2, "big")
    return identifier.to_bytes(1 if identifier < 0x100 else 2, "big") + size + data


def integer(identifier: int, value: int) -> bytes:
    """A number in as few octets as it takes."""
    return ber(identifier, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
