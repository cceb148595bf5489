"""Incidents, contacts, escalation and the outbox.

Revision 0002. A migration is history: it repeats what the models were on that day, and does not import them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from console.store.base import BigId, UtcDateTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables; the database itself keeps the timeline append-only and the drill mark for ever."""
    op.create_table(
        "lease",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("until", UtcDateTime, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lease")),
        sa.UniqueConstraint("name", name=op.f("uq_lease_name")),
    )
    op.create_table(
        "contact",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("locale", sa.String(length=8), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("removed_at", UtcDateTime, nullable=True),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_contact_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact")),
    )
    op.create_index(op.f("ix_contact_organisation_id"), "contact", ["organisation_id"])
    op.create_table(
        "escalation_policy",
        sa.Column("rounds", sa.Integer(), nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.CheckConstraint("rounds >= 1", name=op.f("ck_escalation_policy_rounds")),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_escalation_policy_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_escalation_policy")),
        sa.UniqueConstraint("organisation_id", name=op.f("uq_escalation_policy_organisation_id")),
    )
    op.create_index(op.f("ix_escalation_policy_organisation_id"), "escalation_policy", ["organisation_id"])
    op.create_table(
        "incident_policy",
        sa.Column("opens_at", sa.Integer(), nullable=True),
        sa.Column("join_hours", sa.Integer(), nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_incident_policy_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident_policy")),
        sa.UniqueConstraint("organisation_id", name=op.f("uq_incident_policy_organisation_id")),
    )
    op.create_index(op.f("ix_incident_policy_organisation_id"), "incident_policy", ["organisation_id"])
    op.create_table(
        "contact_address",
        sa.Column("contact_id", BigId, nullable=False),
        sa.Column("channel", sa.String(length=32), nullable=False),
        sa.Column("destination", sa.JSON(), nullable=False),
        sa.Column("shown", sa.Text(), nullable=False),
        sa.Column("lane", sa.String(length=320), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("removed_at", UtcDateTime, nullable=True),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(["contact_id"], ["contact.id"], name=op.f("fk_contact_address_contact_id_contact")),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_contact_address_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact_address")),
    )
    op.create_index(op.f("ix_contact_address_contact_id"), "contact_address", ["contact_id"])
    op.create_index(op.f("ix_contact_address_organisation_id"), "contact_address", ["organisation_id"])
    op.create_table(
        "incident",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("title_en", sa.String(length=500), nullable=False),
        sa.Column("title_zh", sa.String(length=500), nullable=False),
        sa.Column("severity", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("drill", sa.Boolean(), nullable=False),
        sa.Column("automatic", sa.Boolean(), nullable=False),
        sa.Column("opened_at", UtcDateTime, nullable=False),
        sa.Column("opened_by", sa.String(length=200), nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("owner_id", BigId, nullable=True),
        sa.Column("acknowledged_at", UtcDateTime, nullable=True),
        sa.Column("acknowledged_by", sa.String(length=200), nullable=False),
        sa.Column("closed_at", UtcDateTime, nullable=True),
        sa.Column("closed_by", sa.String(length=200), nullable=False),
        sa.Column("disposition", sa.String(length=16), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.CheckConstraint("severity BETWEEN 1 AND 5", name=op.f("ck_incident_severity")),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_incident_organisation_id_organisation")
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["user_account.id"], name=op.f("fk_incident_owner_id_user_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident")),
        sa.UniqueConstraint("organisation_id", "number", name=op.f("uq_incident_organisation_id_number")),
    )
    op.create_index(op.f("ix_incident_organisation_id"), "incident", ["organisation_id"])
    op.create_index(
        op.f("ix_incident_organisation_id_state_opened_at"), "incident", ["organisation_id", "state", "opened_at"]
    )
    op.create_table(
        "escalation",
        sa.Column("incident_id", BigId, nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("told", sa.Integer(), nullable=False),
        sa.Column("told_at", UtcDateTime, nullable=False),
        sa.Column("due_at", UtcDateTime, nullable=True),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"], name=op.f("fk_escalation_incident_id_incident")),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_escalation_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_escalation")),
        sa.UniqueConstraint("incident_id", name=op.f("uq_escalation_incident_id")),
    )
    op.create_index(op.f("ix_escalation_due_at"), "escalation", ["due_at"])
    op.create_index(op.f("ix_escalation_organisation_id"), "escalation", ["organisation_id"])
    op.create_table(
        "escalation_step",
        sa.Column("policy_id", BigId, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("address_id", BigId, nullable=False),
        sa.Column("wait_minutes", sa.Integer(), nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.CheckConstraint("wait_minutes >= 0", name=op.f("ck_escalation_step_wait_minutes")),
        sa.ForeignKeyConstraint(
            ["address_id"], ["contact_address.id"], name=op.f("fk_escalation_step_address_id_contact_address")
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_escalation_step_organisation_id_organisation")
        ),
        sa.ForeignKeyConstraint(
            ["policy_id"], ["escalation_policy.id"], name=op.f("fk_escalation_step_policy_id_escalation_policy")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_escalation_step")),
    )
    op.create_index(op.f("ix_escalation_step_organisation_id"), "escalation_step", ["organisation_id"])
    op.create_index(op.f("ix_escalation_step_policy_id"), "escalation_step", ["policy_id"])
    op.create_table(
        "incident_entry",
        sa.Column("incident_id", BigId, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("actor_id", BigId, nullable=True),
        sa.Column("actor_name", sa.String(length=200), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["actor_id"], ["user_account.id"], name=op.f("fk_incident_entry_actor_id_user_account")
        ),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"], name=op.f("fk_incident_entry_incident_id_incident")),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_incident_entry_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident_entry")),
    )
    op.create_index(op.f("ix_incident_entry_incident_id"), "incident_entry", ["incident_id"])
    op.create_index(op.f("ix_incident_entry_organisation_id"), "incident_entry", ["organisation_id"])
    op.create_table(
        "notification",
        sa.Column("dedup_key", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("incident_id", BigId, nullable=True),
        sa.Column("address_id", BigId, nullable=False),
        sa.Column("channel", sa.String(length=32), nullable=False),
        sa.Column("lane", sa.String(length=320), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("drill", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("next_at", UtcDateTime, nullable=False),
        sa.Column("deadline_at", UtcDateTime, nullable=False),
        sa.Column("claimed_by", sa.String(length=64), nullable=True),
        sa.Column("finished_at", UtcDateTime, nullable=True),
        sa.Column("withdrawn", sa.String(length=300), nullable=False),
        sa.Column("proof", sa.Text(), nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["address_id"], ["contact_address.id"], name=op.f("fk_notification_address_id_contact_address")
        ),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"], name=op.f("fk_notification_incident_id_incident")),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_notification_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification")),
        sa.UniqueConstraint("key", name=op.f("uq_notification_key")),
        sa.UniqueConstraint("organisation_id", "dedup_key", name=op.f("uq_notification_organisation_id_dedup_key")),
    )
    op.create_index(op.f("ix_notification_address_id"), "notification", ["address_id"])
    op.create_index(op.f("ix_notification_channel_lane_state"), "notification", ["channel", "lane", "state"])
    op.create_index(op.f("ix_notification_incident_id"), "notification", ["incident_id"])
    op.create_index(op.f("ix_notification_organisation_id"), "notification", ["organisation_id"])
    op.create_index(op.f("ix_notification_state_channel_next_at"), "notification", ["state", "channel", "next_at"])
    op.create_table(
        "notification_attempt",
        sa.Column("notification_id", BigId, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("began_at", UtcDateTime, nullable=False),
        sa.Column("ended_at", UtcDateTime, nullable=True),
        sa.Column("result", sa.String(length=16), nullable=True),
        sa.Column("proof", sa.Text(), nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["notification_id"], ["notification.id"], name=op.f("fk_notification_attempt_notification_id_notification")
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_notification_attempt_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification_attempt")),
        sa.UniqueConstraint("notification_id", "number", name=op.f("uq_notification_attempt_notification_id_number")),
    )
    op.create_index(op.f("ix_notification_attempt_organisation_id"), "notification_attempt", ["organisation_id"])
    op.create_table(
        "incident_finding",
        sa.Column("incident_id", BigId, nullable=False),
        sa.Column("finding_id", BigId, nullable=False),
        sa.Column("added_at", UtcDateTime, nullable=False),
        sa.Column("organisation_id", BigId, nullable=False),
        sa.Column("id", BigId, nullable=False),
        sa.ForeignKeyConstraint(["finding_id"], ["finding.id"], name=op.f("fk_incident_finding_finding_id_finding")),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incident.id"], name=op.f("fk_incident_finding_incident_id_incident")
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name=op.f("fk_incident_finding_organisation_id_organisation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident_finding")),
        sa.UniqueConstraint("incident_id", "finding_id", name=op.f("uq_incident_finding_incident_id_finding_id")),
    )
    op.create_index(op.f("ix_incident_finding_finding_id"), "incident_finding", ["finding_id"])
    op.create_index(op.f("ix_incident_finding_organisation_id"), "incident_finding", ["organisation_id"])
    dialect = op.get_context().dialect.name
    if dialect == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER incident_entry_no_{verb.lower()} BEFORE {verb} ON incident_entry "
                "BEGIN SELECT RAISE(ABORT, 'incident_entry is append-only'); END"
            )
        for table in ("incident", "notification"):
            op.execute(
                f"CREATE TRIGGER {table}_drill_stays BEFORE UPDATE OF drill ON {table} WHEN NEW.drill <> OLD.drill "
                "BEGIN SELECT RAISE(ABORT, 'the drill mark never changes'); END"
            )
    elif dialect == "postgresql":
        op.execute(
            "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
        )
        op.execute(
            "CREATE TRIGGER incident_entry_append_only BEFORE UPDATE OR DELETE ON incident_entry "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        op.execute(
            "CREATE FUNCTION refuse_drill_change() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN IF NEW.drill <> OLD.drill THEN RAISE EXCEPTION 'the drill mark never changes'; END IF; "
            "RETURN NEW; END $$"
        )
        for table in ("incident", "notification"):
            op.execute(
                f"CREATE TRIGGER {table}_drill_stays BEFORE UPDATE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION refuse_drill_change()"
            )
