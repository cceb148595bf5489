"""MITRE's own STIX file of ATT&CK, read to see whether the techniques that our rules name still live.

The file comes from https://github.com/mitre-attack/attack-stix-data (ics-attack-*.json); it is not shipped. STIX 2.1;
the extensions (x_mitre_deprecated, x_mitre_version of the collection) are those of the ATT&CK data model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectors.attack.techniques import Technique
from detectors.content import ContentError
from detectors.wording import safe

MAX_BYTES = 256 * 1024 * 1024  # the enterprise file has 50 MB
DOMAIN = "ics-attack"


@dataclass(frozen=True, slots=True)
class Entry:
    """A technique in MITRE's file. replaced_by: id of the one that took its place, "" where none is named."""

    id: str
    name: str
    revoked: bool
    deprecated: bool
    replaced_by: str

    @property
    def live(self) -> bool:
        """Whether it may be named."""
        return not self.revoked and not self.deprecated


@dataclass(frozen=True, slots=True)
class Edition:
    """What the file says. version: "18.1", "" where it does not say."""

    version: str
    techniques: Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class Fault:
    """A technique that is named and must not be. state: "unknown", "revoked" or "deprecated"."""

    technique: str
    state: str
    replaced_by: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Review:
    """What a check of our content against an edition gives.

    faults: what is named by rules and does not live. dead: named in our list of names only. missing: live there, not in
    our list. renamed: (id, our name, their name).
    """

    faults: tuple[Fault, ...]
    dead: tuple[str, ...]
    missing: tuple[Entry, ...]
    renamed: tuple[tuple[str, str, str], ...]


def read(path: Path) -> Edition:
    """Read MITRE's file; ContentError says what is wrong with it."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ContentError(path, 0, f"is larger than {MAX_BYTES} bytes")
        bundle = json.loads(path.read_bytes())
    except OSError as error:
        raise ContentError(path, 0, f"cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ContentError(path, getattr(error, "lineno", 0), "is not JSON") from error
    objects = bundle.get("objects") if isinstance(bundle, dict) else None
    if not isinstance(objects, list):
        raise ContentError(path, 0, "is not a STIX bundle: it has no list 'objects'")
    items = [item for item in objects if isinstance(item, dict)]
    ids = {str(item.get("id")): _technique_id(item) for item in items if item.get("type") == "attack-pattern"}
    successors = {
        ids.get(str(item.get("source_ref")), ""): ids.get(str(item.get("target_ref")), "")
        for item in items
        if item.get("type") == "relationship" and item.get("relationship_type") == "revoked-by"
    }
    techniques = {
        found: Entry(
            found, safe(item.get("name", "")), item.get("revoked") is True, item.get("x_mitre_deprecated") is True,
            successors.get(found, ""),
        )
        for item in items
        if (found := ids.get(str(item.get("id")), ""))
    }  # fmt: skip
    if not techniques:
        raise ContentError(path, 0, "holds no technique of ATT&CK for ICS")
    version = next((item.get("x_mitre_version") for item in items if item.get("type") == "x-mitre-collection"), "")
    return Edition(safe(version or ""), techniques)


def _technique_id(item: Mapping[str, Any]) -> str:
    """The id of an attack pattern of the ICS domain, "" for others."""
    domains = item.get("x_mitre_domains")
    if isinstance(domains, list) and DOMAIN not in domains:
        return ""
    references = item.get("external_references")
    for reference in references if isinstance(references, list) else ():
        if isinstance(reference, dict) and reference.get("source_name") == "mitre-attack":
            return safe(reference.get("external_id", ""), 16)
    return ""


def review(edition: Edition, used: Mapping[str, Sequence[str]], names: Mapping[str, Technique]) -> Review:
    """Compare what rules name, and our list of names, with MITRE's file."""
    faults = []
    for technique, rules in used.items():
        entry = edition.techniques.get(technique)
        if entry is None:
            faults.append(Fault(technique, "unknown", "", tuple(rules)))
        elif not entry.live:
            state = "revoked" if entry.revoked else "deprecated"
            faults.append(Fault(technique, state, entry.replaced_by, tuple(rules)))
    live = {key: entry for key, entry in edition.techniques.items() if entry.live}
    return Review(
        faults=tuple(faults),
        dead=tuple(key for key in names if key not in live and key not in used),
        missing=tuple(entry for key, entry in sorted(live.items()) if key not in names),
        renamed=tuple((key, names[key].en, live[key].name) for key in names if key in live
                      and names[key].en != live[key].name),
    )  # fmt: skip
