"""The file of a backup: a tar with the rows of every table as compressed JSON lines, and a signed manifest at its end.

    <table>/000001.jsonl.gz ...   at most CHUNK_BYTES of lines each, a line a JSON array of the columns in their order
    secrets.json                  files of the data folder under a passphrase; only where one was given
    manifest.json                 what is in it: columns, rows and a SHA-256 over all lines of each table, and more
    manifest.signature            Ed25519 over manifest.json and the public key that made it

Nothing in an archive is believed before it was checked: sizes are bounded, names are looked up and never
opened as paths.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic_core import to_json

FORMAT = 1
CHUNK_BYTES = 8 * 1024 * 1024  # of lines, before compression
MAX_CHUNK_BYTES = 64 * 1024 * 1024  # a single row may be larger than a chunk; of more we believe nothing
MAX_MEMBERS = 1_000_000
MAX_MANIFEST_BYTES = 16 * 1024 * 1024
MANIFEST, SIGNATURE, SECRETS = "manifest.json", "manifest.signature", "secrets.json"
PROGRESS_ROWS = 5_000
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class ArchiveError(Exception):
    """The archive is not what was written, or not one at all; the text says what and in which table."""


@dataclass(frozen=True, slots=True)
class Column:
    """kind: how a value stands in the lines: "plain", "time" (UTC, text), "json" (text), "bool" (0, 1), "bytes"."""

    name: str
    kind: str


@dataclass(slots=True)
class Table:
    """One table's part. sha256: over all of its lines, hex."""

    name: str
    columns: list[Column]
    rows: int = 0
    sha256: str = ""
    chunks: int = 0


@dataclass(slots=True)
class Manifest:
    """What an archive says of itself. audit: end of each chain by organisation id; settings: those without secrets."""

    revision: str
    made_at: str
    engine: str
    tables: list[Table] = field(default_factory=list)
    audit: dict[str, dict[str, Any]] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    secrets: str = ""
    format: int = FORMAT


class Writer:
    """Writes an archive into an open file, table by table; memory: one chunk."""

    def __init__(self, file: IO[bytes]) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def add(self, name: str, data: bytes) -> None:
        """One member."""
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(data), 0o600
        self._tar.addfile(member, io.BytesIO(data))

    def table(self, table: Table, rows: Iterable[tuple[Any, ...]], progress: Callable[[int], None]) -> None:
        """All rows of a table; fills its rows, sha256 and chunks."""
        digest, lines, size, told = hashlib.sha256(), [], 0, 0
        for row in rows:
            line = encode(row)
            digest.update(line)
            lines.append(line)
            size += len(line)
            table.rows += 1
            if size >= CHUNK_BYTES:
                self._chunk(table, lines)
                lines, size = [], 0
            if table.rows - told >= PROGRESS_ROWS:
                progress(table.rows - told)
                told = table.rows
        if lines:
            self._chunk(table, lines)
        progress(table.rows - told)
        table.sha256 = digest.hexdigest()

    def _chunk(self, table: Table, lines: list[bytes]) -> None:
        table.chunks += 1
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)  # gzip; the fastest level: disk is cheaper than a late restore
        self.add(f"{table.name}/{table.chunks:06d}.jsonl.gz", packer.compress(b"".join(lines)) + packer.flush())

    def close(self, manifest: Manifest, key: Ed25519PrivateKey) -> str:
        """Put manifest and signature behind everything; gives the fingerprint of the key."""
        body = json.dumps(asdict(manifest), indent=1, sort_keys=True).encode()
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.add(MANIFEST, body)
        self.add(SIGNATURE, json.dumps({"key": public.hex(), "signature": key.sign(body).hex()}).encode())
        self._tar.close()
        return fingerprint(public)


def fingerprint(public: bytes) -> str:
    """What people compare of a public key."""
    return hashlib.sha256(public).hexdigest()[:32]


def encode(row: tuple[Any, ...]) -> bytes:
    """A row as its line."""
    return to_json(list(row), bytes_mode="base64") + b"\n"


