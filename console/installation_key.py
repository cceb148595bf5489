"""The installation's own key pair (Ed25519): it signs backups and the checkpoints of the audit log."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

KEY_FILE, PUBLIC_FILE = "installation_key.pem", "installation_key.pub"


def installation_key(data_dir: Path) -> Ed25519PrivateKey:
    """The private key of a data folder, made at the first call; its owner alone reads it. OSError, ValueError.

    The public key stands beside it, hex, for whoever keeps checkpoints elsewhere.
    """
    path = data_dir / KEY_FILE
    data_dir.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        made = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        descriptor, fresh = tempfile.mkstemp(dir=data_dir)  # mode 0600
        with os.fdopen(descriptor, "wb") as file:
            file.write(made)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another process was first: its key counts
            os.link(fresh, path)
        os.unlink(fresh)
    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path} is not an Ed25519 key")
    public = data_dir / PUBLIC_FILE
    if not public.exists():
        public.write_text(public_hex(key) + "\n")
    return key


def public_hex(key: Ed25519PrivateKey) -> str:
    """Its public half, hex."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
