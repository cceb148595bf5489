"""The query language means the same in every store: what a query finds is what its meaning says, id by id."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Any
from unicodedata import normalize
from zoneinfo import ZoneInfo

import pytest
from support.search_corpus import COUNT, NOW, Find, queries

from console.store.models import Finding
from console.store.search.query.parser import parse

SHANGHAI = ZoneInfo("Asia/Shanghai")
NAMES = "names"


def plain(text: str) -> str:
    return normalize("NFKC", normalize("NFKC", text).casefold())


def texts(f: Finding, which: str = "") -> list[str]:
    """All texts of a finding as people read them."""
    names, messages = [f.rule_name_en, f.rule_name_zh], [f.message_en, f.message_zh]
    if which == NAMES:
        return [plain(text) for text in names]
    if which == "messages":
        return [plain(text) for text in messages]

    def leaves(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [text for key, item in value.items() for text in (key, *leaves(item))]
        return [text for item in value for text in leaves(item)] if isinstance(value, list) else [str(value)]

    other = [f.uid, f.rule_id, f.protocol, f.source_ip, f.destination_ip, *f.techniques, f.capture, *leaves(f.fields)]
    return [plain(text) for text in (*names, *messages, *other)]


def spaced(text: str) -> str:
    """Letters and digits in single spaces, with spaces around Chinese."""
    return " " + " ".join(re.findall(r"[\u3040-\u9fff]+|[^\W_\u3040-\u9fff]+", text)) + " "


def meanings(f: Finding) -> dict[str, Any]:
    """What the expressions of the data file may use."""

    def phrase(words: str, which: str = "") -> bool:
        return any(spaced(plain(words)) in spaced(text) for text in texts(f, which))

    def like_word(expression: str, which: str = "") -> bool:
        return any(re.fullmatch(expression, word) for text in texts(f, which) for word in spaced(text).split())

    return {
        "f": f, "NOW": NOW, "NAMES": NAMES, "phrase": phrase, "says": phrase, "like_word": like_word,
        "part": lambda words: any(words in text for text in texts(f)),
        "starts": lambda start: like_word(re.escape(start) + ".*"),
        "name_says": partial(phrase, which=NAMES), "message_says": partial(phrase, which="messages"),
        "net": in_network, "is_ip": is_ip, "whole": whole, "hours": lambda n: timedelta(hours=n),
        "ms": lambda n: timedelta(milliseconds=n), "local": lambda moment: moment.astimezone(SHANGHAI),
    }  # fmt: skip


def is_ip(address: str) -> bool:
    return address != "" and not re.fullmatch("[0-9a-f:]{17}", address)


def in_network(address: str, network: str) -> bool:
    return is_ip(address) and ip_address(address) in ip_network(network)


def whole(f: Finding, name: str, holds: Any) -> bool:
    """Whether one of the first 20 whole numbers of a field fits."""
    value = f.fields.get(name)
    listed = (value if isinstance(value, list) else [value])[:20]
    return any(type(n) is int and abs(n) < 2**63 and holds(n) for n in listed)


@pytest.fixture(scope="module")
def meant(findings) -> dict[str, list[int]]:
    """By query: the ids that it has to find."""
    names = [(f, meanings(f)) for f in findings]
    return {query: [f.id for f, known in names if eval(meaning, dict(known))] for query, meaning in queries()}


@pytest.mark.parametrize("query", [query for query, _ in queries()])
def test_a_query_finds_what_it_means(find: Find, meant, query):
    assert find(1, parse(query, NOW, SHANGHAI)) == meant[query]


def test_the_queries_are_many_and_tell_findings_apart(meant):
    assert len(queries()) == len(meant) >= 150
    telling = [ids for ids in meant.values() if 0 < len(ids) < COUNT]
    assert len(telling) >= 0.85 * len(meant)
    assert len({tuple(ids) for ids in telling}) >= 100


@pytest.mark.parametrize("query", ["*", "NOT drill:true", "NOT (stop AND controller)", "a OR *", "finding.number:>=0"])
def test_no_query_finds_what_belongs_to_another_organisation(find: Find, query):
    ours, theirs = (set(find(number, parse(query, NOW, SHANGHAI))) for number in (1, 2))
    assert ours
    assert theirs
    assert not ours & theirs
    assert not find(3, parse(query, NOW, SHANGHAI))
