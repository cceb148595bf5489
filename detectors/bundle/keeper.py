"""A sensor's configuration from its console: taken when it is sound, kept on disk, and left alone when it is not.

    DIR/current.json       the bundle in force as it was signed, the key that is trusted, since when
    DIR/files-<version>/   its files

The console's key is pinned with the first bundle, unless it was given. From then on a bundle counts that this key
signed, that is for this sensor, and that is not older than the one in force. It is loaded whole before anything of the
one before is let go of; so whatever is wrong with it, the last good one goes on, also after a restart.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from detectors.bundle.check import check
from detectors.bundle.content import Loaded, load_files
from detectors.bundle.signed import Bundle, BundleError, fingerprint, indicators_digest, opened
from detectors.carving.store import write_whole
from detectors.content import rules_folder
from detectors.pipeline import Options
from detectors.sigma.ruleset import load_folders

log = logging.getLogger(__name__)

COMPILED = ("sigma", "yara")  # kinds of files that make a compiler work: tried in a process of their own first


@dataclass(frozen=True, slots=True)
class InForce:
    """What is in force. version: "" where there is no bundle. since: seconds since 1970."""

    version: str = ""
    serial: int = 0
    since: float = 0.0
    loaded: Loaded = field(default_factory=Loaded)


class Keeper:
    """See the module. key: fingerprint of the only console key that counts, "" for the first that comes."""

    def __init__(self, folder: Path, key: str = "") -> None:
        self._folder, self._wanted = folder, key.strip().lower()
        self._trusted: bytes | None = None
        self._signed: Mapping[str, Any] | None = None
        self.now = InForce()
        self.refused, self.reason = "", ""  # version of what was refused last, and why
        self.refusals = 0

    @property
    def pinned(self) -> str:
        """Fingerprint of the key that is trusted; "" where none is yet."""
        return fingerprint(self._trusted) if self._trusted else ""

    def recall(self) -> None:
        """Take up what was in force before the last end of this program."""
        try:
            kept = json.loads((self._folder / "current.json").read_text("utf-8"))
            self._trusted = base64.b64decode(kept["key"], validate=True)
            if self._wanted and fingerprint(self._trusted) != self._wanted:
                self._trusted = None
                raise BundleError(f"it is signed with another key than the one that was given ({self._wanted})")
            bundle, _ = opened(kept["signed"], self._trusted)
            loaded = self._load(bundle, tried=True)
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, OSError, binascii.Error, BundleError) as error:
            log.error("the configuration of the last time cannot be used, going on without it: %s", error)
            self._say("", str(error))
            return
        self._signed = kept["signed"]
        self.now = InForce(bundle.version, bundle.serial, float(kept.get("since", 0)), loaded)

    def take(
        self, signed: object, sensor: str, indicators: Sequence[Mapping[str, Any]], version: str, now: float
    ) -> bool:
        """Put a bundle in force; False where it already is. BundleError where it is refused: nothing has changed.

        signed: as the console sent it, None where it sent none. version: what the console calls all of it.
        """
        try:
            return self._take(signed, sensor, indicators, now)
        except BundleError as error:
            self._say(version, str(error))
            raise
        except OSError as error:
            why = f"it cannot be written to {self._folder}: {error.strerror or error}"
            self._say(version, why)
            raise BundleError(why) from error
        except Exception as error:  # files of others: whatever they do to a loader, the sensor goes on
            log.exception("a configuration could not be loaded")
            why = f"it cannot be loaded: {type(error).__name__}: {error}"[:300]
            self._say(version, why)
            raise BundleError(why) from error

    def _take(self, signed: object, sensor: str, indicators: Sequence[Mapping[str, Any]], now: float) -> bool:
        if signed is None and self._trusted is None and not self._wanted:
            return False  # a console of an older version
        bundle, key = opened(signed, self._trusted)
        if self._wanted and fingerprint(key) != self._wanted:
            raise BundleError(f"it is signed with the key {fingerprint(key)}, and not with {self._wanted}")
        if bundle.sensor != sensor:
            raise BundleError(f"it is for the sensor {bundle.sensor[:80]!r}")
        if bundle.serial < self.now.serial:
            raise BundleError("it is older than the one in force")
        if bundle.indicators != indicators_digest(indicators):
            raise BundleError("the indicators beside it are not those that were signed")
        self.refused = self.reason = ""
        if bundle.version == self.now.version and bundle.serial == self.now.serial:
            return False
        loaded = self._load(bundle, tried=False)
        if bundle.version != self.now.version:
            self.now = InForce(bundle.version, bundle.serial, now, loaded)
        else:
            self.now = replace(self.now, serial=bundle.serial, loaded=loaded)
        self._trusted = key
        kept = {"key": base64.b64encode(key).decode(), "since": self.now.since, "signed": signed}
        write_whole(self._folder / "current.json", json.dumps(kept).encode())
        for old in self._folder.glob("files-*"):
            if old.name != f"files-{bundle.version}":
                shutil.rmtree(old, ignore_errors=True)
        return True

    def _load(self, bundle: Bundle, *, tried: bool) -> Loaded:
        folder = self._folder / f"files-{bundle.version}"
        if bundle.version != self.now.version:
            shutil.rmtree(folder, ignore_errors=True)  # of an attempt that failed, or was cut off
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            if not tried and any(it.kind in COMPILED for it in bundle.files):
                check(bundle.files)
            return load_files(bundle.files, folder)
        except BundleError:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _say(self, version: str, why: str) -> None:
        self.refused, self.reason = version, why
        self.refusals += 1

    def applied(self, declared: Options) -> Options:
        """What the plant declared on this machine, with what the console gives.

        Baseline and ledger of the console count instead of those of the machine; all else is added, and the console's
        levels go first.
        """
        given = self.now.loaded
        folders = (*declared.rule_folders, *([given.rules] if given.rules else []))
        return replace(
            declared,
            rules=load_folders([rules_folder(), *folders]) if folders else declared.rules,
            rule_folders=folders,
            yara=given.yara or declared.yara,
            baseline=given.baseline or declared.baseline,
            tags=(*declared.tags, *given.tags),
            tickets=(*declared.tickets, *given.tickets),
            overrides=(*given.overrides, *declared.overrides),
            ledger=given.ledger or declared.ledger,
        )

    def counters(self) -> dict[str, Any]:
        """For the heartbeat: what runs since when, and what was refused and why."""
        return {
            "config.version": self.now.version,
            "config.since": int(self.now.since),
            "config.key": self.pinned,
            "config.refusals": self.refusals,
            "config.refused": self.refused,
            "config.reason": self.reason[:500],
        }
