"""Tokens beside what stands, and summaries of days.

Revision 0016. A migration is history: it repeats what the models were on that day, and does not import them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from console.store.base import BigId, UtcDateTime

revision = "0016"
down_revision = "0015"
COUNTS = ("findings", "critical", "high", "medium", "low", "informational", "frames", "bytes", "assets", "behaviours")


def upgrade() -> None:
    """Add the column, which is filled in by the console's worker, and the table."""
    for table in ("asset", "behaviour"):
        op.add_column(table, sa.Column("words", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "summary",
        sa.Column("site_id", BigId, nullable=False),
        sa.Column("key", sa.String(length=10), nullable=False),
        sa.Column("begins_at", UtcDateTime, nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in COUNTS),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_summary_organisation_id_organisation")
        ),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_summary_site_id_site")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_summary")),
        sa.UniqueConstraint("site_id", "key", name=op.f("uq_summary_site_id_key")),
    )
    op.create_index(op.f("ix_summary_organisation_id"), "summary", ["organisation_id"])
