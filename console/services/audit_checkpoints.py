"""Checkpoints of the audit log: where every chain ended at a time, signed by the installation, kept elsewhere.

A chain that was cut, or written anew by whoever owns the machine, agrees with itself; it does not agree with a
checkpoint. A checkpoint is one line of JSON: {"at", "ends": {"<organisation>": {"sequence", "hash"}}, "key",
"signature"}; the signature covers the canonical JSON of the rest.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import select
from sqlalchemy.orm import Session

from console.installation_key import public_hex
from console.store.audit_chain import canonical, canonical_time
from console.store.models import AuditHead

MAX_LINE = 4 * 1024 * 1024
MAX_ENDS = 10_000


class CheckpointError(Exception):
    """A checkpoint that cannot be believed; the text says which and why."""


@dataclass(frozen=True, slots=True)
class End:
    """Where a chain ended."""

    sequence: int
    hash: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """at: RFC 3339. ends: by organisation id. key: the public key that it is signed by, hex."""

    at: str
    ends: dict[int, End]
    key: str


def make(session: Session, key: Ed25519PrivateKey, now: datetime) -> str:
    """The checkpoint of all chains as they are, as its line without the line's end."""
    heads = session.scalars(select(AuditHead).order_by(AuditHead.organisation_id))
    ends = {str(head.organisation_id): {"sequence": head.sequence, "hash": head.hash} for head in heads}
    said = {"at": canonical_time(now), "ends": ends, "key": public_hex(key)}
    return canonical(said | {"signature": key.sign(canonical(said).encode()).hex()})


def parse(line: str, key: str = "") -> Checkpoint:
    """A checkpoint from its line. CheckpointError unless its signature holds, and is that of `key` if that is given."""
    if len(line) > MAX_LINE:
        raise CheckpointError("the line is longer than a checkpoint can be")
    try:
        said: dict[str, Any] = json.loads(line)
        signature = bytes.fromhex(said.pop("signature"))
        public = str(said["key"])
        if key and public != key:
            raise CheckpointError("it is signed by another key than this installation's")
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(signature, canonical(said).encode())
        ends = {int(number): End(end["sequence"], end["hash"]) for number, end in said["ends"].items()}
        if len(ends) > MAX_ENDS or not all(
            type(end.sequence) is int and isinstance(end.hash, str) for end in ends.values()
        ):
            raise CheckpointError("it makes no sense")
        return Checkpoint(str(said["at"]), ends, public)
    except InvalidSignature:
        raise CheckpointError("its signature does not hold: it was changed") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise CheckpointError("it makes no sense") from None


def read(path: Path, key: str = "") -> list[Checkpoint]:
    """Every checkpoint of a file, one a line. CheckpointError names the line. A torn last line is none."""
    found = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.strip() or not line.endswith("\n"):
                continue
            try:
                found.append(parse(line, key))
            except CheckpointError as error:
                raise CheckpointError(f"{path}, line {number}: {error}") from None
    if not found:
        raise CheckpointError(f"{path}: there is no checkpoint in it")
    return found


def append(path: Path, line: str) -> None:
    """Add a checkpoint to a file and to the disk; a line that a crash tore is ended first."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, (("\n" if torn else "") + line + "\n").encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
