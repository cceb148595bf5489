"""What sensors lost on the way: ranges of sequences that a loss stands for, and counts by rule and severity.

Revision 0008. A migration is history: it repeats what the models were on that day, and does not import them.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from console.store.base import BigId, UtcDateTime

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make the tables."""
    _table(
        "lost_range",
        sa.Column("first_sequence", sa.BigInteger(), nullable=False),
        sa.Column("last_sequence", sa.BigInteger(), nullable=False),
        sa.Column("received_at", UtcDateTime, nullable=False),
        unique=("sensor_id", "epoch", "first_sequence"),
    )
    _table(
        "lost_count",
        sa.Column("rule_id", sa.String(length=200), nullable=False),
        sa.Column("severity", sa.Integer(), nullable=False),
        sa.Column("findings", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("last_at", UtcDateTime, nullable=False),
        unique=("sensor_id", "epoch", "why", "rule_id", "severity"),
    )


def _table(name: str, *columns: sa.Column[Any], unique: tuple[str, ...]) -> None:
    op.create_table(
        name,
        sa.Column("id", BigId, nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("sensor_id", BigId, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.String(length=16), nullable=False),
        *columns,
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f(f"fk_{name}_organisation_id_organisation")
        ),
        sa.ForeignKeyConstraint(["sensor_id"], ["sensor.id"], name=op.f(f"fk_{name}_sensor_id_sensor")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
        sa.UniqueConstraint(*unique, name=op.f(f"uq_{name}_{'_'.join(unique)}")),
    )
    op.create_index(op.f(f"ix_{name}_organisation_id"), name, ["organisation_id"])
