"""What `fenghuo assets` does: captures in, the inventory out, nothing stored."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from detectors.assets.inventory import Inventory
from detectors.assets.ledger import compare, load
from detectors.assets.listing import Listing, TextWriter, ordered, write_csv, write_jsonl
from detectors.contract import Scene
from detectors.finding import Finding
from detectors.pipeline import Pipeline
from detectors.report import language
from sensor.capture.ahead import ahead
from sensor.capture.source import CaptureError, open_capture
from sensor.events import EventBatch
from sensor.progress import watched


class Surveyor:
    """Hands a run to an inventory; finds nothing."""

    name = "assets"

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    def observe(self, batch: EventBatch, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        for _ in self._inventory.observe(batch, scene):
            pass
        return iter(())

    def flush(self, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        self._inventory.settle(scene.view)
        return iter(())


def list_assets(
    paths: Sequence[str],
    *,
    form: str,
    lang: str | None,
    site: str,
    ledger: str | None,
    complain: Callable[[object], None],
    out: TextIO | None = None,
    deliver: Callable[[list[dict[str, Any]]], None] | None = None,
) -> int:
    """List the assets of captures, all in one inventory; the exit code: 1 where the ledger says otherwise, 2 where a
    capture cannot be read. form: "text", "jsonl" or "csv". deliver: gets all records. ContentError where the ledger
    cannot be used."""
    out = out or sys.stdout
    declared = load(Path(ledger)) if ledger else None
    inventory = Inventory(site)
    worst = read = 0
    for path in paths:
        try:
            capture = open_capture(path)
        except CaptureError as error:
            complain(error)
            worst = 2
            continue
        inventory.begin(path if len(paths) > 1 else "")
        for _ in Pipeline(detectors=[Surveyor(inventory)]).run(ahead(watched(capture, path))):
            pass
        read += 1
        for warning in capture.warnings:
            complain(warning)
    difference = compare(declared, inventory.assets.values()) if declared else None
    listing = Listing(inventory, declared, difference)
    assets = ordered(inventory.assets.values())
    if deliver is not None:
        deliver([listing.record(asset) for asset in assets])
    if form == "jsonl":
        write_jsonl(listing, assets, difference, out)
    elif form == "csv":
        write_csv(listing, assets, difference, out)
    else:
        writer = TextWriter(listing, language(lang), out)
        for asset in assets:
            writer.asset(asset)
        if difference:
            writer.difference(difference)
        writer.summary(inventory, read)
    return max(worst, int(bool(difference and difference.any)))
