"""A receipt names its finding without asking for it: the index over it was a page written for each record of a problem
that stood already, and nothing ever looked it up.

Revision 0019. A migration is history: it repeats what the models were on that day, and does not import them.
"""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Index and constraint go; the column stays."""
    op.drop_index("ix_finding_receipt_finding_id", table_name="finding_receipt")
    with op.batch_alter_table("finding_receipt") as table:
        table.drop_constraint("fk_finding_receipt_finding_id_finding", type_="foreignkey")
