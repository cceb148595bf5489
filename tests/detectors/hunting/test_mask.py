"""Conditions over columns answer as they do over one event after the other."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.hunting.mask import mask
from detectors.sigma.tree import predicate
from sensor.archive.columns import table_of

NUMBERS = ("modbus.address", "frame")
TEXTS = ("source.ip", "modbus.function", "event.kind")
LISTS = ("modbus.values", "anomalies")
WORDS = st.sampled_from(["Read", "read", "write_single", "192.0.2.1", "10.0.0.7", "", "a*b", "é"])
SMALL = st.integers(-2, 3)

lines = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(NUMBERS, SMALL),
        **dict.fromkeys(TEXTS, WORDS),
        "modbus.values": st.lists(SMALL, max_size=3),
        "anomalies": st.lists(WORDS, max_size=3),
        "modbus.device_id.more_follows": st.booleans(),
    },
)
names = st.sampled_from([*NUMBERS, *TEXTS, *LISTS, "modbus.device_id.more_follows", "dnp3.iin"])
leaves: st.SearchStrategy[list[Any]] = st.one_of(
    st.builds(lambda name, values: ["in", name, values], names, st.lists(st.one_of(SMALL, WORDS), max_size=3)),
    st.builds(lambda name, values: ["cased", name, values], names, st.lists(WORDS, max_size=2)),
    st.builds(lambda name, text: ["like", name, [text, 0], False], names, WORDS),
    st.builds(lambda name, text: ["like", name, [0, text, 1], True], names, WORDS),
    st.builds(lambda name, text: ["re", name, text, "i"], names, st.sampled_from(["^r", "wr.te", "[0-9]+"])),
    st.builds(lambda name: ["cidr", name, "10.0.0.0/8"], names),
    st.builds(
        lambda name, way, number: ["cmp", name, way, number], names, st.sampled_from(["gt", "gte", "lt", "lte"]), SMALL
    ),
    st.builds(lambda name, wanted: ["exists", name, wanted], names, st.booleans()),
    st.builds(lambda a, b, way: ["same", a, b, way], names, names, st.sampled_from(["", "contains", "startswith"])),
    st.sampled_from([["true"], ["false"]]),
)
nodes = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda part: ["not", part], inner),
        st.builds(lambda head, parts: [head, *parts], st.sampled_from(["and", "or"]), st.lists(inner, min_size=1)),
    ),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(lines, min_size=1, max_size=8), nodes)
def test_columns_answer_as_events_do(rows, node):
    table, unfit = table_of([{"@timestamp": 0, **row} for row in rows])
    assert unfit == 0
    holds = predicate(node)
    assert mask(node, table).tolist() == [holds(row) for row in rows]


def test_times_are_compared_as_the_text_that_events_carry():
    table, _ = table_of([{"@timestamp": 0}, {"@timestamp": 3_600_000_000_001}])
    assert mask(["part", "@timestamp", "hour", 1], table).tolist() == [False, True]
    assert mask(["like", "@timestamp", ["1970-01-01T00", 0], False], table).tolist() == [True, False]
