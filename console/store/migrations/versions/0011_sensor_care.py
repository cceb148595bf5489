"""What is wrong with sensors, how they get and change their keys, what of their records was put aside.

Revision 0011. A migration is history: it repeats what the models were on that day, and does not import them.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Time = sa.DateTime(timezone=True)


def _where(condition: str) -> dict[str, Any]:
    return {f"{database}_where": sa.text(condition) for database in ("sqlite", "postgresql")}


def _own(table: str, *columns: Any) -> None:
    """A table of rows that belong to an organisation."""
    op.create_table(
        table,
        *columns,
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(["sensor_id"], ["sensor.id"], name=op.f(f"fk_{table}_sensor_id_sensor")),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f(f"fk_{table}_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    )
    op.create_index(op.f(f"ix_{table}_organisation_id"), table, ["organisation_id"])


def upgrade() -> None:
    """Add columns and tables; nothing of what there is changes."""
    op.add_column("sensor", sa.Column("health", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("sensor", sa.Column("stopped_at", Time))
    op.add_column("sensor", sa.Column("previous_key_hash", sa.String(64)))
    op.add_column("sensor", sa.Column("previous_key_until", Time))
    op.add_column("sensor", sa.Column("rotation_asked_at", Time))
    op.create_index("uq_sensor_previous_key_hash", "sensor", ["previous_key_hash"], unique=True)
    op.add_column("finding_receipt", sa.Column("digest", sa.BigInteger()))
    op.add_column("finding_receipt", sa.Column("discarded_at", Time))
    op.create_index(
        "ix_finding_receipt_dead_letter", "finding_receipt", ["organisation_id", "id"], **_where("payload IS NOT NULL")
    )
    _own(
        "sensor_trouble",
        sa.Column("sensor_id", BigId, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("began_at", Time, nullable=False),
        sa.Column("ended_at", Time),
        sa.Column("finding_id", BigId),
        sa.ForeignKeyConstraint(["finding_id"], ["finding.id"], name=op.f("fk_sensor_trouble_finding_id_finding")),
    )
    op.create_index(
        op.f("ix_sensor_trouble_sensor_id_kind_began_at"), "sensor_trouble", ["sensor_id", "kind", "began_at"]
    )
    op.create_index(
        "uq_sensor_trouble_open", "sensor_trouble", ["sensor_id", "kind"], unique=True, **_where("ended_at IS NULL")
    )
    _own(
        "enrolment_token",
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("site", sa.String(100), nullable=False),
        sa.Column("segment", sa.String(100), nullable=False),
        sa.Column("drill", sa.Boolean(), nullable=False),
        sa.Column("made_at", Time, nullable=False),
        sa.Column("made_by", sa.String(200), nullable=False),
        sa.Column("expires_at", Time, nullable=False),
        sa.Column("used_at", Time),
        sa.Column("withdrawn_at", Time),
        sa.Column("sensor_id", BigId),
        sa.UniqueConstraint("token_hash", name=op.f("uq_enrolment_token_token_hash")),
    )
