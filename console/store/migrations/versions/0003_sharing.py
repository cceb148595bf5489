"""Bulletins, peers, subscriptions, shared objects, indicators and the release log.

Revision 0003. A migration is history: it repeats what the models were on that day, and does not import them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from console.store.base import BigId, UtcDateTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables."""

    op.create_table(
        "collection",
        sa.Column("uid", sa.String(length=36), nullable=False),
        sa.Column("identity", sa.String(length=36), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("last_sequence", sa.BigInteger(), nullable=False),
        sa.Column("last_added", UtcDateTime, nullable=True),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_collection_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_collection")),
        sa.UniqueConstraint("identity", name=op.f("uq_collection_identity")),
        sa.UniqueConstraint("organisation_id", name=op.f("uq_collection_organisation_id")),
        sa.UniqueConstraint("uid", name=op.f("uq_collection_uid")),
    )
    op.create_index(op.f("ix_collection_organisation_id"), "collection", ["organisation_id"])
    op.create_table(
        "peer",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("relation", sa.String(length=16), nullable=False),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("password_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("revoked_at", UtcDateTime, nullable=True),
        sa.Column("last_seen_at", UtcDateTime, nullable=True),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_peer_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_peer")),
        sa.UniqueConstraint("username", name=op.f("uq_peer_username")),
    )
    op.create_index(op.f("ix_peer_organisation_id"), "peer", ["organisation_id"])
    op.create_table(
        "subscription",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("url", sa.String(length=1000), nullable=False),
        sa.Column("collection", sa.String(length=36), nullable=False),
        sa.Column("username", sa.String(length=200), nullable=False),
        sa.Column("password", sa.String(length=500), nullable=False),
        sa.Column("interval_s", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("created_by_id", BigId, nullable=True),
        sa.Column("added_after", sa.String(length=27), nullable=False),
        sa.Column("last_pull_at", UtcDateTime, nullable=True),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("totals", sa.JSON(), nullable=False),
        sa.Column("pulling_until", UtcDateTime, nullable=True),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["user_account.id"], name=op.f("fk_subscription_created_by_id_user_account")
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_subscription_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription")),
    )
    op.create_index(op.f("ix_subscription_organisation_id"), "subscription", ["organisation_id"])
    op.create_table(
        "bulletin",
        sa.Column("stix_id", sa.String(length=300), nullable=False),
        sa.Column("series", sa.String(length=36), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("notice", sa.String(length=16), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("tlp", sa.String(length=16), nullable=False),
        sa.Column("colour", sa.String(length=16), nullable=False),
        sa.Column("drill", sa.Boolean(), nullable=False),
        sa.Column("title_en", sa.String(length=500), nullable=False),
        sa.Column("title_zh", sa.String(length=500), nullable=False),
        sa.Column("body_en", sa.Text(), nullable=False),
        sa.Column("body_zh", sa.Text(), nullable=False),
        sa.Column("advice_en", sa.Text(), nullable=False),
        sa.Column("advice_zh", sa.Text(), nullable=False),
        sa.Column("techniques", sa.JSON(), nullable=False),
        sa.Column("source_name", sa.String(length=200), nullable=False),
        sa.Column("finding_id", BigId, nullable=True),
        sa.Column("subscription_id", BigId, nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("created_by_id", BigId, nullable=True),
        sa.Column("first_issued_at", UtcDateTime, nullable=True),
        sa.Column("issued_at", UtcDateTime, nullable=True),
        sa.Column("withdrawn_at", UtcDateTime, nullable=True),
        sa.Column("received_at", UtcDateTime, nullable=True),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["user_account.id"], name=op.f("fk_bulletin_created_by_id_user_account")
        ),
        sa.ForeignKeyConstraint(["finding_id"], ["finding.id"], name=op.f("fk_bulletin_finding_id_finding")),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_bulletin_organisation_id_organisation")
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscription.id"], name=op.f("fk_bulletin_subscription_id_subscription")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bulletin")),
        sa.UniqueConstraint(
            "organisation_id", "series", "version", name=op.f("uq_bulletin_organisation_id_series_version")
        ),
    )
    op.create_index(op.f("ix_bulletin_organisation_id"), "bulletin", ["organisation_id"])
    op.create_index(
        op.f("ix_bulletin_organisation_id_state_issued_at"),
        "bulletin",
        ["organisation_id", "state", "issued_at"],
    )
    op.create_index(
        op.f("ix_bulletin_organisation_id_stix_id"), "bulletin", ["organisation_id", "stix_id"], unique=False
    )
    op.create_index(op.f("ix_bulletin_subscription_id"), "bulletin", ["subscription_id"])
    op.create_table(
        "bulletin_recipient",
        sa.Column("bulletin_id", BigId, nullable=False),
        sa.Column("to_organisation_id", BigId, nullable=True),
        sa.Column("peer_id", BigId, nullable=True),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["bulletin_id"], ["bulletin.id"], name=op.f("fk_bulletin_recipient_bulletin_id_bulletin")
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_bulletin_recipient_organisation_id_organisation")
        ),
        sa.ForeignKeyConstraint(["peer_id"], ["peer.id"], name=op.f("fk_bulletin_recipient_peer_id_peer")),
        sa.ForeignKeyConstraint(
            ["to_organisation_id"],
            ["organisation.id"],
            name=op.f("fk_bulletin_recipient_to_organisation_id_organisation"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bulletin_recipient")),
        sa.UniqueConstraint("bulletin_id", "peer_id", name=op.f("uq_bulletin_recipient_bulletin_id_peer_id")),
        sa.UniqueConstraint(
            "bulletin_id", "to_organisation_id", name=op.f("uq_bulletin_recipient_bulletin_id_to_organisation_id")
        ),
    )
    op.create_index(op.f("ix_bulletin_recipient_bulletin_id"), "bulletin_recipient", ["bulletin_id"])
    op.create_index(
        op.f("ix_bulletin_recipient_organisation_id"), "bulletin_recipient", ["organisation_id"], unique=False
    )
    op.create_index(op.f("ix_bulletin_recipient_peer_id"), "bulletin_recipient", ["peer_id"])
    op.create_index(
        op.f("ix_bulletin_recipient_to_organisation_id"), "bulletin_recipient", ["to_organisation_id"], unique=False
    )
    op.create_table(
        "bulletin_reference",
        sa.Column("bulletin_id", BigId, nullable=False),
        sa.Column("stix_id", sa.String(length=300), nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["bulletin_id"],
            ["bulletin.id"],
            name=op.f("fk_bulletin_reference_bulletin_id_bulletin"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_bulletin_reference_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bulletin_reference")),
        sa.UniqueConstraint("bulletin_id", "stix_id", name=op.f("uq_bulletin_reference_bulletin_id_stix_id")),
    )
    op.create_index(
        op.f("ix_bulletin_reference_organisation_id"), "bulletin_reference", ["organisation_id"], unique=False
    )
    op.create_index(
        op.f("ix_bulletin_reference_organisation_id_stix_id"),
        "bulletin_reference",
        ["organisation_id", "stix_id"],
    )
    op.create_table(
        "indicator",
        sa.Column("bulletin_id", BigId, nullable=True),
        sa.Column("subscription_id", BigId, nullable=True),
        sa.Column("stix_id", sa.String(length=300), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("operation_id", sa.String(length=100), nullable=False),
        sa.Column("text", sa.String(length=1000), nullable=False),
        sa.Column("pattern", sa.Text(), nullable=False),
        sa.Column("pattern_type", sa.String(length=40), nullable=False),
        sa.Column("unusable", sa.String(length=60), nullable=False),
        sa.Column("tlp", sa.Integer(), nullable=False),
        sa.Column("revoked", sa.Boolean(), nullable=False),
        sa.Column("valid_until", UtcDateTime, nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["bulletin_id"], ["bulletin.id"], name=op.f("fk_indicator_bulletin_id_bulletin"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_indicator_organisation_id_organisation")
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscription.id"], name=op.f("fk_indicator_subscription_id_subscription")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_indicator")),
    )
    op.create_index(op.f("ix_indicator_bulletin_id"), "indicator", ["bulletin_id"])
    op.create_index(op.f("ix_indicator_organisation_id"), "indicator", ["organisation_id"])
    op.create_index(
        op.f("ix_indicator_organisation_id_stix_id"), "indicator", ["organisation_id", "stix_id"], unique=False
    )
    op.create_index(op.f("ix_indicator_subscription_id"), "indicator", ["subscription_id"])
    op.create_table(
        "release_log",
        sa.Column("stix_id", sa.String(length=300), nullable=False),
        sa.Column("version", sa.String(length=27), nullable=False),
        sa.Column("tlp", sa.Integer(), nullable=False),
        sa.Column("requester", sa.String(length=40), nullable=False),
        sa.Column("requester_name", sa.String(length=200), nullable=False),
        sa.Column("relation", sa.String(length=16), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("allowed", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("first_at", UtcDateTime, nullable=False),
        sa.Column("last_at", UtcDateTime, nullable=False),
        sa.Column("bulletin_id", BigId, nullable=True),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["bulletin_id"], ["bulletin.id"], name=op.f("fk_release_log_bulletin_id_bulletin"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_release_log_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_release_log")),
        sa.UniqueConstraint(
            "organisation_id", "stix_id", "version", "requester", "channel", "reason", name="uq_release_log_decision"
        ),
    )
    op.create_index(op.f("ix_release_log_bulletin_id"), "release_log", ["bulletin_id"])
    op.create_index(op.f("ix_release_log_organisation_id"), "release_log", ["organisation_id"])
    op.create_index(op.f("ix_release_log_requester"), "release_log", ["requester"])
    op.create_table(
        "shared_object",
        sa.Column("collection_id", BigId, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("date_added", UtcDateTime, nullable=False),
        sa.Column("stix_id", sa.String(length=300), nullable=False),
        sa.Column("stix_type", sa.String(length=250), nullable=False),
        sa.Column("version", sa.String(length=27), nullable=False),
        sa.Column("spec_version", sa.String(length=8), nullable=False),
        sa.Column("tlp", sa.Integer(), nullable=False),
        sa.Column("held", sa.String(length=16), nullable=False),
        sa.Column("bulletin_id", BigId, nullable=True),
        sa.Column("subscription_id", BigId, nullable=True),
        sa.Column("about", sa.String(length=300), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(["bulletin_id"], ["bulletin.id"], name=op.f("fk_shared_object_bulletin_id_bulletin")),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collection.id"], name=op.f("fk_shared_object_collection_id_collection")
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_shared_object_organisation_id_organisation")
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscription.id"], name=op.f("fk_shared_object_subscription_id_subscription")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shared_object")),
        sa.UniqueConstraint("collection_id", "sequence", name=op.f("uq_shared_object_collection_id_sequence")),
        sa.UniqueConstraint(
            "collection_id", "stix_id", "version", name=op.f("uq_shared_object_collection_id_stix_id_version")
        ),
    )
    op.create_index(op.f("ix_shared_object_collection_id_about"), "shared_object", ["collection_id", "about"])
    op.create_index(op.f("ix_shared_object_bulletin_id"), "shared_object", ["bulletin_id"])
    op.create_index(
        op.f("ix_shared_object_collection_id_date_added"),
        "shared_object",
        ["collection_id", "date_added"],
    )
    op.create_index(op.f("ix_shared_object_organisation_id"), "shared_object", ["organisation_id"])
    op.create_index(op.f("ix_shared_object_subscription_id"), "shared_object", ["subscription_id"])
    op.create_table(
        "bulletin_receipt",
        sa.Column("recipient_id", BigId, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("person", sa.String(length=200), nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_bulletin_receipt_organisation_id_organisation")
        ),
        sa.ForeignKeyConstraint(
            ["recipient_id"],
            ["bulletin_recipient.id"],
            name=op.f("fk_bulletin_receipt_recipient_id_bulletin_recipient"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bulletin_receipt")),
        sa.UniqueConstraint("recipient_id", "state", name=op.f("uq_bulletin_receipt_recipient_id_state")),
    )
    op.create_index(op.f("ix_bulletin_receipt_organisation_id"), "bulletin_receipt", ["organisation_id"])
    op.create_index(op.f("ix_bulletin_receipt_recipient_id"), "bulletin_receipt", ["recipient_id"])
