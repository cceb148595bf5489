"""Addresses of incidents, so that a finding finds the incident it belongs to however many findings that has.

Revision 0006. A migration is history: it repeats what the models were on that day, and does not import them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table and fill it from the findings of the incidents there are."""
    op.create_table(
        "incident_address",
        sa.Column("incident_id", BigId, nullable=False),
        sa.Column("segment_id", BigId, nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incident.id"], name=op.f("fk_incident_address_incident_id_incident")
        ),
        sa.ForeignKeyConstraint(["segment_id"], ["segment.id"], name=op.f("fk_incident_address_segment_id_segment")),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_incident_address_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident_address")),
        sa.UniqueConstraint(
            "incident_id", "segment_id", "address", name=op.f("uq_incident_address_incident_id_segment_id_address")
        ),
    )
    op.create_index(op.f("ix_incident_address_organisation_id"), "incident_address", ["organisation_id"])
    op.create_index(op.f("ix_incident_address_segment_id_address"), "incident_address", ["segment_id", "address"])
    ends = " UNION ALL ".join(
        f"SELECT link.organisation_id, link.incident_id, sensor.segment_id, finding.{end} AS address, link.added_at "  # noqa: S608
        "FROM incident_finding AS link JOIN finding ON finding.id = link.finding_id "
        "JOIN sensor ON sensor.id = finding.sensor_id"
        for end in ("source_ip", "destination_ip")
    )
    op.execute(
        "INSERT INTO incident_address (organisation_id, incident_id, segment_id, address, added_at) "  # noqa: S608
        f"SELECT organisation_id, incident_id, segment_id, address, max(added_at) FROM ({ends}) AS ends "
        "WHERE address <> '' GROUP BY organisation_id, incident_id, segment_id, address"
    )
