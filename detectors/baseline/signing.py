"""Signatures of baselines: Ed25519 (RFC 8032), keys in PEM files, trust by the public keys that a person gives."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from detectors.baseline.book import Baseline
from detectors.baseline.store import Signature, TrustError, read, write
from detectors.finding import rfc3339

SIGNATURE = b"\nsignature: "
MAX_KEY_BYTES = 4096


def fingerprint(key: Ed25519PublicKey) -> str:
    """A public key's name: 16 hex digits of its SHA-256."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def make_keys(path: Path) -> tuple[Path, Path, str]:
    """Make a pair of keys: (private, public, fingerprint); files that exist are never written over (OSError)."""
    private, public = path.with_name(path.name + ".key"), path.with_name(path.name + ".pub")
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with open(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    with open(os.open(public, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as file:
        file.write(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
    return private, public, fingerprint(key.public_key())


def _pem(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise TrustError(f"{path}: cannot be read: {error.strerror or error}") from error


def private_key(path: Path) -> Ed25519PrivateKey:
    """The private key in a PEM file; TrustError where there is none."""
    why = f"{path}: is not a private Ed25519 key without a password; make one with `fenghuo baseline key`"
    try:
        key = serialization.load_pem_private_key(_pem(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise TrustError(why) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise TrustError(why)
    return key


def public_key(path: Path) -> Ed25519PublicKey:
    """The public key in a PEM file; TrustError where there is none."""
    why = f"{path}: is not a public Ed25519 key; `fenghuo baseline key` makes a pair, give the .pub file"
    try:
        key = serialization.load_pem_public_key(_pem(path))
    except (ValueError, UnsupportedAlgorithm):
        raise TrustError(why) from None
    if not isinstance(key, Ed25519PublicKey):
        raise TrustError(why)
    return key


def _unsigned(raw: bytes) -> bytes:
    """The part of a file that a signature covers."""
    return raw[: raw.rindex(SIGNATURE)] if SIGNATURE in raw else raw.rstrip(b"\n")


def sign(path: Path, key: Ed25519PrivateKey, by: str, now_ns: int | None = None) -> Signature:
    """Sign a file as it stands, in place of a signature that it has."""
    content = _unsigned(path.read_bytes())
    at = rfc3339(time.time_ns() if now_ns is None else now_ns)
    bare = Signature(by, at, fingerprint(key.public_key()), b"")
    signature = Signature(by, at, bare.key, key.sign(bare.covered(content)))
    shown = {"by": by, "at": at, "key": signature.key, "ed25519": base64.b64encode(signature.value).decode()}
    write(path, content + SIGNATURE + json.dumps(shown, ensure_ascii=False).encode() + b"\n")
    return signature


def verify(path: Path, trusted: Mapping[str, Ed25519PublicKey]) -> Signature:
    """Who signed a file, if one of the trusted keys (by fingerprint) did and nothing was changed since; TrustError."""
    raw = path.read_bytes()
    _, signature = read(path)
    if signature is None:
        raise TrustError(
            f"{path}: is not signed; have it signed with `fenghuo baseline sign`, or take it as it is with --unsigned"
        )
    key = trusted.get(signature.key)
    if key is None:
        raise TrustError(
            f"{path}: is signed by {signature.by!r} with the key {signature.key}, which is not among the trusted ones"
            " (--trust FILE.pub)"
        )
    content = _unsigned(raw)
    tail = raw[len(content) :].strip()
    try:
        key.verify(signature.value, signature.covered(content))
    except InvalidSignature:
        tail = b"\n\n"
    if b"\n" in tail:
        raise TrustError(
            f"{path}: was altered after {signature.by!r} signed it at {signature.at}; compare it with a copy"
            " (`fenghuo baseline diff`) before anybody signs it again"
        )
    return signature


def trusted(paths: Iterable[Path]) -> dict[str, Ed25519PublicKey]:
    """Public keys by fingerprint."""
    keys = [public_key(path) for path in paths]
    return {fingerprint(key): key for key in keys}


def open_trusted(path: Path, paths: tuple[Path, ...], *, unsigned: bool) -> tuple[Baseline, Signature | None]:
    """The baseline in a file, once its signature is verified; `unsigned`: take it without.

    ContentError, TrustError where it cannot be used.
    """
    baseline, signature = read(path)
    if unsigned:
        return baseline, signature
    if signature is not None and not paths:
        raise TrustError(
            f"{path}: give the public key of {signature.by!r} with --trust FILE.pub, or take the file unverified"
            " with --unsigned"
        )
    return baseline, verify(path, trusted(paths))
