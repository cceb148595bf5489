"""The release decision, cell by cell. The table is written out by hand: it is what people must be able to check."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.sharing.tlp import (
    DEFINITION_IDS,
    EXTENSION_ID,
    TLP1_DEFINITION_IDS,
    UNMARKED,
    Held,
    Relation,
    Tlp,
    allowed_markings,
    claimed,
    decide,
    definition,
    marking_of,
)

COLUMNS = (
    Relation.OWN,
    Relation.NAMED,
    Relation.ANCESTOR,
    Relation.DESCENDANT,
    Relation.COMMUNITY,
    Relation.ANONYMOUS,
)
# y: may have it, -: may not. Columns as in COLUMNS.
TABLE = {
    #                                   own named above below peer nobody
    (Tlp.CLEAR, Held.AS_SOURCE): "y y y y y y",
    (Tlp.GREEN, Held.AS_SOURCE): "y y y y y -",
    (Tlp.AMBER, Held.AS_SOURCE): "y y - y - -",
    (Tlp.AMBER_STRICT, Held.AS_SOURCE): "y y - - - -",
    (Tlp.RED, Held.AS_SOURCE): "y y - - - -",
    (Tlp.CLEAR, Held.AS_RECIPIENT): "y y y y y y",
    (Tlp.GREEN, Held.AS_RECIPIENT): "y y y y y -",
    (Tlp.AMBER, Held.AS_RECIPIENT): "y y - y - -",
    (Tlp.AMBER_STRICT, Held.AS_RECIPIENT): "y y - - - -",
    (Tlp.RED, Held.AS_RECIPIENT): "- y - - - -",
}
CELLS = [
    (marking, held, relation, mark == "y")
    for (marking, held), row in TABLE.items()
    for relation, mark in zip(COLUMNS, row.split(), strict=True)
]


@pytest.mark.parametrize(("marking", "held", "relation", "allowed"), CELLS)
def test_each_cell_of_the_truth_table_is_decided_as_written(marking, held, relation, allowed):
    decision = decide(marking, relation, held)
    assert decision.allowed is allowed
    assert decision.reason


def test_the_truth_table_covers_every_label_relation_and_way_of_holding():
    assert {(m, h, r) for m, h, r, _ in CELLS} == set(itertools.product(Tlp, Held, Relation))


def test_a_stricter_label_never_reaches_more_requesters():
    for held, relation in itertools.product(Held, Relation):
        verdicts = [decide(marking, relation, held).allowed for marking in sorted(Tlp)]
        assert verdicts == sorted(verdicts, reverse=True)


def test_a_recipient_never_passes_on_more_than_the_source_would():
    for marking, relation in itertools.product(Tlp, Relation):
        if decide(marking, relation, Held.AS_RECIPIENT).allowed:
            assert decide(marking, relation, Held.AS_SOURCE).allowed


def test_the_labels_a_query_may_select_are_those_that_decide_allows():
    assert allowed_markings(Relation.DESCENDANT, Held.AS_RECIPIENT) == {Tlp.CLEAR, Tlp.GREEN, Tlp.AMBER}
    assert allowed_markings(Relation.ANONYMOUS, Held.AS_SOURCE) == {Tlp.CLEAR}
    assert allowed_markings(Relation.OWN, Held.AS_RECIPIENT) == set(Tlp) - {Tlp.RED}


def test_the_identifiers_are_the_published_ones():
    # FIRST/OASIS, verified against two public copies; a wrong digit here would leak to or hide from everybody.
    assert {marking.label: id_.removeprefix("marking-definition--") for marking, id_ in DEFINITION_IDS.items()} == {
        "TLP:RED": "e828b379-4e03-4974-9ac4-e53a884c97c1",
        "TLP:AMBER+STRICT": "939a9414-2ddd-4d32-a0cd-375ea402b003",
        "TLP:AMBER": "55d920b0-5e8b-4f79-9ee9-91f868d9b421",
        "TLP:GREEN": "bab4a63c-aed9-4cf5-a766-dfca5abac2bb",
        "TLP:CLEAR": "94868c89-83c2-464b-929b-a1a8aa3c8487",
    }
    assert EXTENSION_ID == "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d"
    assert definition(Tlp.AMBER_STRICT)["extensions"][EXTENSION_ID]["tlp_2_0"] == "amber+strict"
    assert definition(Tlp.RED)["created"] == "2022-10-01T00:00:00.000Z"


@pytest.mark.parametrize("marking", Tlp)
def test_a_label_survives_marking_and_reading_back(marking):
    assert marking_of({"object_marking_refs": [DEFINITION_IDS[marking]]}, {}) is marking
    assert Tlp.of(marking.word) is marking
    assert claimed(definition(marking)) is marking


def test_several_markings_give_the_strictest():
    refs = [DEFINITION_IDS[Tlp.GREEN], DEFINITION_IDS[Tlp.RED], DEFINITION_IDS[Tlp.CLEAR]]
    assert marking_of({"object_marking_refs": refs}, {}) is Tlp.RED


def test_a_granular_marking_tightens_the_whole_object():
    stix = {
        "object_marking_refs": [DEFINITION_IDS[Tlp.CLEAR]],
        "granular_markings": [{"marking_ref": DEFINITION_IDS[Tlp.AMBER], "selectors": ["description"]}],
    }
    assert marking_of(stix, {}) is Tlp.AMBER


def test_tlp_1_markings_are_read():
    white = next(id_ for id_, marking in TLP1_DEFINITION_IDS.items() if marking is Tlp.CLEAR)
    assert marking_of({"object_marking_refs": [white]}, {}) is Tlp.CLEAR


FORGED = "marking-definition--00000000-0000-4000-8000-000000000001"


def test_clear_under_a_made_up_id_does_not_loosen():
    assert marking_of({"object_marking_refs": [FORGED]}, {FORGED: Tlp.CLEAR}) is UNMARKED


def test_red_under_a_made_up_id_tightens():
    assert marking_of({"object_marking_refs": [FORGED]}, {FORGED: Tlp.RED}) is Tlp.RED
    assert marking_of({"object_marking_refs": [DEFINITION_IDS[Tlp.CLEAR], FORGED]}, {FORGED: Tlp.RED}) is Tlp.RED


@pytest.mark.parametrize("markings", [None, [], "TLP:CLEAR", [None, 1, {}], {"a": 1}, [["x"]]])
def test_no_or_malformed_markings_keep_the_object_in_the_organisation(markings):
    assert marking_of({"object_marking_refs": markings, "granular_markings": markings}, {}) is UNMARKED


LEAF = st.none() | st.integers() | st.text(max_size=8) | st.sampled_from(["TLP:RED", "green", "white", "tlp:"])
JSON = LEAF | st.dictionaries(
    st.sampled_from([EXTENSION_ID, "tlp_2_0", "tlp"]), LEAF | st.dictionaries(st.just("tlp_2_0"), LEAF)
)


@given(st.fixed_dictionaries({}, optional={"extensions": JSON, "definition": JSON, "name": JSON}))
def test_what_a_definition_claims_is_a_label_or_nothing(stix):
    assert claimed(stix) in (None, *Tlp)
