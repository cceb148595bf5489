"""Secrets of the data folder in an archive: AES-256-GCM under a key that scrypt makes from a passphrase."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from console.store.archive import ArchiveError

SCRYPT = {"length": 32, "n": 2**16, "r": 8, "p": 1}  # 64 MiB and a fraction of a second for each guess


def seal(secrets: Mapping[str, bytes], passphrase: str) -> bytes:
    """Files by name, encrypted."""
    salt, nonce = os.urandom(16), os.urandom(12)
    plain = json.dumps({name: base64.b64encode(data).decode() for name, data in secrets.items()}).encode()
    sealed = AESGCM(_key(passphrase, salt)).encrypt(nonce, plain, None)
    parts = {"salt": salt, "nonce": nonce, "sealed": sealed}
    return json.dumps({name: base64.b64encode(part).decode() for name, part in parts.items()}).encode()


def unseal(data: bytes, passphrase: str) -> dict[str, bytes]:
    """The files again. ArchiveError where the passphrase is another, or the secrets were changed."""
    try:
        parts = {name: base64.b64decode(part) for name, part in json.loads(data).items()}
        plain = AESGCM(_key(passphrase, parts["salt"])).decrypt(parts["nonce"], parts["sealed"], None)
        return {name: base64.b64decode(secret) for name, secret in json.loads(plain).items()}
    except InvalidTag:
        raise ArchiveError("the passphrase is not the one that the secrets were encrypted under") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ArchiveError("secrets.json makes no sense") from None


def digest(data: bytes) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(data).hexdigest()


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, **SCRYPT).derive(passphrase.encode())
