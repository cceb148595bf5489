"""Configuration of sensors: revisions of files.

Revision 0010. A migration is history: it repeats what the models were on that day, and does not import them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from console.store.base import BigId, UtcDateTime

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "config_revision",
        sa.Column("sensor_id", BigId, nullable=True),
        sa.Column("scope", sa.String(length=20), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=200), nullable=False),
        sa.Column("note", sa.String(length=500), nullable=False),
        sa.Column("author", sa.String(length=200), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(["sensor_id"], ["sensor.id"], name=op.f("fk_config_revision_sensor_id_sensor")),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_config_revision_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_config_revision")),
        sa.UniqueConstraint(
            "organisation_id", "scope", "number", name=op.f("uq_config_revision_organisation_id_scope_number")
        ),
    )
    op.create_index(op.f("ix_config_revision_organisation_id"), "config_revision", ["organisation_id"])
    op.create_index(op.f("ix_config_revision_sensor_id"), "config_revision", ["sensor_id"])
