"""STIX 2.1 objects that other organisations sent: sorted out, bounded, turned into plain records.

Nothing here follows references from object to object, so no cycle and no depth of them costs anything. An object that
breaks the rules every object must keep is left out and counted; one of an unknown type is kept as it came.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from console.sharing.document import Colour, Notice
from console.sharing.hostile import BadContentError, plain_text, stix_id, timestamp
from console.sharing.patterns import Match, NotUsableError, from_pattern
from console.sharing.stix import DRILL_LABEL, DRILL_PREFIX, EXTENSION_ID
from console.sharing.tlp import DEFINITION_IDS, TLP1_DEFINITION_IDS, Tlp, claimed, marking_of
from detectors.finding import Text

MAX_OBJECT_CHARS = 256 * 1024
MAX_REFERENCES = 5_000  # of one report
TITLE_CHARS, TEXT_CHARS, NAME_CHARS = 500, 50_000, 200

_SDO = (
    "attack-pattern campaign course-of-action grouping identity incident indicator infrastructure intrusion-set"
    " location malware malware-analysis note observed-data opinion report threat-actor tool vulnerability relationship"
    " sighting language-content"
)
_SCO = (
    "artifact autonomous-system directory domain-name email-addr email-message file ipv4-addr ipv6-addr mac-addr mutex"
    " network-traffic process software url user-account windows-registry-key x509-certificate"
)
VERSIONED = frozenset(_SDO.split())  # created and modified are required (STIX 2.1, 3.1)
KNOWN = VERSIONED | frozenset(_SCO.split()) | {"marking-definition", "extension-definition"}
_TECHNIQUE = re.compile(r"T\d{4}(?:\.\d{3})?", re.ASCII)
_OURS = frozenset({*DEFINITION_IDS.values(), *TLP1_DEFINITION_IDS})


@dataclass(frozen=True, slots=True)
class ReceivedObject:
    """One object that keeps the rules.

    version: `modified`, else `created`, else None. body: JSON, ASCII. about: the object that a translation translates.
    """

    stix_id: str
    stix_type: str
    version: datetime | None
    tlp: Tlp
    body: str
    data: Mapping[str, Any]
    about: str = ""


@dataclass(slots=True)
class SortedOut:
    """objects: in the order they came. rejected: reasons and how often. unknown: kept, but of no type of STIX 2.1."""

    objects: list[ReceivedObject] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    unknown: int = 0


def marking_definitions(objects: Iterable[Any]) -> list[dict[str, Any]]:
    """Those of the objects that define a marking."""
    return [thing for thing in objects if isinstance(thing, dict) and thing.get("type") == "marking-definition"]


def sort_out(objects: Iterable[Any], definitions: Iterable[Mapping[str, Any]] = ()) -> SortedOut:
    """Take in what keeps the rules. definitions: marking definitions that came earlier. Never raises."""
    objects = list(objects)
    claims = {
        definition["id"]: claimed(dict(definition))
        for definition in (*definitions, *marking_definitions(objects))
        if isinstance(definition.get("id"), str) and definition["id"] not in _OURS
    }
    sorted_out = SortedOut()
    for thing in objects:
        try:
            received = _object(thing, claims)
        except BadContentError as error:
            sorted_out.rejected[str(error)] += 1
            continue
        sorted_out.objects.append(received)
        sorted_out.unknown += received.stix_type not in KNOWN
    return sorted_out


def _object(thing: Any, claims: dict[str, Tlp | None]) -> ReceivedObject:
    if not isinstance(thing, dict):
        raise BadContentError("not an object")
    kind, identifier = stix_id(thing.get("id"))
    if thing.get("type") != kind:
        raise BadContentError("id of another type")
    if thing.get("spec_version", "2.1") != "2.1":
        raise BadContentError("not STIX 2.1")
    if kind in VERSIONED and not ("created" in thing and "modified" in thing):
        raise BadContentError("created or modified is missing")
    created, modified = (timestamp(thing[name]) if name in thing else None for name in ("created", "modified"))
    if created is not None and modified is not None and modified < created:
        raise BadContentError("modified before it was created")
    try:
        body = json.dumps(thing, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    except ValueError as error:  # 1e999 is JSON, and infinite
        raise BadContentError("a number out of bounds") from error
    if len(body) > MAX_OBJECT_CHARS:
        raise BadContentError("too large")
    # The published markings mean the same to everybody, whoever sends them.
    tlp = Tlp.CLEAR if identifier in _OURS else marking_of(thing, claims)
    about = stix_id(thing.get("object_ref"))[1] if kind == "language-content" else ""
    return ReceivedObject(identifier, kind, modified or created, tlp, body, thing, about)


@dataclass(frozen=True, slots=True)
class ReceivedIndicator:
    """matches: what sensors can look for; unusable: why they cannot, "" when they can."""

    name: str
    pattern: str
    pattern_type: str
    matches: tuple[Match, ...]
    unusable: str
    revoked: bool
    valid_until: datetime | None


def read_indicator(data: Mapping[str, Any]) -> ReceivedIndicator:
    """A STIX indicator as a record. Never raises."""
    matches: tuple[Match, ...] = ()
    unusable = ""
    try:
        matches = from_pattern(data.get("pattern"), data.get("pattern_type"))
    except NotUsableError as error:
        unusable = str(error)
    return ReceivedIndicator(
        name=plain_text(data.get("name"), NAME_CHARS),
        pattern=plain_text(data.get("pattern"), 2000),
        pattern_type=plain_text(data.get("pattern_type"), 40),
        matches=matches,
        unusable=unusable,
        revoked=data.get("revoked") is True,
        valid_until=_time(data.get("valid_until")),
    )


@dataclass(frozen=True, slots=True)
class ReceivedReport:
    """A report and what belongs to it as a bulletin. colour: None where its source knows no warning colours."""

    title: Text
    body: Text
    advice: Text
    colour: Colour | None
    notice: Notice
    version: int
    drill: bool
    source_name: str
    techniques: tuple[str, ...]
    published: datetime | None


def references(report: Mapping[str, Any]) -> list[str]:
    """What a report refers to, its creator included: identifiers, each once. Raises BadContentError for too many."""
    listed = report.get("object_refs")
    refs = list(listed) if isinstance(listed, list) else []
    if len(refs) > MAX_REFERENCES:
        raise BadContentError("too many references")
    found: dict[str, None] = {}
    for ref in [report.get("created_by_ref"), *refs]:
        try:
            found[stix_id(ref)[1]] = None
        except BadContentError:
            continue
    return list(found)


def read_report(report: Mapping[str, Any], related: Iterable[Mapping[str, Any]]) -> ReceivedReport:
    """A report as a record. related: the objects it refers to, as far as they are here, in any order. Never raises."""
    by_type: dict[str, list[Mapping[str, Any]]] = {}
    for thing in related:
        by_type.setdefault(str(thing.get("type")), []).append(thing)
    extension = _extension(report)
    labels = report.get("labels")
    drill = extension.get("drill") is True or (
        isinstance(labels, list) and any(isinstance(x, str) and x.lower() in (DRILL_LABEL, "exercise") for x in labels)
    )
    translations = by_type.get("language-content", [])
    names, bodies = (_in_both(report, name, translations, TEXT_CHARS) for name in ("name", "description"))
    courses = by_type.get("course-of-action", [])
    advice = [_in_both(course, "description", translations, TEXT_CHARS) for course in courses]
    notice = Notice.CANCEL if report.get("revoked") is True else _notice(extension.get("notice"))
    version = extension.get("bulletin_version")
    creators = (one for one in by_type.get("identity", []) if one.get("id") == report.get("created_by_ref"))
    return ReceivedReport(
        title=Text(_title(names.zh, "zh", drill), _title(names.en, "en", drill)),
        body=bodies,
        advice=Text(*("\n\n".join(filter(None, texts))[:TEXT_CHARS] for texts in _columns(advice))),
        colour=_colour(extension.get("warning_colour")),
        notice=notice,
        version=version if isinstance(version, int) and 1 <= version < 1_000_000 else 1,
        drill=drill,
        source_name=plain_text(next((one.get("name") for one in creators), ""), NAME_CHARS),
        techniques=_techniques(by_type.get("attack-pattern", [])),
        published=_time(report.get("published")),
    )


def _in_both(thing: Mapping[str, Any], name: str, translations: Iterable[Mapping[str, Any]], limit: int) -> Text:
    own = plain_text(thing.get(name), limit)
    texts = {_language(thing.get("lang")): own} if own else {}
    for translation in translations:
        contents = translation.get("contents")
        if translation.get("object_ref") != thing.get("id") or not isinstance(contents, dict):
            continue
        for tag, fields in contents.items():
            if isinstance(fields, dict) and (text := plain_text(fields.get(name), limit)):
                texts.setdefault(_language(tag), text)
    return Text(texts.get("zh", ""), texts.get("en", ""))


def _language(tag: Any) -> str:
    """RFC 5646 tag to one of our two languages; any other language stands in the place of English, as it came."""
    return "zh" if isinstance(tag, str) and tag.lower().partition("-")[0] == "zh" else "en"


def _title(text: str, language: str, drill: bool) -> str:
    text = " ".join(text.split())[:TITLE_CHARS]
    return text.removeprefix(DRILL_PREFIX[language].strip()).strip() if drill else text


def _columns(texts: list[Text]) -> tuple[list[str], list[str]]:
    return [text.zh for text in texts], [text.en for text in texts]


def _extension(report: Mapping[str, Any]) -> Mapping[str, Any]:
    extensions = report.get("extensions")
    ours = extensions.get(EXTENSION_ID) if isinstance(extensions, dict) else None
    return ours if isinstance(ours, dict) else {}


def _colour(word: Any) -> Colour | None:
    return Colour(word) if isinstance(word, str) and word in set(Colour) else None


def _notice(word: Any) -> Notice:
    return Notice(word) if isinstance(word, str) and word in set(Notice) else Notice.ALERT


def _techniques(attack_patterns: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for pattern in attack_patterns:
        listed = pattern.get("external_references")
        for reference in listed[:50] if isinstance(listed, list) else []:
            external = reference.get("external_id") if isinstance(reference, dict) else None
            if isinstance(external, str) and _TECHNIQUE.fullmatch(external):
                found[external] = None
    return tuple(found)[:100]


def _time(value: Any) -> datetime | None:
    try:
        return timestamp(value)
    except BadContentError:
        return None
