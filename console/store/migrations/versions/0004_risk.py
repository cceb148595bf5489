"""Where the severity of a finding comes from.

Revision 0004. A migration is history: it repeats what the models were on that day, and does not import them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; of findings stored before nothing is known."""
    op.add_column("finding", sa.Column("risk", sa.JSON(), nullable=False, server_default="{}"))
