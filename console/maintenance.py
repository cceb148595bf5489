"""Looking after a console's data: backup, restore, verifying the audit log. What the command line calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import SecretStr

from console.installation_key import KEY_FILE, installation_key, public_hex
from console.run import open_migrated
from console.services import audit, audit_checkpoints
from console.services.actor import utc_now
from console.services.audit_checkpoints import Checkpoint
from console.services.users import COMMAND_LINE
from console.settings import SECRET_FILE, Settings
from console.store import backup, restore, sealed
from console.store.archive import ArchiveError, Manifest, Reader
from console.store.audit_chain import Verified, chains, verify
from console.store.engine import open_store
from console.store.restore import TargetError

SECRET_FILES = (SECRET_FILE, KEY_FILE)  # of the data folder; what is lost without them is said by `back_up`
UNSAID = ("database_url", "data_dir")  # may hold a password, or means nothing elsewhere


def back_up(settings: Settings, path: Path, passphrase: str, progress: Callable[[int], None]) -> tuple[Manifest, str]:
    """An archive of everything in the store; gives its manifest and the fingerprint of the key that signed it."""
    store = open_migrated(settings)
    key = installation_key(settings.data_dir)
    secrets = {name: file.read_bytes() for name in SECRET_FILES if (file := settings.data_dir / name).exists()}
    said = {name: str(value) for name, value in settings if not isinstance(value, SecretStr) and name not in UNSAID}
    with store.transaction() as session:  # in the archive itself, so that a restored console knows what it came from
        audit.record_everywhere(session, COMMAND_LINE, "console.backed_up", {"file": path.name}, utc_now())
    return backup.back_up(store, path, key, utc_now(), said, secrets, passphrase, progress)


def restore_from(
    settings: Settings, path: Path, passphrase: str, key: str, progress: Callable[[str, int], None]
) -> tuple[Manifest, str, list[str]]:
    """Restore an archive into an empty place; gives manifest, fingerprint of its key, and the secret files it wrote.

    key: the fingerprint that the archive must be signed by, "" for any. ArchiveError, TargetError.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    store = open_store(settings.store_url)
    reader = Reader(path)
    try:
        if key and reader.key != key.strip().lower():
            raise ArchiveError(f"the archive is signed by {reader.key}, not by {key}")
        sealed_secrets = reader.secrets() if passphrase else None
        secrets = sealed.unseal(sealed_secrets, passphrase) if sealed_secrets is not None else {}
        if passphrase and sealed_secrets is None:
            raise ArchiveError("the archive holds no secrets: restore it without a passphrase")
        _check_secrets(settings, secrets)
        restore.restore(store, reader, progress)
        written = [name for name, data in sorted(secrets.items()) if _write_secret(settings.data_dir / name, data)]
        with store.transaction() as session:
            details = {"file": path.name, "made_at": reader.manifest.made_at, "signed_by": reader.key}
            audit.record_everywhere(session, COMMAND_LINE, "console.restored", details, utc_now())
        return reader.manifest, reader.key, written
    finally:
        reader.close()
        store.engine.dispose()


def _check_secrets(settings: Settings, secrets: dict[str, bytes]) -> None:
    for name, data in secrets.items():
        if name not in SECRET_FILES:
            raise ArchiveError(f"secrets.json names a file that is none: {name[:100]!r}")
        there = settings.data_dir / name
        if there.exists() and there.read_bytes() != data:
            raise TargetError(f"{there} is there already, and differs from the archive's: restore into an empty folder")


def _write_secret(path: Path, data: bytes) -> bool:
    """True where it was not there yet."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return True


def verify_audit(
    settings: Settings, checkpoints: Iterable[Checkpoint], progress: Callable[[int], None]
) -> list[Verified]:
    """Walk every organisation's audit chain in one consistent state, and hold it against checkpoints."""
    expected: dict[int, dict[int, str]] = {}
    for checkpoint in checkpoints:
        for organisation, end in checkpoint.ends.items():
            expected.setdefault(organisation, {})[end.sequence] = end.hash
    with open_migrated(settings).reader() as session:
        connection = session.connection()
        return [
            verify(connection, organisation, expected.get(organisation), progress)
            for organisation in sorted({*chains(connection), *expected})
        ]


def own_public_key(settings: Settings) -> str:
    """The installation's public key, hex."""
    return public_hex(installation_key(settings.data_dir))


def checkpoint(settings: Settings, path: Path | None) -> str:
    """A checkpoint of every audit chain as its line, appended to a file where one is given."""
    with open_migrated(settings).reader() as session:
        line = audit_checkpoints.make(session, installation_key(settings.data_dir), utc_now())
    if path is not None:
        audit_checkpoints.append(path, line)
    return line
