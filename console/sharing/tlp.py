"""May this leave, and to whom: the one release decision. Pages, exports and TAXII all ask here.

Source: FIRST, Traffic Light Protocol 2.0 (August 2022); identifiers of the marking definitions: OASIS, the STIX 2.1
TLP 2.0 extension (created 2022-10-01).

How the text of TLP 2.0 is read here, sentence by sentence:

- A label binds *recipients*. The source chooses the first recipients itself, under any label: whoever the source
  named gets the object, and colleagues of the source work under it.
- RED is "for the eyes and ears of individual recipients only, no further disclosure". The receiving organisation as
  such is not a recipient: only the persons who count as named see it, and nothing is passed on.
- AMBER+STRICT "restricts sharing to the organization only": all of a named organisation, nobody else. It leaves the
  source's organisation by the source's own naming and in no other way.
- AMBER: "their organization and its clients". Clients "receive cybersecurity services from an organization", and for
  bodies with a wider duty these are "stakeholders and constituents": in our tree, the organisations below. Those above
  are not clients: a superior body gets AMBER when it is named.
- GREEN: "within their community, but not via publicly accessible channels": every organisation of the tree and every
  registered peer, never somebody unknown.
- CLEAR: "recipients can spread this to the world, there is no limit on disclosure".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum
from typing import Any


class Tlp(IntEnum):
    """The five labels, ordered: a greater value is more restrictive, so that `max` is the strictest."""

    CLEAR = 0
    GREEN = 1
    AMBER = 2
    AMBER_STRICT = 3
    RED = 4

    @property
    def label(self) -> str:
        """As TLP 2.0 demands it in writing: upper case, no spaces ("TLP:AMBER+STRICT")."""
        return "TLP:" + self.name.replace("_", "+")

    @property
    def word(self) -> str:
        """Value of `tlp_2_0` in the marking definition, also our stored form ("amber+strict")."""
        return self.name.replace("_", "+").lower()

    @classmethod
    def of(cls, word: str) -> Tlp:
        """The label whose `word` this is. Raises ValueError for anything else."""
        for marking in cls:
            if marking.word == word:
                return marking
        raise ValueError(f"not a TLP 2.0 label: {word[:40]!r}")


class Relation(StrEnum):
    """What the requester is to the organisation that holds the object; of several, the one that lets it have most."""

    OWN = "own"
    NAMED = "named"  # a recipient whom the source named (for RED: a person of it who counts as named)
    ANCESTOR = "ancestor"  # above the holder in the tree
    DESCENDANT = "descendant"  # below it: its clients
    COMMUNITY = "community"  # a registered peer, or another organisation of the same tree
    ANONYMOUS = "anonymous"


class Held(Enum):
    """How the holder came to the object: a label binds those who received it, not the source."""

    AS_SOURCE = "source"
    AS_RECIPIENT = "recipient"


@dataclass(frozen=True, slots=True)
class Decision:
    """allowed: whether the object may go to this requester; reason: a stable word for logs and translations."""

    allowed: bool
    reason: str


def decide(marking: Tlp, relation: Relation, held: Held) -> Decision:
    """May an object under `marking`, held `held`, go to a requester who is `relation` to the holder?

    A relation of NAMED means named by the source, whoever holds the object; a holder that received it can name nobody.
    """
    if marking is Tlp.CLEAR:
        return Decision(True, "no-limit")
    if relation is Relation.ANONYMOUS:
        return Decision(False, "not-public")
    if relation is Relation.NAMED:
        return Decision(True, "named-by-source")
    if relation is Relation.OWN:
        if held is Held.AS_SOURCE:
            return Decision(True, "own")
        return Decision(False, "persons-only") if marking is Tlp.RED else Decision(True, "own-organisation")
    if marking is Tlp.GREEN:
        return Decision(True, "community")
    if marking is Tlp.AMBER:
        client = relation is Relation.DESCENDANT
        return Decision(True, "client") if client else Decision(False, "clients-only")
    if marking is Tlp.AMBER_STRICT:
        return Decision(False, "organisation-only")
    return Decision(False, "persons-only")


def allowed_markings(relation: Relation, held: Held) -> frozenset[Tlp]:
    """The labels under which `decide` lets this relation have an object: what a query may select."""
    return frozenset(marking for marking in Tlp if decide(marking, relation, held).allowed)


# The exact identifiers; wrong ones and those of TLP 1.0 circulate.
DEFINITION_IDS: dict[Tlp, str] = {
    Tlp.CLEAR: "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487",
    Tlp.GREEN: "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb",
    Tlp.AMBER: "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421",
    Tlp.AMBER_STRICT: "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003",
    Tlp.RED: "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1",
}
EXTENSION_ID = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d"

# STIX 2.1, 7.2.1.4: the TLP 1.0 definitions, still sent by many. WHITE became CLEAR; the others kept their meaning.
TLP1_DEFINITION_IDS: dict[str, Tlp] = {
    "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9": Tlp.CLEAR,
    "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da": Tlp.GREEN,
    "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82": Tlp.AMBER,
    "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed": Tlp.RED,
}
_BY_ID: dict[str, Tlp] = {**{id_: marking for marking, id_ in DEFINITION_IDS.items()}, **TLP1_DEFINITION_IDS}

# What comes without a label that we can trust stays in the organisation that got it, until the source says otherwise.
UNMARKED = Tlp.AMBER_STRICT


def definition(marking: Tlp) -> dict[str, Any]:
    """The marking definition of a label as OASIS published it, field for field."""
    return {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": DEFINITION_IDS[marking],
        "created": "2022-10-01T00:00:00.000Z",
        "name": marking.label,
        "extensions": {EXTENSION_ID: {"extension_type": "property-extension", "tlp_2_0": marking.word}},
    }


def claimed(marking_definition: dict[str, Any]) -> Tlp | None:
    """The label that a marking definition under an unknown id claims to be, if any (both TLP versions)."""
    extensions = marking_definition.get("extensions")
    extension = extensions.get(EXTENSION_ID) if isinstance(extensions, dict) else None
    word = extension.get("tlp_2_0") if isinstance(extension, dict) else None
    if word is None:
        old = marking_definition.get("definition")
        word = old.get("tlp") if isinstance(old, dict) else None
    if word is None:
        name = marking_definition.get("name")
        word = name[4:] if isinstance(name, str) and name[:4].upper() == "TLP:" else None
    if not isinstance(word, str):
        return None
    try:
        return Tlp.of("clear" if word.lower() == "white" else word.lower())
    except ValueError:
        return None


def marking_of(stix_object: dict[str, Any], claims: dict[str, Tlp | None]) -> Tlp:
    """The label under which a received STIX object is held: the strictest of its object and granular markings.

    claims: of marking definitions under ids that are not the published ones, what they claim. Such a definition can
    tighten, never loosen: "CLEAR" under a made-up id leaves the object UNMARKED.
    Nothing that is not text is trusted; a malformed list of markings counts as unmarked.
    """
    refs: list[Any] = []
    listed = stix_object.get("object_marking_refs")
    if isinstance(listed, list):
        refs += listed
    granular = stix_object.get("granular_markings")
    if isinstance(granular, list):
        refs += [entry["marking_ref"] for entry in granular if isinstance(entry, dict) and "marking_ref" in entry]
    known = [_BY_ID[ref] for ref in refs if isinstance(ref, str) and ref in _BY_ID]
    tightened = [claim for ref in refs if isinstance(ref, str) and (claim := claims.get(ref)) is not None]
    if known:
        return max(known + tightened)
    return max([UNMARKED, *tightened])
