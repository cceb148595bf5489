"""A bundle: files for one sensor as one text, and the console's signature over its octets (Ed25519, RFC 8032).

    {"format": 1, "sensor": "line-1", "serial": 1764000000, "version": "3f0c...", "indicators": "<SHA-256>",
     "files": [{"kind": "sigma", "name": "plant.yml", "content": "..."}, ...]}

serial: does not go down, so that nobody can bring an old bundle back; version: names files and indicators by their
content. Indicators travel beside it, for older sensors; the bundle holds their digest.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

FORMAT = 1
# Which file a kind is, as people name it.
SUFFIXES = {
    "sigma": ".yml", "knowledge": ".yaml", "yara": ".yar", "baseline": ".yaml", "tags": ".csv", "tickets": ".yaml",
    "overrides": ".yaml", "ledger": ".csv",
}  # fmt: skip
SINGLE = ("baseline", "ledger")  # kinds of which there can be one file
MAX_FILES = 200
MAX_FILE = 1024 * 1024  # characters
MAX_TOTAL = 4 * 1024 * 1024
VERSION = re.compile(r"[0-9a-f]{16}", re.ASCII)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


class BundleError(Exception):
    """A bundle cannot be used; says why, in one line or several."""


class File(NamedTuple):
    """One file. kind: one of SUFFIXES."""

    kind: str
    name: str
    content: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """See the module. sensor: whom it is for. indicators: digest of those that travel beside it."""

    sensor: str
    version: str
    serial: int
    files: tuple[File, ...]
    indicators: str


def files_digest(files: Iterable[File]) -> str:
    """SHA-256 of files, in whatever order they come."""
    text = json.dumps(sorted(files), ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def version_of(*digests: str) -> str:
    """16 hex digits that name what these digests name."""
    return hashlib.sha256(":".join(digests).encode()).hexdigest()[:16]


def indicators_digest(items: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 of a list of indicators, the same on both sides whatever JSON did to it."""
    return hashlib.sha256(json.dumps(list(items), sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def fingerprint(key: bytes) -> str:
    """A public key's name: 16 hex digits of its SHA-256."""
    return hashlib.sha256(key).hexdigest()[:16]


def public_of(key: Ed25519PrivateKey) -> bytes:
    """The 32 octets of the public key."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def check_names(files: Sequence[File]) -> None:
    """BundleError where a name, a kind or a size cannot be; the content is not looked at."""
    if len(files) > MAX_FILES:
        raise BundleError(f"more than {MAX_FILES} files")
    seen: set[tuple[str, str]] = set()
    for it in files:
        suffix = SUFFIXES.get(it.kind)
        if suffix is None:
            raise BundleError(f"unknown kind of file {it.kind[:40]!r}, expected one of: {', '.join(SUFFIXES)}")
        if not NAME.fullmatch(it.name) or not it.name.endswith(suffix):
            raise BundleError(
                f"{it.name[:100]!r}: a file of {it.kind} has a name of letters, digits, . _ - and {suffix}"
            )
        if (it.kind, it.name) in seen:
            raise BundleError(f"{it.kind}/{it.name} stands twice")
        if len(it.content) > MAX_FILE:
            raise BundleError(f"{it.kind}/{it.name} is longer than {MAX_FILE} characters")
        seen.add((it.kind, it.name))
    for kind in SINGLE:
        if sum(it.kind == kind for it in files) > 1:
            raise BundleError(f"there can be one file of {kind} only")
    if sum(len(it.content) for it in files) > MAX_TOTAL:
        raise BundleError(f"all files together are longer than {MAX_TOTAL} characters")


def sign(bundle: Bundle, key: Ed25519PrivateKey) -> dict[str, str]:
    """As it travels: {"text", "signature", "key"}, the last two in base64."""
    text = json.dumps(
        {
            "format": FORMAT,
            "sensor": bundle.sensor,
            "serial": bundle.serial,
            "version": bundle.version,
            "indicators": bundle.indicators,
            "files": [it._asdict() for it in sorted(bundle.files)],
        },
        ensure_ascii=True,
        separators=(",", ":"),
    )
    signature = key.sign(text.encode())
    return {
        "text": text,
        "signature": base64.b64encode(signature).decode(),
        "key": base64.b64encode(public_of(key)).decode(),
    }


def opened(signed: object, trusted: bytes | None) -> tuple[Bundle, bytes]:
    """(the bundle, the public key that signed it). trusted: the only key that counts; None: any, for the first time.

    BundleError where it is not signed by it, was altered, or is no bundle.
    """
    if not isinstance(signed, Mapping) or not all(
        isinstance(signed.get(it), str) for it in ("text", "signature", "key")
    ):
        raise BundleError("it is not signed")
    try:
        key, signature = (base64.b64decode(signed[name], validate=True) for name in ("key", "signature"))
        public = Ed25519PublicKey.from_public_bytes(key)
    except (ValueError, binascii.Error):
        raise BundleError("its signature cannot be read") from None
    if trusted is not None and key != trusted:
        raise BundleError(
            f"it is signed with the key {fingerprint(key)}, this sensor trusts {fingerprint(trusted)} only"
        )
    text = signed["text"]
    try:
        public.verify(signature, text.encode("utf-8", "replace"))
    except InvalidSignature:
        raise BundleError("it was altered after it was signed") from None
    return _parsed(text), key


def _parsed(text: str) -> Bundle:
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise BundleError(f"its format is {content['format']!r}: this sensor knows {FORMAT}; update the sensor")
        files = tuple(File(str(it["kind"]), str(it["name"]), str(it["content"])) for it in content["files"])
        version = str(content["version"])
        bundle = Bundle(str(content["sensor"]), version, int(content["serial"]), files, str(content["indicators"]))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BundleError(f"it is no bundle: {error!r}"[:200]) from None
    if not VERSION.fullmatch(version):
        raise BundleError("its version is no name")
    check_names(files)
    return bundle
