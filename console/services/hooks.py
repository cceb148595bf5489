"""What happens beside a new finding, in the transaction that stores it: one function, one line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy.orm import Session

from console.services import incident_policy, sightings
from console.store.models import Finding

# (session, the new finding with its id, time of arrival). A hook writes with the session and does not commit; what it
# raises rolls the whole batch back, and the sensor sends it again.
FindingHook = Callable[[Session, Finding, datetime], None]

ON_NEW_FINDING: list[FindingHook] = [
    sightings.inherit_drill,  # first: what comes after must know whether it is real
    incident_policy.on_new_finding,
]
