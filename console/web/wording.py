"""States and kinds of incidents and messages, in the reader's words."""

from __future__ import annotations

from flask_babel import lazy_gettext

from console.notify.contract import State
from console.services.intake import Why
from console.store.models import Disposition, EntryKind, IncidentState

INCIDENT_STATES = {
    IncidentState.OPEN: lazy_gettext("Open"),
    IncidentState.ACKNOWLEDGED: lazy_gettext("Acknowledged"),
    IncidentState.CLOSED: lazy_gettext("Closed"),
}
DISPOSITIONS = {
    Disposition.CONFIRMED: lazy_gettext("Confirmed: a real attack or fault"),
    Disposition.EXPECTED: lazy_gettext("Expected: planned work"),
    Disposition.FALSE_ALARM: lazy_gettext("False alarm: it did not happen"),
    Disposition.DUPLICATE: lazy_gettext("Duplicate: handled in another incident"),
    Disposition.TEST: lazy_gettext("Test or drill"),
}
DELIVERY_STATES = {
    State.PENDING: lazy_gettext("Waiting"),
    State.SENDING: lazy_gettext("Being sent"),
    State.SENT: lazy_gettext("Sent"),
    State.DELIVERED: lazy_gettext("Confirmed by the recipient"),
    State.FAILED_FOR_NOW: lazy_gettext("Failed for now, will be tried again"),
    State.FAILED_FOR_GOOD: lazy_gettext("Failed for good"),
    State.EXPIRED: lazy_gettext("Expired"),
}
ENTRY_KINDS = {
    EntryKind.OPENED: lazy_gettext("Incident opened"),
    EntryKind.FINDING_ADDED: lazy_gettext("Finding added"),
    EntryKind.SEVERITY_RAISED: lazy_gettext("Severity raised"),
    EntryKind.TOLD: lazy_gettext("Told"),
    EntryKind.NOBODY_TO_TELL: lazy_gettext("Nobody is told: no escalation is set"),
    EntryKind.NOBODY_ANSWERED: lazy_gettext("Nobody answered: every contact was told"),
    EntryKind.ACKNOWLEDGED: lazy_gettext("Acknowledged"),
    EntryKind.OWNER_SET: lazy_gettext("Handed over"),
    EntryKind.COMMENT: lazy_gettext("Remark"),
    EntryKind.CLOSED: lazy_gettext("Closed"),
    EntryKind.REOPENED: lazy_gettext("Reopened"),
    EntryKind.RECOVERED: lazy_gettext("It is over"),
}
MESSAGE_KINDS = {
    "incident": lazy_gettext("Call for help"),
    "taken": lazy_gettext("All-clear: somebody has it"),
    "test": lazy_gettext("Test message"),
}
CHANNEL_LABELS = {"email": lazy_gettext("E-mail"), "webhook": lazy_gettext("Webhook")}
LOSS_REASONS = {
    Why.SHED: lazy_gettext("Given up: no room"),
    Why.DAMAGED: lazy_gettext("Damaged on disk"),
    Why.MISSING: lazy_gettext("Lost on the one-way link"),
}
