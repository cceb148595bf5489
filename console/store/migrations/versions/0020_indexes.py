"""Indexes that a large store needs, and without two that mislead: SQLite took that of the organisation, which is all of
a table where one organisation uses the console, for the count of dead letters and for an incident's timeline.

Revision 0020. A migration is history: it repeats what the models were on that day, and does not import them.
"""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"

GONE = (("finding_receipt", "organisation_id"), ("incident_entry", "organisation_id"))
# What a finding that is deleted is looked for in, and what a finding about an indicator is.
MADE = (
    ("bulletin", "finding_id"),
    ("sensor_trouble", "finding_id"),
    ("bulletin", "stix_id"),
    ("incident_entry", "organisation_id", "incident_id"),
)


def upgrade() -> None:
    """Drop and make them."""
    for table, column in GONE:
        op.drop_index(op.f(f"ix_{table}_{column}"), table_name=table)
    for table, *columns in MADE:
        op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, columns)
