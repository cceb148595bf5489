"""The embedded index: a table of tokens beside the findings, changed in the transaction that changes the finding.

`finding_search` has one row for each finding, under its id: on SQLite an FTS5 table, on PostgreSQL a line and its
tsvector. It is no truth: `catch_up` makes what is missing from the findings. A release that makes other tokens from the
same finding empties the table in a migration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    MetaData,
    Table,
    Text,
    bindparam,
    event,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Session, UOWTransaction

from console.store.base import table_of
from console.store.many import insert_many
from console.store.models import Finding
from console.store.search.document import tokens

BATCH = 1_000  # findings of one transaction of catching up: other writers get their turn in between
MERGED_AT_ONCE = 16  # parts of FTS5's index: with its four, a third of what is written is written by merging
TOKENISED = frozenset(
    (
        *("uid", "rule_id", "rule_name_en", "rule_name_zh", "protocol", "techniques", "capture", "station", "fields"),
        *("source_ip", "source_port", "destination_ip", "destination_port", "message_en", "message_zh"),
    )
)

finding_search = Table(
    "finding_search",
    MetaData(),
    Column("rowid", BigInteger, primary_key=True),
    Column("words", Text),
    Column("finding_search", Text),  # FTS5: what MATCH stands behind
    Column("vector", TSVECTOR),  # PostgreSQL: made from the line
)
finding_search_words = Table("finding_search_words", MetaData(), Column("term", Text))  # FTS5's list of tokens
_DOCSIZE = Table("finding_search_docsize", MetaData(), Column("id", BigInteger, primary_key=True))  # FTS5's own


def install(connection: Connection) -> None:
    """What belongs to the code and not to a migration, on SQLite: the list of all tokens, and the trigger by which a
    deleted finding takes its tokens along, as PostgreSQL's foreign key does. After every upgrade: one that makes the
    table of findings anew loses its triggers.
    """
    if connection.dialect.name == "sqlite" and inspect(connection).has_table(finding_search.name):
        connection.exec_driver_sql(
            f"CREATE VIRTUAL TABLE IF NOT EXISTS {finding_search_words.name} USING fts5vocab(finding_search, 'row')"
        )
        connection.exec_driver_sql(
            "INSERT INTO finding_search (finding_search, rank) VALUES ('automerge', ?)", (MERGED_AT_ONCE,)
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER IF NOT EXISTS finding_search_delete AFTER DELETE ON finding "
            "BEGIN DELETE FROM finding_search WHERE rowid = old.id; END"
        )


@event.listens_for(Session, "after_flush")
def _follow(session: Session, _work: UOWTransaction) -> None:
    """Tokens of new findings, and of those whose words have changed."""
    new = [_row(row) for row in session.new if isinstance(row, Finding)]
    if new:
        session.connection().execute(insert(finding_search), new)
    _write_anew(
        session,
        [
            row
            for row in session.dirty
            if isinstance(row, Finding) and any(inspect(row).attrs[name].history.has_changes() for name in TOKENISED)
        ],
    )


def add(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Tokens of findings that were inserted past the unit of work: their columns by name, with `id`."""
    add_lines(session, [(row["id"], tokens(SimpleNamespace(**row))) for row in rows])


def add_lines(session: Session, lines: Sequence[tuple[int, str]]) -> None:
    """The same where the tokens are at hand: (id of the finding, its tokens)."""
    insert_many(session, finding_search, [{"rowid": row_id, "words": words} for row_id, words in lines])


def renew(session: Session, ids: Sequence[int | None]) -> None:
    """Tokens of findings whose words were changed past the unit of work (a column of TOKENISED)."""
    if ids:
        columns = [*(table_of(Finding).c[name] for name in TOKENISED), table_of(Finding).c.id]
        _write_anew(session, session.execute(select(*columns).where(Finding.id.in_(ids))).all())


def _write_anew(session: Session, rows: Sequence[Any]) -> None:
    if rows:
        changed = update(finding_search).where(finding_search.c.rowid == bindparam("row_id"))
        session.connection().execute(
            changed.values(words=bindparam("line")), [{"row_id": row.id, "line": tokens(row)} for row in rows]
        )


def _row(row: Any) -> dict[str, Any]:
    return {"rowid": row.id, "words": tokens(row)}


def catch_up(engine: Engine, tell: Callable[[int, int], None] | None = None) -> int:
    """Make the tokens of findings that have none, as after an upgrade; gives how many.

    Begins where it was interrupted. engine: its transactions may write. tell: called with (done, of how many).
    """
    with engine.begin() as connection:
        missing = _missing(connection)
    done = after = 0
    while done < missing:
        with Session(engine) as session, session.begin():
            rows = session.scalars(
                select(Finding)
                .where(Finding.id > after, Finding.id.not_in(select(_known(session.connection()))))
                .order_by(Finding.id)
                .limit(BATCH)
            ).all()
            if not rows:
                break
            session.connection().execute(insert(finding_search), [_row(row) for row in rows])
            after, done = rows[-1].id, done + len(rows)
        if tell is not None:
            tell(done, missing)
    return done


def _known(connection: Connection) -> Any:
    """Column of the ids that are in the index, in the smallest table that has them."""
    if connection.dialect.name != "sqlite":
        return finding_search.c.rowid
    return _DOCSIZE.c.id


def _missing(connection: Connection) -> int:
    known = _known(connection)
    kept = connection.scalar(select(func.count()).select_from(Finding)) or 0
    return kept - (connection.scalar(select(func.count()).select_from(known.table)) or 0)
