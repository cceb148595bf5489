"""Triggers that put every touched row into the index outbox, in the transaction that touches it, whoever writes.

They belong to the code and not to a migration: `install` compares them with the database after every upgrade, so that a
migration that makes a table anew does not lose them. While no cluster is set (no row in index_feed) they do nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, inspect, text

OUTBOX, FEED = "index_outbox", "index_feed"
PREFIX = "index_of_"  # of the names of triggers and functions


@dataclass(frozen=True, slots=True)
class Watched:
    """A table whose rows make documents of a kind.

    key: SQL expression of the document's id behind the organisation's, with {row} for the row. month: column of the
    time that says in which index the document is.
    """

    kind: str
    table: str
    key: str
    month: str


def document_id(organisation_id: int, key: str) -> str:
    """`_id` of a document, the same as `_insert` writes it: keys are unique within an organisation only."""
    return f"{organisation_id}/{key}"


WATCHED = (
    Watched("finding", "finding", key="{row}.uid", month="received_at"),
    Watched(
        "asset", "asset", key="{row}.sensor_id || '/' || {row}.segment || '/' || {row}.address", month="received_at"
    ),
    Watched("behaviour", "behaviour", key="{row}.sensor_id || '/' || {row}.key", month="received_at"),
    Watched("summary", "summary", key="{row}.site_id || '/' || {row}.key", month="begins_at"),
)


def install(connection: Connection) -> None:
    """Make the triggers what they should be; does nothing where they are. Called within the upgrade's transaction."""
    tables = set(inspect(connection).get_table_names())
    if not {OUTBOX, FEED} <= tables:
        return
    watched = [it for it in WATCHED if it.table in tables]
    if connection.dialect.name == "sqlite":
        _install_sqlite(connection, watched)
    else:
        _install_postgresql(connection, watched)


def _fed(it: Watched) -> str:
    return f"EXISTS (SELECT 1 FROM {FEED} WHERE kind = '{it.kind}')"  # noqa: S608  (constants of this file)


def _touch(it: Watched, row: str, month: str) -> str:
    """SQL statements that put the document of a row into the outbox. month: SQL function of the column, with {0}."""
    document = f"{row}.organisation_id || '/' || {it.key.format(row=row)}"
    period = month.format(f"{row}.{it.month}")
    return (
        f"DELETE FROM {OUTBOX} WHERE kind = '{it.kind}' AND document_id = ({document});\n"  # noqa: S608
        f"  INSERT INTO {OUTBOX} (organisation_id, kind, row_id, document_id, period, attempts)"
        f" VALUES ({row}.organisation_id, '{it.kind}', {row}.id, {document}, {period}, 0);"
    )


def _install_sqlite(connection: Connection, watched: list[Watched]) -> None:
    wanted = {}
    for it in watched:
        for event, row in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
            name = f"{PREFIX}{it.table}_{event.lower()}"
            wanted[name] = (
                f"CREATE TRIGGER {name} AFTER {event} ON {it.table}"
                f" WHEN {_fed(it)} BEGIN\n"
                f"  {_touch(it, row, 'substr({0}, 1, 7)')}\nEND"
            )
    names = text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE :prefix || '%'")
    there: dict[str, str] = dict(connection.execute(names, {"prefix": PREFIX}).all())
    for name in there.keys() - {name for name, sql in wanted.items() if there.get(name) == sql}:
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
        del there[name]
    for name in wanted.keys() - there.keys():
        connection.exec_driver_sql(wanted[name])


def _install_postgresql(connection: Connection, watched: list[Watched]) -> None:
    month = "to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM')"
    sources = text("SELECT proname, prosrc FROM pg_proc WHERE starts_with(proname, :prefix)")
    functions: dict[str, str] = dict(connection.execute(sources, {"prefix": PREFIX}).all())
    triggers = set(
        connection.scalars(text("SELECT tgname FROM pg_trigger WHERE starts_with(tgname, :prefix)"), {"prefix": PREFIX})
    )
    for it in watched:
        name = f"{PREFIX}{it.table}"
        body = (
            f"\nBEGIN\n  IF NOT {_fed(it)} THEN RETURN NULL; END IF;\n"
            f"  IF TG_OP = 'DELETE' THEN\n  {_touch(it, 'OLD', month)}\n"
            f"  ELSE\n  {_touch(it, 'NEW', month)}\n  END IF;\n  RETURN NULL;\nEND\n"
        )
        if functions.get(name) != body:
            connection.exec_driver_sql(
                f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $body${body}$body$"
            )
        if name not in triggers:
            connection.exec_driver_sql(
                f"CREATE TRIGGER {name} AFTER INSERT OR UPDATE OR DELETE ON {it.table}"
                f" FOR EACH ROW EXECUTE FUNCTION {name}()"
            )
