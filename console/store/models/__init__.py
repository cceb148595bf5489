"""Every table. A new model is one file here and one line in this list, so that migrations see it."""

from console.store.models.asset import Asset
from console.store.models.audit import AuditEntry, AuditHead
from console.store.models.behaviour import Behaviour
from console.store.models.bulletin import Bulletin, BulletinReceipt, BulletinRecipient, BulletinReference
from console.store.models.collection import Collection, SharedObject
from console.store.models.configuration import ConfigRevision
from console.store.models.contact import Contact, ContactAddress, Escalation, EscalationPolicy, EscalationStep
from console.store.models.finding import Finding, FindingEvidence
from console.store.models.incident import (
    Disposition,
    EntryKind,
    Incident,
    IncidentAddress,
    IncidentEntry,
    IncidentFinding,
    IncidentPolicy,
    IncidentState,
)
from console.store.models.indicator import Indicator
from console.store.models.organisation import Organisation, OrganisationKind
from console.store.models.outbox import Lease, Notification, NotificationAttempt
from console.store.models.peer import Peer, Subscription
from console.store.models.receipt import FindingReceipt, LostCount, LostRange, SensorEpoch
from console.store.models.release import Release
from console.store.models.retention import LegalHold, RetentionRule
from console.store.models.search import IndexDeadLetter, IndexFeed, IndexOutbox, IndexPart
from console.store.models.sensor import EnrolmentToken, Sensor, SensorTrouble
from console.store.models.site import Segment, Site
from console.store.models.summary import Summary
from console.store.models.user import LoginSession, User

__all__ = [
    "Asset",
    "AuditEntry",
    "AuditHead",
    "Behaviour",
    "Bulletin",
    "BulletinReceipt",
    "BulletinRecipient",
    "BulletinReference",
    "Collection",
    "ConfigRevision",
    "Contact",
    "ContactAddress",
    "Disposition",
    "EnrolmentToken",
    "EntryKind",
    "Escalation",
    "EscalationPolicy",
    "EscalationStep",
    "Finding",
    "FindingEvidence",
    "FindingReceipt",
    "Incident",
    "IncidentAddress",
    "IncidentEntry",
    "IncidentFinding",
    "IncidentPolicy",
    "IncidentState",
    "IndexDeadLetter",
    "IndexFeed",
    "IndexOutbox",
    "IndexPart",
    "Indicator",
    "Lease",
    "LegalHold",
    "LoginSession",
    "LostCount",
    "LostRange",
    "Notification",
    "NotificationAttempt",
    "Organisation",
    "OrganisationKind",
    "Peer",
    "Release",
    "RetentionRule",
    "Segment",
    "Sensor",
    "SensorEpoch",
    "SensorTrouble",
    "SharedObject",
    "Site",
    "Subscription",
    "Summary",
    "User",
]
