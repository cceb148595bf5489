"""Rows of a table as an archive has them: the same values whichever engine they come from."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import JSON, Boolean, Connection, LargeBinary, inspect, types
from sqlalchemy.engine.reflection import Inspector

from console.store.archive import Column, Table
from console.store.storable import storable

FETCHED = 200  # rows at a time: evidence may be large
# What is made from the rest, and made again after a restore; and what belongs to a running process.
LEFT_OUT = frozenset({"alembic_version", "index_outbox", "index_dead_letter", "index_feed", "index_part", "lease"})


def described(connection: Connection) -> list[Table]:
    """Every table that belongs into an archive, those that others refer to first."""
    inspector = inspect(connection)
    there = [name for name, _ in inspector.get_sorted_table_and_fkc_names() if name is not None]
    return [describe(inspector, name) for name in there if name not in LEFT_OUT and not _of_search(name)]


def _of_search(name: str) -> bool:
    """Tables of an embedded full-text index are made from the findings."""
    return name.startswith("finding_search")


def describe(inspector: Inspector, name: str) -> Table:
    """A table's columns as they are in this database."""
    return Table(name, [Column(one["name"], _kind(one["type"])) for one in inspector.get_columns(name)])


def _kind(kind: types.TypeEngine[Any]) -> str:
    if isinstance(kind, types.DateTime):
        return "time"
    if isinstance(kind, JSON):
        return "json"
    if isinstance(kind, Boolean):
        return "bool"
    return "bytes" if isinstance(kind, LargeBinary) else "plain"


def rows(connection: Connection, table: Table) -> Iterator[tuple[Any, ...]]:
    """Rows by id, FETCHED at a time: times as text with microseconds in UTC, JSON as its text."""
    sqlite = connection.dialect.name == "sqlite"
    columns = ", ".join(_read(column, sqlite) for column in table.columns)
    query = f'SELECT {columns} FROM "{table.name}" ORDER BY id'  # noqa: S608  (names from the database itself)
    found = connection.execution_options(stream_results=True, max_row_buffer=FETCHED).exec_driver_sql(query)
    while some := found.fetchmany(FETCHED):
        for row in some:
            yield tuple(row)


def _read(column: Column, sqlite: bool) -> str:
    name = f'"{column.name}"'
    if sqlite:  # a time that SQL wrote may lack its microseconds
        return f"substr({name} || '.000000', 1, 26)" if column.kind == "time" else name
    if column.kind == "time":
        return f"to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
    return {"json": f"{name}::text", "bool": f"{name}::int"}.get(column.kind, name)


def decoder(table: Table) -> Callable[[list[Any]], tuple[Any, ...]]:
    """A function from a line's values to those that are stored. It raises ValueError, TypeError on what cannot be."""
    binary = [number for number, column in enumerate(table.columns) if column.kind == "bytes"]
    width = len(table.columns)

    def decode(values: list[Any]) -> tuple[Any, ...]:
        if len(values) != width:
            raise ValueError("a row with another number of columns")
        for number in binary:
            if values[number] is not None:
                values[number] = base64.urlsafe_b64decode(values[number])
        return tuple(values)

    return decode


def clean(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row of a database that was written before texts were cleaned: what PostgreSQL refuses is replaced."""
    return tuple(storable(value) if type(value) is str else value for value in row)
