"""What SQLite and PostgreSQL say in different words."""

from __future__ import annotations

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from console.store.base import Base


def insert_new(session: Session, model: type[Base]) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that does nothing where a unique constraint says that the row is there already."""
    if session.get_bind().dialect.name == "sqlite":
        return sqlite.insert(model).on_conflict_do_nothing()
    return postgresql.insert(model).on_conflict_do_nothing()
