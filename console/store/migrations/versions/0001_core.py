"""Organisations, users, sites, sensors, findings and their receipts.

Revision 0001. A migration is history: it repeats what the models were on that day, and does not import them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from console.store.base import BigId, UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "organisation",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("parent_id", BigId, nullable=True),
        sa.Column("path", sa.String(length=500), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["organisation.id"], name=op.f("fk_organisation_parent_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organisation")),
        sa.UniqueConstraint("name", name=op.f("uq_organisation_name")),
    )
    op.create_index(op.f("ix_organisation_parent_id"), "organisation", ["parent_id"])
    op.create_index(op.f("ix_organisation_path"), "organisation", ["path"])
    op.create_table(
        "site",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_site_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site")),
        sa.UniqueConstraint("organisation_id", "name", name=op.f("uq_site_organisation_id_name")),
    )
    op.create_index(op.f("ix_site_organisation_id"), "site", ["organisation_id"])
    op.create_table(
        "user_account",
        sa.Column("login", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.String(length=200), nullable=False),
        sa.Column("locale", sa.String(length=8), nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("disabled_at", UtcDateTime, nullable=True),
        sa.Column("last_login_at", UtcDateTime, nullable=True),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_user_account_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_account")),
        sa.UniqueConstraint("login", name=op.f("uq_user_account_login")),
    )
    op.create_index(op.f("ix_user_account_organisation_id"), "user_account", ["organisation_id"])
    op.create_table(
        "login_session",
        sa.Column("user_id", BigId, nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_login_session_organisation_id_organisation")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], name=op.f("fk_login_session_user_id_user_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_session")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_login_session_token_hash")),
    )
    op.create_index(op.f("ix_login_session_organisation_id"), "login_session", ["organisation_id"])
    op.create_index(op.f("ix_login_session_user_id"), "login_session", ["user_id"])
    op.create_table(
        "segment",
        sa.Column("site_id", BigId, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_segment_organisation_id_organisation")
        ),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_segment_site_id_site")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_segment")),
        sa.UniqueConstraint("site_id", "name", name=op.f("uq_segment_site_id_name")),
    )
    op.create_index(op.f("ix_segment_organisation_id"), "segment", ["organisation_id"])
    op.create_index(op.f("ix_segment_site_id"), "segment", ["site_id"])
    op.create_table(
        "sensor",
        sa.Column("segment_id", BigId, nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("key_hint", sa.String(length=16), nullable=False),
        sa.Column("drill", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("revoked_at", UtcDateTime, nullable=True),
        sa.Column("last_seen_at", UtcDateTime, nullable=True),
        sa.Column("heartbeat_at", UtcDateTime, nullable=True),
        sa.Column("heartbeat_epoch", sa.BigInteger(), nullable=True),
        sa.Column("counters", sa.JSON(), nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_sensor_organisation_id_organisation")
        ),
        sa.ForeignKeyConstraint(["segment_id"], ["segment.id"], name=op.f("fk_sensor_segment_id_segment")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sensor")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_sensor_key_hash")),
        sa.UniqueConstraint("organisation_id", "name", name=op.f("uq_sensor_organisation_id_name")),
    )
    op.create_index(op.f("ix_sensor_organisation_id"), "sensor", ["organisation_id"])
    op.create_index(op.f("ix_sensor_segment_id"), "sensor", ["segment_id"])
    op.create_table(
        "finding",
        sa.Column("sensor_id", BigId, nullable=False),
        sa.Column("uid", sa.String(length=120), nullable=False),
        sa.Column("fingerprint", sa.String(length=32), nullable=False),
        sa.Column("rule_id", sa.String(length=200), nullable=False),
        sa.Column("rule_name_en", sa.String(length=500), nullable=False),
        sa.Column("rule_name_zh", sa.String(length=500), nullable=False),
        sa.Column("severity", sa.Integer(), nullable=False),
        sa.Column("protocol", sa.String(length=64), nullable=False),
        sa.Column("first_seen", UtcDateTime, nullable=False),
        sa.Column("last_seen", UtcDateTime, nullable=False),
        sa.Column("received_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("source_ip", sa.String(length=64), nullable=False),
        sa.Column("source_port", sa.Integer(), nullable=True),
        sa.Column("destination_ip", sa.String(length=64), nullable=False),
        sa.Column("destination_port", sa.Integer(), nullable=True),
        sa.Column("station", sa.BigInteger(), nullable=True),
        sa.Column("techniques", sa.JSON(), nullable=False),
        sa.Column("message_en", sa.Text(), nullable=False),
        sa.Column("message_zh", sa.Text(), nullable=False),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.Column("capture", sa.String(length=4096), nullable=False),
        sa.Column("drill", sa.Boolean(), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=True),
        sa.Column("verdict_note", sa.Text(), nullable=False),
        sa.Column("verdict_at", UtcDateTime, nullable=True),
        sa.Column("verdict_by_id", BigId, nullable=True),
        sa.Column("search_text", sa.Text(), nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.CheckConstraint("count >= 1", name=op.f("ck_finding_count")),
        sa.CheckConstraint("severity BETWEEN 1 AND 5", name=op.f("ck_finding_severity")),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_finding_organisation_id_organisation")
        ),
        sa.ForeignKeyConstraint(["sensor_id"], ["sensor.id"], name=op.f("fk_finding_sensor_id_sensor")),
        sa.ForeignKeyConstraint(
            ["verdict_by_id"], ["user_account.id"], name=op.f("fk_finding_verdict_by_id_user_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_finding")),
    )
    op.create_index(op.f("ix_finding_organisation_id"), "finding", ["organisation_id"])
    op.create_index(op.f("ix_finding_organisation_id_last_seen"), "finding", ["organisation_id", "last_seen"])
    op.create_index(
        op.f("ix_finding_organisation_id_severity_last_seen"), "finding", ["organisation_id", "severity", "last_seen"]
    )
    op.create_index(
        op.f("ix_finding_sensor_id_fingerprint_first_seen"), "finding", ["sensor_id", "fingerprint", "first_seen"]
    )
    op.create_table(
        "sensor_epoch",
        sa.Column("sensor_id", BigId, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("acknowledged", sa.BigInteger(), nullable=False),
        sa.Column("highest", sa.BigInteger(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("rejected", sa.BigInteger(), nullable=False),
        sa.Column("duplicates", sa.BigInteger(), nullable=False),
        sa.Column("first_at", UtcDateTime, nullable=False),
        sa.Column("last_at", UtcDateTime, nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_sensor_epoch_organisation_id_organisation")
        ),
        sa.ForeignKeyConstraint(["sensor_id"], ["sensor.id"], name=op.f("fk_sensor_epoch_sensor_id_sensor")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sensor_epoch")),
        sa.UniqueConstraint("sensor_id", "epoch", name=op.f("uq_sensor_epoch_sensor_id_epoch")),
    )
    op.create_index(op.f("ix_sensor_epoch_organisation_id"), "sensor_epoch", ["organisation_id"])
    op.create_table(
        "finding_evidence",
        sa.Column("finding_id", BigId, nullable=False),
        sa.Column("frames", sa.JSON(), nullable=False),
        sa.Column("pdus", sa.JSON(), nullable=False),
        sa.Column("pcap", sa.LargeBinary(), nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(["finding_id"], ["finding.id"], name=op.f("fk_finding_evidence_finding_id_finding")),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_finding_evidence_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_finding_evidence")),
        sa.UniqueConstraint("finding_id", name=op.f("uq_finding_evidence_finding_id")),
    )
    op.create_index(op.f("ix_finding_evidence_organisation_id"), "finding_evidence", ["organisation_id"])
    op.create_table(
        "finding_receipt",
        sa.Column("sensor_id", BigId, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("received_at", UtcDateTime, nullable=False),
        sa.Column("finding_id", BigId, nullable=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=True),
        sa.Column("payload", sa.Text(), nullable=True),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(["finding_id"], ["finding.id"], name=op.f("fk_finding_receipt_finding_id_finding")),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_finding_receipt_organisation_id_organisation")
        ),
        sa.ForeignKeyConstraint(["sensor_id"], ["sensor.id"], name=op.f("fk_finding_receipt_sensor_id_sensor")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_finding_receipt")),
        sa.UniqueConstraint("sensor_id", "epoch", "sequence", name=op.f("uq_finding_receipt_sensor_id_epoch_sequence")),
    )
    op.create_index(op.f("ix_finding_receipt_finding_id"), "finding_receipt", ["finding_id"])
    op.create_index(op.f("ix_finding_receipt_organisation_id"), "finding_receipt", ["organisation_id"])
