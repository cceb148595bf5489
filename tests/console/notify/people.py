"""Contacts and findings for the tests of notification."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from console.notify.email import EmailChannel, SmtpSettings
from console.notify.webhook import WebhookChannel, WebhookSettings
from console.services import contacts
from console.services.actor import Actor
from console.store.models import ContactAddress, Finding

EMAIL = EmailChannel(SmtpSettings("127.0.0.1", 25, "none", "", "", "fenghuo@console.example"))
WEBHOOK = WebhookChannel(WebhookSettings(allow_private=True))
START = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


def finding(session: Session, actor: Actor, sensor_id: int, **changes: Any) -> Finding:
    """A stored finding; `changes` are its columns."""
    number = session.query(Finding).count() + 1
    columns: dict[str, Any] = {
        "organisation_id": actor.organisation_id,
        "sensor_id": sensor_id,
        "uid": f"s1/1/{number}",
        "fingerprint": f"{number:032x}",
        "rule_id": "operation.s7comm.stop",
        "rule_name_en": "Controller stopped",
        "rule_name_zh": "控制器被停止",
        "severity": 5,
        "protocol": "s7comm",
        "first_seen": START,
        "last_seen": START,
        "received_at": START,
        "updated_at": START,
        "count": 1,
        "source_ip": "10.0.0.5",
        "destination_ip": "10.0.0.9",
        "techniques": ["T0858"],
        "message_en": "A station stopped the controller's program.",
        "message_zh": "工程站停止了控制器的程序。",
        "fields": {},
        "drill": False,
    }
    row = Finding(**{**columns, **changes})
    session.add(row)
    session.flush()
    return row


def mailbox(session: Session, actor: Actor, name: str, locale: str = "zh") -> ContactAddress:
    """A contact with one e-mail address, name@plant.example."""
    contact = contacts.add_contact(session, actor, name, locale, START)
    return contacts.add_address(session, actor, contact.id, EMAIL, {"address": f"{name}@plant.example"}, START)


def hook(session: Session, actor: Actor, name: str, url: str) -> ContactAddress:
    """A contact with one webhook."""
    contact = contacts.add_contact(session, actor, name, "en", START)
    return contacts.add_address(session, actor, contact.id, WEBHOOK, {"url": url}, START)


def escalation(session: Session, actor: Actor, steps: Sequence[tuple[ContactAddress, int]], rounds: int = 1) -> None:
    """Call these addresses in this order; (address, minutes to wait)."""
    contacts.set_escalation(session, actor, [contacts.Step(address.id, wait) for address, wait in steps], rounds, START)
