"""Behaviours in the order in which their list shows them.

Revision 0017. A migration is history: it repeats what the models were on that day, and does not import them.
"""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Make the index."""
    op.create_index(op.f("ix_behaviour_organisation_id_last_seen"), "behaviour", ["organisation_id", "last_seen"])
