"""Numbered, forward-only migrations: `upgrade(store)` brings any older database to the newest schema."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

from console.store.engine import WRITES, Store
from console.store.search import embedded, triggers


def upgrade(store: Store, revision: str = "head") -> None:
    """Apply what is missing, all in one transaction: a kill leaves the old schema or the new one, nothing between.

    Several processes may call it at once: the first takes the write lock, the others then find nothing to do.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    engine = store.engine.execution_options(**{WRITES: True})
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        triggers.install(connection)
        embedded.install(connection)
    if revision == "head":
        embedded.catch_up(engine)
