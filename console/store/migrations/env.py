"""Alembic's entry: runs migrations on the connection that `upgrade` hands over."""

from __future__ import annotations

from alembic import context

import console.store.models  # noqa: F401  (fills the metadata)
from console.store.base import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
