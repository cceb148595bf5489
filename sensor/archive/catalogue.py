"""The catalogue: which files count. One SQLite database beside them; a file that is not in it does not exist.

Everything that belongs together (the files of a capture; a day file in place of small ones) changes in one transaction.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sensor.archive.origin import ArchiveError, Origin
from sensor.failpoints import failpoint

NAME = "catalogue.sqlite"
VERSION = 1
_FILE = re.compile(r"\d{4}-\d\d-\d\d/(behaviours|events)-[0-9a-f]{16}\.parquet")
WAIT_S = 30.0  # for another process that writes
KINDS = ("behaviours", "events")

Terms = frozenset[bytes]

_TABLES = """
create table origins (id text primary key, about text not null) strict;
create table takings (origin text primary key references origins, at_ns integer not null, records integer not null,
  archived integer not null, rejected integer not null, left_out integer not null, about text not null) strict;
create table files (number integer primary key autoincrement, name text unique not null, kind text not null,
  day integer not null, first_ns integer not null, last_ns integer not null, rows integer not null,
  events integer not null, bytes integer not null, sha256 text not null, unfit integer not null,
  frame_first integer, frame_last integer, indexed integer not null, columns text not null, protocols text not null,
  origins text not null) strict;
create index files_by_day on files (kind, day);
create table terms (term blob not null, file integer not null references files on delete cascade,
  primary key (term, file)) strict, without rowid;
