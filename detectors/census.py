"""Census: what stands, for the console: the devices of a run, and who does what to whom.

Finds nothing. What is new or says something else of itself is reported within SOON_S, what was only seen again every
SELDOM_S, and everything at the end of the run. It is state: a report that comes twice, or late, or not at all changes
nothing that the next one does not put right, so none of it is kept on the sensor's disk as findings are.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from detectors.assets.inventory import Inventory
from detectors.assets.listing import Listing
from detectors.behaviour_groups import BehaviourGroups
from detectors.contract import Scene
from detectors.finding import Finding
from sensor.events import EventBatch
from sensor.reports import KEYS, MAX_RECORDS
from sensor.view import View

SOON_S = 20.0  # between two looks at what is new
SELDOM_S = 600.0  # between two reports of what only goes on
STEP_RECORDS = 256  # looked at between two steps
REST = 50  # times as long as a look took, there is none: it never takes more than a fiftieth of the processor
ASSET_FIELDS = ("segment", "address", "first_seen", "last_seen", "roles", "protocols", "macs", "components", "facts")
SAID = ("attribute", "value", "component", "source")  # of a fact: another one of these is news
GOES_ON = frozenset({"last_seen", "count", "variants", "answered", "refused", "unanswered"})

# (kind: "assets" or "behaviours", which run, records). Without records: there is progress, nothing else.
Report = Callable[[str, str, Sequence[Mapping[str, Any]]], None]


class Census:
    """See the module."""

    name = "census"

    def __init__(
        self, report: Report, inventory: Callable[[], Inventory], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """inventory: of the run, as it stands. clock: seconds."""
        self._report, self._inventory, self._clock = report, inventory, clock
        self._run = secrets.token_hex(12)
        self._groups = BehaviourGroups()
        self._next = clock() + SOON_S / 10  # a capture is over by then, a live link has its first devices
        self._told: dict[tuple[str, ...], tuple[int, int, float]] = {}  # what of each was reported, and when
        self.assets_refused = 0

    def observe(self, _batch: EventBatch, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        self._groups.observe(scene.view, self._step)
        if self._clock() >= self._next:
            self._look(scene.view, final=False)
        return iter(())

    def flush(self, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        self._groups.observe(scene.view, self._step)
        self._look(scene.view, final=True)
        return iter(())

    def counters(self) -> dict[str, int]:
        """What is in no report."""
        return {"assets_refused": self.assets_refused, "behaviours_unreported": self._groups.refused}

    def _look(self, view: View, *, final: bool) -> None:
        begin = self._clock()
        inventory = self._inventory().as_it_stands(view, self._step)
        self.assets_refused = inventory.refused
        self._tell("assets", self._assets(inventory), final=final)
        self._tell("behaviours", self._groups.records(view), final=final)
        took = self._clock() - begin
        self._next = self._clock() + max(SOON_S, REST * took)

    def _step(self) -> None:
        self._report("", self._run, ())

    def _assets(self, inventory: Inventory) -> Iterator[dict[str, Any]]:
        listing = Listing(inventory, None, None)
        for asset in inventory.assets.values():
            record = listing.record(asset)
            yield {name: record[name] for name in ASSET_FIELDS if name in record}

    def _tell(self, what: str, records: Iterator[dict[str, Any]], *, final: bool) -> None:
        """Report what is new, what is different, and what was told long ago and has gone on."""
        now, some = self._clock(), []
        for number, record in enumerate(records):
            if number % STEP_RECORDS == 0:
                self._step()
            key = (what, *(str(record.get(name, "")) for name in KEYS[what]))
            lasting, passing = _marks(record)
            known = self._told.get(key)
            if known is not None and known[0] == lasting:
                gone_on = known[1] != passing
                if not gone_on or not (final or now - known[2] >= SELDOM_S):
                    continue
            self._told[key] = lasting, passing, now
            some.append(record)
            if len(some) == MAX_RECORDS:
                self._report(what, self._run, some)
                some = []
        self._report(what, self._run, some)


def _marks(record: Mapping[str, Any]) -> tuple[int, int]:
    """(what a record says that lasts, what changes with every message), as numbers to compare."""
    lasting = {name: value for name, value in record.items() if name not in GOES_ON}
    if "facts" in lasting:
        lasting["facts"] = [[fact.get(name) for name in SAID] for fact in record["facts"]]
    if "roles" in lasting:
        lasting["roles"] = [role["role"] for role in record["roles"]]
    return hash(repr(lasting)), hash(tuple(record.get(name) for name in sorted(GOES_ON)))