class Reader:
    """Reads an archive whose manifest was checked. ArchiveError says what is wrong, and in which table."""

    def __init__(self, path: Path) -> None:
        try:
            self._tar = tarfile.open(path, mode="r:")  # noqa: SIM115  (closed by `close`)
            self._members: dict[str, tarfile.TarInfo] = {}
            for member in self._tar:
                if not member.isreg() or member.name in self._members or len(self._members) == MAX_MEMBERS:
                    raise ArchiveError(f"{path} is not an archive of a console: {member.name[:100]!r} is odd")
                self._members[member.name] = member
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise ArchiveError(f"{path} is not a whole archive of a console: {error}") from None
        try:
            body = self._read(MANIFEST, MAX_MANIFEST_BYTES)
            self.key = self._signed_by(body)
            self.manifest = _manifest(body)
            self._whole()
        except ArchiveError:
            self.close()
            raise

    def close(self) -> None:
        """Give the file back."""
        self._tar.close()

    def _read(self, name: str, most: int) -> bytes:
        member = self._members.get(name)
        if member is None:
            raise ArchiveError(f"{name} is missing: the archive was not finished, or was cut")
        if member.size > most:
            raise ArchiveError(f"{name} is larger than it can be")
        try:
            found = self._tar.extractfile(member)
            data = found.read() if found is not None else b""
        except (tarfile.TarError, OSError, EOFError) as error:
            raise ArchiveError(f"{name} cannot be read: {error}") from None
        if len(data) != member.size:
            raise ArchiveError(f"{name} is cut")
        return data

    def _signed_by(self, body: bytes) -> str:
        try:
            said = json.loads(self._read(SIGNATURE, 4096))
            public = bytes.fromhex(said["key"])
            Ed25519PublicKey.from_public_bytes(public).verify(bytes.fromhex(said["signature"]), body)
        except (ValueError, TypeError, KeyError, RecursionError, InvalidSignature):
            raise ArchiveError("the manifest is not what was signed") from None
        return fingerprint(public)

    def _whole(self) -> None:
        """The members are those that the manifest names: one more, or one less, is found before any row is read."""
        named = {MANIFEST, SIGNATURE} | ({SECRETS} if self.manifest.secrets else set())
        for table in self.manifest.tables:
            chunks = {f"{table.name}/{number:06d}.jsonl.gz" for number in range(1, table.chunks + 1)}
            if missing := chunks - self._members.keys():
                raise ArchiveError(f"table {table.name}: {min(missing)} is missing")
            named |= chunks
        if extra := self._members.keys() - named:
            raise ArchiveError(f"table {min(extra).split('/')[0]}: {min(extra)} does not belong to the archive")

    def secrets(self) -> bytes | None:
        """The encrypted secrets, None where there are none. ArchiveError where they are not those of the manifest."""
        if not self.manifest.secrets:
            return None
        data = self._read(SECRETS, MAX_MANIFEST_BYTES)
        if hashlib.sha256(data).hexdigest() != self.manifest.secrets:
            raise ArchiveError("secrets.json is not what was written")
        return data

    def lines(self, table: Table) -> Iterator[list[bytes]]:
        """The lines of a table, a chunk at a time; at the end it is known whether they are those that were written."""
        digest, rows = hashlib.sha256(), 0
        for number in range(1, table.chunks + 1):
            packed = self._read(f"{table.name}/{number:06d}.jsonl.gz", MAX_CHUNK_BYTES)
            try:
                unpacker = zlib.decompressobj(31)
                data = unpacker.decompress(packed, MAX_CHUNK_BYTES)
            except zlib.error as error:
                raise ArchiveError(f"table {table.name}: chunk {number} cannot be unpacked: {error}") from None
            if not unpacker.eof or unpacker.unused_data:
                raise ArchiveError(f"table {table.name}: chunk {number} is not whole, or larger than it can be")
            digest.update(data)
            *found, rest = data.split(b"\n")
            if rest:
                raise ArchiveError(f"table {table.name}: chunk {number} ends within a row")
            rows += len(found)
            yield found
        if (rows, digest.hexdigest()) != (table.rows, table.sha256):
            raise ArchiveError(f"table {table.name}: its rows are not those that were written")


def _manifest(body: bytes) -> Manifest:
    try:
        said = json.loads(body)
        if said["format"] != FORMAT:
            raise ArchiveError(f"the archive has format {said['format']}; this program reads format {FORMAT}")
        tables = [
            Table(**(table | {"columns": [Column(**column) for column in table["columns"]]}))
            for table in said["tables"]
        ]
        manifest = Manifest(**(said | {"tables": tables}))
        names = [table.name for table in tables] + [column.name for table in tables for column in table.columns]
        whole = all(type(n) is int and n >= 0 for table in tables for n in (table.rows, table.chunks))
        if not whole or not all(_NAME.fullmatch(name) for name in names) or not isinstance(manifest.revision, str):
            raise ArchiveError("the manifest makes no sense")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ArchiveError("the manifest makes no sense") from None
    return manifest
