"""Many rows into a table at once, past what looks at each row by itself.

For paths on which thousands of rows a second come in: values go to the driver column by column, as the column's type
has them there. Nothing is flushed, refreshed or given back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import JSON, Connection, Dialect, String, Table
from sqlalchemy.orm import Session
from sqlalchemy.sql.schema import Column, ScalarElementColumnDefault

from console.store.base import UtcDateTime
from console.store.engine import CLEAN
from console.store.storable import storable


class Ready(str):
    """Text as a driver takes it: storable, and JSON already where the column keeps JSON."""

    __slots__ = ()


def insert_many(session: Session, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all name the same columns; a column's constant default stands where none is named."""
    if not rows:
        return
    session.flush()  # what these rows refer to
    connection = session.connection()
    names, columns = [], []
    for column in table.columns:
        if column.name in rows[0]:
            columns.append(_encoded(column, rows, connection.dialect))
        elif isinstance(column.default, ScalarElementColumnDefault):
            columns.append([column.default.arg] * len(rows))
        else:
            continue
        names.append(column)
    mark = _mark(connection.dialect)
    named = ", ".join(_quoted(column, connection.dialect) for column in names)
    statement = f"INSERT INTO {table.name} ({named}) VALUES ({', '.join([mark] * len(names))})"  # noqa: S608
    _execute(connection, statement, columns)


def update_many(session: Session, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write columns of rows by `id`; all name the same ones. Objects of the session do not hear of it."""
    if not rows:
        return
    session.flush()
    connection = session.connection()
    changed = [column for column in table.columns if column.name in rows[0] and column.name != "id"]
    mark = _mark(connection.dialect)
    named = ", ".join(f"{_quoted(column, connection.dialect)} = {mark}" for column in changed)
    statement = f"UPDATE {table.name} SET {named} WHERE id = {mark}"  # noqa: S608  (names of our own models)
    columns = [_encoded(column, rows, connection.dialect) for column in changed]
    _execute(connection, statement, [*columns, [row["id"] for row in rows]])


def _execute(connection: Connection, statement: str, columns: Sequence[Sequence[Any]]) -> None:
    connection.exec_driver_sql(statement, list(zip(*columns, strict=True)), execution_options={CLEAN: True})


def _mark(dialect: Dialect) -> str:
    return "?" if dialect.paramstyle == "qmark" else "%s"


def _quoted(column: Column[Any], dialect: Dialect) -> str:
    return dialect.identifier_preparer.quote(column.name)


def _encoded(column: Column[Any], rows: Sequence[Mapping[str, Any]], dialect: Dialect) -> list[Any]:
    encode = _encoder(column, dialect)
    values = [row[column.name] for row in rows]
    return values if encode is None else [encode(value) for value in values]


def _encoder(column: Column[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """What makes the driver's value of a column's; None where they are the same."""
    kind = column.type
    process = kind.dialect_impl(dialect).bind_processor(dialect)
    if isinstance(kind, UtcDateTime) and dialect.name == "sqlite":
        return _time_text
    if isinstance(kind, JSON):
        return lambda value: value if type(value) is Ready or process is None else process(value)
    if isinstance(kind, String) and process is None:
        return lambda value: storable(value) if type(value) is str else value
    return process


@lru_cache(4096)  # the time of arrival stands in each row
def _time_text(moment: datetime | None) -> str | None:
    """A time as SQLAlchemy writes it into SQLite, in a sixth of the time."""
    return None if moment is None else moment.astimezone(UTC).isoformat(" ", "microseconds")[:-6]
