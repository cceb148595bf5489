"""What happens beside findings that are stored, in the transaction that stores them: one function, one line.

A hook writes with the session and does not commit; what it raises rolls the whole batch back, and the sensor sends it
again. It is called once for a batch, for one at a time would take longer than storing them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from console.services import incident_policy, sightings
from console.services.new_finding import NewFinding

# (session, the new findings of one sensor in the order of their sequence, time of arrival)
NewFindingsHook = Callable[[Session, Sequence[NewFinding], datetime], None]

ON_NEW_FINDINGS: list[NewFindingsHook] = [
    sightings.inherit_drill,  # first: what comes after must know whether it is real
    incident_policy.on_new_findings,
]
