"""The outbox of the search index, its dead letters, and where the documents are.

Revision 0007. A migration is history: it repeats what the models were on that day, and does not import them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from console.store.base import BigId, UtcDateTime

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "index_outbox",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("row_id", sa.BigInteger(), nullable=False),
        sa.Column("document_id", sa.String(length=400), nullable=False),
        sa.Column("period", sa.String(length=7), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_index_outbox_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_index_outbox")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_index_outbox_kind_document_id"), "index_outbox", ["kind", "document_id"])
    op.create_index(op.f("ix_index_outbox_organisation_id"), "index_outbox", ["organisation_id"])
    op.create_table(
        "index_dead_letter",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("row_id", sa.BigInteger(), nullable=False),
        sa.Column("document_id", sa.String(length=400), nullable=False),
        sa.Column("period", sa.String(length=7), nullable=False),
        sa.Column("reason", sa.String(length=1000), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("first_at", UtcDateTime, nullable=False),
        sa.Column("last_at", UtcDateTime, nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_index_dead_letter_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_index_dead_letter")),
        sa.UniqueConstraint("kind", "document_id", name=op.f("uq_index_dead_letter_kind_document_id")),
    )
    op.create_index(op.f("ix_index_dead_letter_organisation_id"), "index_dead_letter", ["organisation_id"])
    op.create_table(
        "index_feed",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("installation", sa.String(length=32), nullable=False),
        sa.Column("live", sa.BigInteger(), nullable=True),
        sa.Column("building", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("state_at", UtcDateTime, nullable=False),
        sa.Column("note", sa.String(length=1000), nullable=False),
        sa.Column("indexed", sa.BigInteger(), nullable=False),
        sa.Column("worked_at", UtcDateTime, nullable=True),
        sa.Column("id", BigId, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_index_feed")),
        sa.UniqueConstraint("kind", name=op.f("uq_index_feed_kind")),
    )
    op.create_table(
        "index_part",
        sa.Column("name", sa.String(length=250), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("period", sa.String(length=7), nullable=False),
        sa.Column("uuid", sa.String(length=64), nullable=False),
        sa.Column("filled_to", sa.BigInteger(), nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_index_part")),
        sa.UniqueConstraint("name", name=op.f("uq_index_part_name")),
    )