create index terms_by_file on terms (file);
create table doomed (name text primary key) strict;
create table removals (at_ns integer not null, why text not null, day integer not null, kind text not null,
  files integer not null, rows integer not null, events integer not null, bytes integer not null) strict;
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file. day: days since 1970; first_ns, last_ns: of its events. rows, events: events counts behaviours' too.

    frame_first, frame_last: the range of frames, None where rows have none. unfit: values that were no value of their
    column. terms: what is in its index, None: it has none; known only of an entry that is to be written.
    """

    name: str
    kind: str
    day: int
    first_ns: int
    last_ns: int
    rows: int
    events: int
    bytes: int
    sha256: str
    columns: tuple[str, ...]
    protocols: tuple[str, ...]
    origins: tuple[str, ...]
    unfit: int = 0
    frame_first: int | None = None
    frame_last: int | None = None
    indexed: bool = False
    number: int = 0
    terms: Terms | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Taking:
    """A source that was taken completely. records = archived + rejected + left_out, for a source of records.

    left_out: events of a capture or live run that were not kept one by one (they are counted in behaviours).
    """

    origin: str
    at_ns: int
    records: int
    archived: int
    rejected: int
    left_out: int
    about: Mapping[str, Any]


class Catalogue:
    """See the module. ArchiveError where it cannot be opened, read or written."""

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        self._path = folder / NAME
        if not create and not self._path.is_file():
            raise ArchiveError(f"{folder} is no archive: it has no {NAME}; `fenghuo archive add` makes one")
        with self._told():
            if create:
                folder.mkdir(parents=True, exist_ok=True)
                self._make()
            with closing(self._open()) as db:
                (version,) = db.execute("pragma user_version").fetchone()
        if version != VERSION:
            raise ArchiveError(
                f"{self._path} has version {version}, this program reads version {VERSION}: "
                + ("use the newer program that wrote it" if version > VERSION else "it is damaged, restore it")
            )

    def _make(self) -> None:
        with closing(self._open(write=True)) as db:
            db.execute("begin exclusive")
            if db.execute("pragma user_version").fetchone() == (0,):
                for statement in _TABLES.split(";\n"):
                    db.execute(statement)
                db.execute(f"pragma user_version = {VERSION}")
            db.execute("commit")

    def _open(self, *, write: bool = False) -> sqlite3.Connection:
        where = self._path.resolve().as_uri() + ("?mode=rwc" if write else "?mode=ro")
        db = sqlite3.connect(where, uri=True, timeout=WAIT_S, isolation_level=None)
        if write:
            db.execute("pragma synchronous = extra")
            db.execute("pragma foreign_keys = on")
        return db

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:
            raise ArchiveError(f"{self._path} cannot be used: {error}") from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._told(), closing(self._open(write=True)) as db:
            db.execute("begin immediate")
            yield db
            db.execute("commit")

    def files(self, kind: str | None = None, since_ns: int | None = None, until_ns: int | None = None) -> list[Entry]:
        """Files by day that may hold events from since_ns to before until_ns."""
        where, values = ["1"], []
        for condition, value in (("kind = ?", kind), ("last_ns >= ?", since_ns), ("first_ns < ?", until_ns)):
            if value is not None:
                where.append(condition)
                values.append(value)
        with self._told(), closing(self._open()) as db:
            db.row_factory = sqlite3.Row
            # the condition is made of the words above only
            rows = db.execute(
                f"select * from files where {' and '.join(where)} order by day, first_ns, number",  # noqa: S608
                values,
            )
            return [_entry(row) for row in rows]

    def holding(self, terms: Iterable[bytes], spans: Iterable[tuple[bytes, bytes]]) -> dict[int, set[bytes]]:
        """By number of the file, which of these terms it holds, and which it holds within these spans."""
        found: dict[int, set[bytes]] = {}
        with self._told(), closing(self._open()) as db:
            for term in terms:
                for (file,) in db.execute("select file from terms where term = ?", (term,)):
                    found.setdefault(file, set()).add(term)
            for low, high in spans:
                for held, file in db.execute(
                    "select term, file from terms where term between ? and ? and length(term) = ?",
                    (low, high, len(low)),
                ):
                    found.setdefault(file, set()).add(held)
        return found

    def terms(self, number: int) -> set[bytes]:
        """What the index of a file holds."""
        with self._told(), closing(self._open()) as db:
            return {term for (term,) in db.execute("select term from terms where file = ?", (number,))}

    def origins(self) -> dict[str, dict[str, Any]]:
        """What is known of each origin, by id."""
        with self._told(), closing(self._open()) as db:
            return {name: json.loads(about) for name, about in db.execute("select id, about from origins")}

    def takings(self) -> list[Taking]:
        """Sources that were taken, in order."""
        with self._told(), closing(self._open()) as db:
            rows = db.execute("select * from takings order by at_ns").fetchall()
        return [Taking(a, b, c, d, e, f, json.loads(about)) for a, b, c, d, e, f, about in rows]

    def taken(self, origin: Origin) -> bool:
        """Whether all of this source is here."""
        with self._told(), closing(self._open()) as db:
            return db.execute("select 1 from takings where origin = ?", (origin.id,)).fetchone() is not None

    def add(self, origin: Origin, entries: Sequence[Entry], taking: Taking | None = None) -> None:
        """Let files of an origin count. taking: that nothing more of it will come; of a live run sums are kept."""
        with self._writing() as db:
            about = json.dumps(origin.fields(), ensure_ascii=False)
            db.execute("insert into origins values (?, ?) on conflict do nothing", (origin.id, about))
            _insert(db, entries)
            if taking is not None:
                it = taking
                db.execute(
                    "insert into takings values (?, ?, ?, ?, ?, ?, ?) on conflict (origin) do update set"
                    " at_ns = excluded.at_ns, records = records + excluded.records,"
                    " archived = archived + excluded.archived, rejected = rejected + excluded.rejected,"
                    " left_out = left_out + excluded.left_out, about = excluded.about",
                    (
                        it.origin,
                        it.at_ns,
                        it.records,
                        it.archived,
                        it.rejected,
                        it.left_out,
                        json.dumps(dict(it.about)),
                    ),
                )
            failpoint("archive.before_add_commit")
        failpoint("archive.after_add_commit")

    def replace(self, old: Sequence[Entry], new: Sequence[Entry]) -> bool:
        """Let new files count in place of old ones; False, and nothing is changed, where one is gone meanwhile."""
        with self._writing() as db:
            if any(not db.execute("select 1 from files where name = ?", (it.name,)).fetchone() for it in old):
                return False
            _doom(db, old)
            _insert(db, new)
            failpoint("archive.before_compacted_commit")
        failpoint("archive.after_compacted_commit")
        return True

    def remove(self, entries: Sequence[Entry], why: str) -> None:
        """Let files no longer count, and note what is gone with them, by day and kind."""
        sums: dict[tuple[int, str], list[int]] = {}
        for it in entries:
            total = sums.setdefault((it.day, it.kind), [0, 0, 0, 0])
            for at, number in enumerate((1, it.rows, it.events, it.bytes)):
                total[at] += number
        with self._writing() as db:
            _doom(db, entries)
            now_ns = time.time_ns()
            for (day, kind), total in sums.items():
                db.execute("insert into removals values (?, ?, ?, ?, ?, ?, ?, ?)", (now_ns, why, day, kind, *total))
            failpoint("archive.before_removal_commit")
        failpoint("archive.after_removal_commit")

    def removals(self) -> list[dict[str, Any]]:
        """What was removed: at_ns, why, day, kind, files, rows, events, bytes."""
        with self._told(), closing(self._open()) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute("select * from removals order by at_ns, day")]

    def doomed(self) -> list[str]:
        """Names of files that no longer count and may still be on disk."""
        with self._told(), closing(self._open()) as db:
            names = [name for (name,) in db.execute("select name from doomed")]
        return [name for name in names if _FILE.fullmatch(name)]

    def buried(self, names: Sequence[str]) -> None:
        """Forget doomed files that are off the disk."""
        with self._writing() as db:
            db.executemany("delete from doomed where name = ?", [(name,) for name in names])
            failpoint("archive.before_buried_commit")


def _insert(db: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    for it in entries:
        done = db.execute(
            "insert into files (name, kind, day, first_ns, last_ns, rows, events, bytes, sha256, unfit, frame_first,"
            " frame_last, indexed, columns, protocols, origins) values"
            " (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                it.name, it.kind, it.day, it.first_ns, it.last_ns, it.rows, it.events, it.bytes, it.sha256, it.unfit,
                it.frame_first, it.frame_last, it.terms is not None, json.dumps(it.columns), json.dumps(it.protocols),
                json.dumps(it.origins),
            ),
        )  # fmt: skip
        number = done.lastrowid
        db.executemany("insert into terms values (?, ?)", [(term, number) for term in sorted(it.terms or ())])


def _doom(db: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    for it in entries:
        db.execute("insert into doomed values (?) on conflict do nothing", (it.name,))
        db.execute("delete from files where name = ?", (it.name,))


def _entry(row: sqlite3.Row) -> Entry:
    it = dict(row)
    if not _FILE.fullmatch(it["name"]):  # an archive may come from others: nothing outside its folder is touched
        raise ValueError(f"{it['name']!r} is no file of an archive")
    it["indexed"] = bool(it["indexed"])
    for name in ("columns", "protocols", "origins"):
        it[name] = tuple(json.loads(it[name]))
    return Entry(**it)
