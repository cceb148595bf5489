"""Every table. A new model is one file here and one line in this list, so that migrations see it."""

from console.store.models.finding import Finding, FindingEvidence
from console.store.models.organisation import Organisation, OrganisationKind
from console.store.models.receipt import FindingReceipt, SensorEpoch
from console.store.models.sensor import Sensor
from console.store.models.site import Segment, Site
from console.store.models.user import LoginSession, User

__all__ = [
    "Finding",
    "FindingEvidence",
    "FindingReceipt",
    "LoginSession",
    "Organisation",
    "OrganisationKind",
    "Segment",
    "Sensor",
    "SensorEpoch",
    "Site",
    "User",
]
