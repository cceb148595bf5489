"""The query language by itself: errors say where, anything is a tree or an error, trees mean what they say."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.search_corpus import NOW, queries
from support.search_oracle import holds

from console.store.search.fields import FIELDS
from console.store.search.query import elastic
from console.store.search.query.errors import QueryError
from console.store.search.query.lexer import MAX_QUERY
from console.store.search.query.moments import span
from console.store.search.query.parser import MAX_CONDITIONS, MAX_DEPTH, parse
from console.store.search.query.write import added, condition

SHANGHAI = ZoneInfo("Asia/Shanghai")


@pytest.mark.parametrize(
    ("query", "part", "says"),
    [
        ("stop AND (a OR b", "(", "never closed"),
        ("stop)", ")", "closes nothing"),
        ('stop "half', '"half', "no end"),
        ("a AND", "AND", "missing after"),
        ("OR b", "OR", "missing before OR"),
        ("a AND OR b", "OR", "missing before OR"),
        ("sevrity:high", "sevrity", "Did you mean severity"),
        ("function_code:3", "function_code", "modbus.function_code"),
        ("nonsense:3", "nonsense", "no field nonsense"),
        ("severity:hgih", "hgih", "one of: informational, low"),
        ("severity >= soon", "soon", "one of"),
        ("port:http", "http", "is a number"),
        ("port:99999999999999999999", "99999999999999999999", "is a number"),
        ("source.ip:10.0.0", "10.0.0", "no address"),
        ("source.ip:10.0.0.0/33", "10.0.0.0/33", "no address"),
        ("@timestamp:yesterday", "yesterday", "no time"),
        ("@timestamp:2026-02-30", "2026-02-30", "no time"),
        ("rule.id > a", "a", "has no order"),
        ("count:1*", "1*", "wildcards are for"),
        ("rule.id:a*b*c*d*e*f*g", "a*b*c*d*e*f*g", "at most 5"),
        ("rule.id:*?*", "*?*", "wildcards alone"),
        ("scan.f*ns", "scan.f*ns", "Name the field"),
        ("%%%", "%%%", "no letter and no digit"),
        ("a -", "-", "no letter and no digit"),
        ("count:[1 5]", "5", "TO is missing"),
        ("count:[1 TO 5", "[", "never closed"),
        ("count:[1 TO", "[", "[from TO to]"),
        ("count:", "count", "A value of count is missing"),
        ("count >=", ">=", "missing after >="),
        (">= 5", ">=", "name of a field is missing"),
        ("protocol:(modbus source.ip:10.0.0.1)", "source.ip:10.0.0.1", "Inside these brackets"),
        ("rule.id=scan", "rule.id=scan", "Write :"),
        ("stop~2", "stop~2", "not part of this language"),
        ('"a b"~5', "~5", "not part of this language"),
        ("stop^2", "stop^2", "not part of this language"),
        ("stop \\", "\\", "Nothing follows"),
        ("_exists_:nothing", "nothing", "name of a field"),
    ],
)
def test_an_error_says_what_is_wrong_and_where(query, part, says):
    with pytest.raises(QueryError, match=re.escape(says)) as caught:
        parse(query, NOW, SHANGHAI)
    assert query[caught.value.at : caught.value.at + caught.value.length] == part


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("a" * (MAX_QUERY + 1), "too long"),
        (" OR ".join(["a"] * (MAX_CONDITIONS + 1)), "too many conditions"),
        ("(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1), "nested too deeply"),
        ("NOT " * (MAX_DEPTH + 1) + "a", "nested too deeply"),
        ('"' + "a " * 61 + '"', "too many words"),
    ],
)
def test_a_query_has_limits(query, says):
    with pytest.raises(QueryError, match=says):
        parse(query, NOW, SHANGHAI)


SIGNS = [*'()[]{}:<>=!-+*?\\"~^&|/ ', " AND ", " OR ", " NOT ", " TO ", "&&", "||", ">=", "“", "”", "："]
WORDS = ["now-1h", "2026-11-22", "10.0.0.0/8", "severity", "high", "rule.id", "source.ip", "count", "@timestamp", "5"]
ODD = ["stop", "停止", "::1", "\x00", "\u202e", "\ud800"]
PIECES = st.sampled_from([*SIGNS, *WORDS, *ODD])


@settings(max_examples=400)
@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=25).map("".join)))
def test_any_text_is_a_tree_or_an_error_with_a_place_in_it(text):
    problem = None
    try:
        node = parse(text, NOW, SHANGHAI)
    except QueryError as error:
        problem = error
    if problem is not None:
        assert 0 <= problem.at <= len(text)
        assert problem.at + problem.length <= len(text) or not problem.length
        assert str(problem)
    else:
        assert elastic.compile_query(1, node)["bool"]["filter"][0] == {"term": {"organisation.id": 1}}


LEAVES = st.sampled_from([query for query, _ in queries()])
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(lambda q: f"NOT ({q})"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}) AND ({two[1]})"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}) OR ({two[1]})"),
    ),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=TREES)
def test_whatever_is_combined_means_the_same_in_every_store(find, findings, query):
    node = parse(query, NOW, SHANGHAI)
    assert find(1, node) == [f.id for f in findings if holds(node, f)]


@given(st.text(max_size=30), st.sampled_from(["artifact.name", "tag.name", "capture"]), st.booleans())
def test_a_value_that_is_written_for_people_means_itself(value, field, wanted):
    if not value.strip():
        return
    node = parse(condition(field, value, wanted), NOW, SHANGHAI)
    leaf = node if wanted else node.part
    assert (leaf.field, leaf.value) == (FIELDS[field], value)


def test_a_condition_is_added_to_the_whole_of_a_query():
    assert added("", "a:b") == "a:b"
    assert added("stop", "-a:b") == "stop -a:b"
    assert added("stop OR go", "-a:b") == "(stop OR go) -a:b"
    assert added("stop -a:b", "-a:b") == "stop -a:b"


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("2026-11-22", "2026-11-21T16:00:00", "2026-11-22T16:00:00"),
        ("2026-11-22T08:00Z", "2026-11-22T08:00:00", "2026-11-22T08:01:00"),
        ("2026-11-22 16:00:01.5", "2026-11-22T08:00:01.500", "2026-11-22T08:00:01.501"),
        ("2026", "2025-12-31T16:00:00", "2026-12-31T16:00:00"),
        ("2026-12", "2026-11-30T16:00:00", "2026-12-31T16:00:00"),
        ("now", "2026-11-22T08:00:00", "2026-11-22T08:00:00.001"),
        ("now-2h/h", "2026-11-22T06:00:00", "2026-11-22T07:00:00"),
        ("now/w", "2026-11-15T16:00:00", "2026-11-22T16:00:00"),
        ("NOW-1D", "2026-11-21T08:00:00", "2026-11-21T08:00:00.001"),
    ],
)
def test_a_time_is_the_stretch_that_it_names(text, begin, end):
    assert span(text, NOW, SHANGHAI) == tuple(datetime.fromisoformat(t).replace(tzinfo=UTC) for t in (begin, end))


@given(st.text("now-+/0123456789: TZsmhdw.", max_size=24))
def test_any_text_is_a_stretch_of_time_or_none(text):
    found = span(text, NOW, SHANGHAI)
    assert found is None or (found[0] <= found[1] and all(moment.microsecond % 1000 == 0 for moment in found))
