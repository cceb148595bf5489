"""A backup: every row of one consistent state, while the console goes on, as one archive."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from console.store import rows, sealed
from console.store.archive import SECRETS, Manifest, Writer
from console.store.audit_chain import canonical_time
from console.store.engine import Store
from console.store.migrations import current


def back_up(
    store: Store,
    path: Path,
    key: Ed25519PrivateKey,
    now: datetime,
    settings: Mapping[str, str],
    secrets: Mapping[str, bytes],
    passphrase: str,
    progress: Callable[[int], None],
) -> tuple[Manifest, str]:
    """Write the archive; gives its manifest and the fingerprint of the key that signed it.

    One reading transaction sees one state, however long it takes; writers go on (SQLite's log grows meanwhile).
    The file appears under its name when it is whole and on disk, mode 0600. secrets: files of the data folder, left
    out where `passphrase` is empty. FileExistsError where there is something under that name.
    """
    part = path.with_name(path.name + ".part")
    if path.exists():
        raise FileExistsError(f"{path} is there already: an archive is never written over")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file, store.reader() as session:
            connection = session.connection()
            revision = current(connection)
            manifest = Manifest(revision or "", canonical_time(now), connection.dialect.name, settings=dict(settings))
            heads = connection.execute(text("SELECT organisation_id, sequence, hash FROM audit_head"))
            manifest.audit = {str(row[0]): {"sequence": row[1], "hash": row[2]} for row in heads}
            writer = Writer(file)
            for table in rows.described(connection):
                writer.table(table, _cleaned(rows.rows(connection, table)), progress)
                manifest.tables.append(table)
            if passphrase and secrets:
                data = sealed.seal(secrets, passphrase)
                writer.add(SECRETS, data)
                manifest.secrets = sealed.digest(data)
            signed_by = writer.close(manifest, key)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return manifest, signed_by


def _cleaned(found: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    return map(rows.clean, found)
