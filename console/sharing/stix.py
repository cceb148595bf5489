"""Bulletins and sightings as STIX 2.1 objects.

Source: STIX Version 2.1, OASIS Standard (10 June 2021); TLP 2.0 marking definitions: console/sharing/tlp.py.

Identifiers are UUIDv5 in the namespace of the bulletin's series, times are those of the bulletin: the same version
gives the same objects whenever it is exported, and a new version of a bulletin is a new version of the same STIX
objects (3.6, versioning). A cancelled bulletin and an indicator that is offered no more are revoked versions.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from console.sharing import tlp
from console.sharing.document import BulletinDocument, Issuer, Notice
from console.sharing.patterns import Match, to_sigma, to_stix_pattern

# Our own extension (STIX 2.1, 7.3): what a warning says and STIX has no property for.
EXTENSION_ID = "extension-definition--6b1f3ad2-52c9-4f0e-9a43-0d6f3c1c7f58"
_PROJECT_ID = "identity--1f6c7b0a-8e0d-4c59-8a6e-3a5b8d1f2c47"
_PROJECT_SINCE = datetime(2026, 11, 22, tzinfo=UTC)
_EXTENSION_MEANING = (
    "Properties of a report: warning_colour (red, orange, yellow, blue), warning_grade (I, II, III, IV; I is the"
    " gravest), bulletin_version (integer from 1), notice (alert, update, cancel), drill (true: an exercise, nothing in"
    " it is real)."
)
# The name of who warns goes to whom the warnings go, but no further than the community.
IDENTITY_TLP = tlp.Tlp.GREEN
DRILL_LABEL = "drill"
DRILL_PREFIX = {"zh": "【演练】", "en": "[DRILL] "}  # in the name too: other programs ignore our extension


def report_id(series: UUID) -> str:
    """Identifier of the report of a bulletin, the same in all its versions."""
    return f"report--{uuid5(series, 'report')}"


def indicator_id(series: UUID, match: Match) -> str:
    """Identifier of the indicator of one match, the same in all versions of the bulletin."""
    return f"indicator--{uuid5(series, 'indicator/' + match.type + '/' + match.text)}"


def bundle(document: BulletinDocument) -> dict[str, Any]:
    """The bulletin as a STIX bundle, ready for JSON. Raises stix2 errors for content that STIX cannot carry."""
    series = document.series
    identifier = f"bundle--{uuid5(series, f'bundle/{document.version}')}"
    return {"type": "bundle", "id": identifier, "objects": objects(document)}


def objects(document: BulletinDocument) -> list[dict[str, Any]]:
    """All objects of a bulletin, what is referred to before what refers to it; the report is the last."""
    import stix2  # 0.4 s and 35 MB: only for those who export

    series, cancelled = document.series, document.notice is Notice.CANCEL
    english = bool(document.title.en)
    issuer = _identity(document.issuer)
    common: dict[str, Any] = {
        "created_by_ref": issuer["id"],
        "created": document.first_issued,
        "modified": document.issued,
        "object_marking_refs": [tlp.DEFINITION_IDS[document.tlp]],
    }
    labels = {"labels": [DRILL_LABEL]} if document.drill else {}
    revoked = {"revoked": True} if cancelled else {}

    patterns = [
        stix2.v21.AttackPattern(
            id=f"attack-pattern--{uuid5(series, 'attack-pattern/' + technique.id)}",
            name=technique.name or technique.id,
            external_references=[
                {
                    "source_name": "mitre-attack",
                    "external_id": technique.id,
                    "url": f"https://attack.mitre.org/techniques/{technique.id}/",
                }
            ],
            **common,
        )
        for technique in document.techniques
    ]
    indicators = [_indicator(document, match, common | labels | revoked) for match in document.matches]
    indicators += [_indicator(document, match, common | labels | {"revoked": True}) for match in document.withdrawn]
    others: list[Any] = []
    if document.advice.en or document.advice.zh:
        others.append(
            stix2.v21.CourseOfAction(
                id=f"course-of-action--{uuid5(series, 'course-of-action')}",
                name="What to do" if english else "处置建议",
                description=document.advice.en if english else document.advice.zh,
                **common,
                **revoked,
            )
        )
    relationships = [
        stix2.v21.Relationship(
            id=f"relationship--{uuid5(series, f'{source.id}/{kind}/{target.id}')}",
            relationship_type=kind,
            source_ref=source.id,
            target_ref=target.id,
            **common,
        )
        for sources, kind in ((indicators, "indicates"), (others, "mitigates"))
        for source in sources
        for target in patterns
    ]
    referred = [*patterns, *indicators, *others, *relationships]
    advice = [thing.id for thing in others]
    translations = _translations(document, report_id(series), advice, common) if english else []
    report = stix2.v21.Report(
        id=report_id(series),
        lang="en" if english else "zh",
        name=_title(document, "en" if english else "zh"),
        description=document.body.en if english else document.body.zh,
        report_types=["threat-report"],
        published=document.first_issued,
        object_refs=[issuer["id"], *(thing.id for thing in referred)],
        extensions={
            EXTENSION_ID: {
                "extension_type": "property-extension",
                "warning_colour": document.colour.value,
                "warning_grade": document.colour.grade,
                "bulletin_version": document.version,
                "notice": document.notice.value,
                "drill": document.drill,
            }
        },
        **common,
        **labels,
        **revoked,
    )
    made = [*referred, *translations, report]
    markings = [tlp.definition(marking) for marking in sorted({tlp.Tlp.CLEAR, IDENTITY_TLP, document.tlp})]
    return [*markings, _project(), extension_definition(), issuer, *map(_plain, made)]


def sighting(
    of: str, *, reporter: Issuer, key: str, count: int, first_seen: datetime, last_seen: datetime, marking: tlp.Tlp
) -> list[dict[str, Any]]:
    """ "We saw it too": the reporter's identity and a STIX Sighting. Count and times only, no plant data.

    of: identifier of the indicator. key: tells this reporter's sightings apart; the same key gives the same identifier.
    """
    import stix2

    who = _identity(reporter)
    made = stix2.v21.Sighting(
        id=f"sighting--{uuid5(reporter.identity, 'sighting/' + key)}",
        created_by_ref=who["id"],
        created=first_seen,
        modified=max(first_seen, last_seen),
        sighting_of_ref=of,
        where_sighted_refs=[who["id"]],
        count=min(count, 999_999_999),  # 4.17: the greatest count that STIX allows
        first_seen=first_seen,
        # 4.17: last_seen must be later than or equal to first_seen
        last_seen=max(first_seen, last_seen),
        object_marking_refs=[tlp.DEFINITION_IDS[marking]],
    )
    markings = [tlp.definition(each) for each in sorted({IDENTITY_TLP, marking})]
    return [*markings, who, _plain(made)]


def extension_definition() -> dict[str, Any]:
    """The definition of our extension, which travels with every report that uses it."""
    import stix2

    return _plain(
        stix2.v21.ExtensionDefinition(
            id=EXTENSION_ID,
            created_by_ref=_PROJECT_ID,
            created=_PROJECT_SINCE,
            modified=_PROJECT_SINCE,
            name="Fenghuo warning bulletin",
            description="Colour, grade, version and drill mark of a warning bulletin.",
            schema=_EXTENSION_MEANING,
            version="1.0.0",
            extension_types=["property-extension"],
            object_marking_refs=[tlp.DEFINITION_IDS[tlp.Tlp.CLEAR]],
        )
    )


def _indicator(document: BulletinDocument, match: Match, properties: dict[str, Any]) -> Any:
    import stix2

    identifier = indicator_id(document.series, match)
    techniques = tuple(technique.id for technique in document.techniques)
    title = document.title.en or document.title.zh
    if match.type == "operation":
        uuid = identifier.removeprefix("indicator--")
        pattern, language = to_sigma(match, rule_id=uuid, title=title, techniques=techniques), "sigma"
    else:
        pattern, language = to_stix_pattern(match), "stix"
    return stix2.v21.Indicator(
        id=identifier,
        name=match.text[:200],
        description=title,
        indicator_types=["malicious-activity"],
        pattern=pattern,
        pattern_type=language,
        valid_from=document.first_issued,
        **properties,
    )


def _translations(document: BulletinDocument, report: str, advice: list[str], common: dict[str, Any]) -> list[Any]:
    """The Chinese text beside the English one (STIX 2.1, 7.1)."""
    import stix2

    chinese = {"name": _title(document, "zh") if document.title.zh else "", "description": document.body.zh}
    about = {report: {name: text for name, text in chinese.items() if text}}
    if document.advice.zh:
        about |= {identifier: {"name": "处置建议", "description": document.advice.zh} for identifier in advice}
    return [
        stix2.v21.LanguageContent(
            id=f"language-content--{uuid5(document.series, 'language-content/' + identifier)}",
            object_ref=identifier,
            object_modified=document.issued,
            contents={"zh": contents},
            **common,
        )
        for identifier, contents in about.items()
        if contents
    ]


def _title(document: BulletinDocument, language: str) -> str:
    title: str = getattr(document.title, language)
    return (DRILL_PREFIX[language] if document.drill else "") + title


def _identity(issuer: Issuer) -> dict[str, Any]:
    import stix2

    return _plain(
        stix2.v21.Identity(
            id=f"identity--{issuer.identity}",
            created=issuer.since,
            modified=issuer.since,
            name=issuer.name,
            identity_class="organization",
            object_marking_refs=[tlp.DEFINITION_IDS[IDENTITY_TLP]],
        )
    )


def _project() -> dict[str, Any]:
    import stix2

    return _plain(
        stix2.v21.Identity(
            id=_PROJECT_ID,
            created=_PROJECT_SINCE,
            modified=_PROJECT_SINCE,
            name="Fenghuo",
            identity_class="system",
            object_marking_refs=[tlp.DEFINITION_IDS[tlp.Tlp.CLEAR]],
        )
    )


def _plain(stix_object: Any) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(stix_object.serialize())
    return plain
