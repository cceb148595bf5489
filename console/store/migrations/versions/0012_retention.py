"""Retention by class, legal holds, and how far receipts were deleted.

Revision 0012. A migration is history: it repeats what the models were on that day, and does not import them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from console.store.base import BigId, UtcDateTime

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Make the tables; let a timeline keep its lines for ever, as before."""
    op.create_table(
        "retention_rule",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("days", sa.Integer(), nullable=True),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_retention_rule_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retention_rule")),
        sa.UniqueConstraint("organisation_id", "name", name=op.f("uq_retention_rule_organisation_id_name")),
    )
    op.create_index(op.f("ix_retention_rule_organisation_id"), "retention_rule", ["organisation_id"])
    op.create_table(
        "legal_hold",
        sa.Column("incident_id", BigId, nullable=True),
        sa.Column("finding_id", BigId, nullable=True),
        sa.Column("since", UtcDateTime, nullable=True),
        sa.Column("until", UtcDateTime, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("placed_at", UtcDateTime, nullable=False),
        sa.Column("placed_by", sa.String(length=200), nullable=False),
        sa.Column("ends_at", UtcDateTime, nullable=True),
        sa.Column("asked_at", UtcDateTime, nullable=True),
        sa.Column("asked_by", sa.String(length=200), nullable=False),
        sa.Column("asked_by_id", BigId, nullable=True),
        sa.Column("lifted_at", UtcDateTime, nullable=True),
        sa.Column("lifted_by", sa.String(length=200), nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["asked_by_id"], ["user_account.id"], name=op.f("fk_legal_hold_asked_by_id_user_account")
        ),
        sa.ForeignKeyConstraint(["finding_id"], ["finding.id"], name=op.f("fk_legal_hold_finding_id_finding")),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"], name=op.f("fk_legal_hold_incident_id_incident")),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_legal_hold_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_legal_hold")),
    )
    for column in ("finding_id", "incident_id", "organisation_id"):
        op.create_index(op.f(f"ix_legal_hold_{column}"), "legal_hold", [column])
    op.add_column("sensor_epoch", sa.Column("swept", sa.BigInteger(), nullable=False, server_default="0"))
