"""The ledger: what it may hold, what is wrong with it, and what differs from the wire."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.assets.asset import Asset, Key
from detectors.assets.ledger import Importance, compare, load
from detectors.content import ContentError

HEAD = "address,segment,name,importance,owner,approved\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "ledger.csv"
    path.write_text(text, encoding="utf-8")
    return path


def asset(address: str, segment: str = "", **also: None) -> Asset:
    return Asset(Key("", segment, address), 0, 1)


def test_importance_is_found_by_address_segment_and_network_the_nearest_first(tmp_path: Path) -> None:
    text = (
        "﻿"
        + HEAD
        + "10.1.0.20,,PLC 3,关键,张工,是\n10.1.0.20,7,PLC 4,low,,\n10.1.0.0/24,,line,high,,\n10.0.0.0/8,,,low,,\n"
    )
    ledger = load(written(tmp_path, text))
    assert ledger.importance("10.1.0.20") == Importance.CRITICAL
    assert ledger.importance("10.1.0.20", "vlan 7") == Importance.LOW
    assert ledger.importance("10.1.0.9", "vlan 3") == Importance.HIGH
    assert ledger.importance("10.2.0.9") == Importance.LOW
    assert ledger.importance("192.0.2.1") == Importance.NORMAL
    assert ledger.importance("00:1b:1b:01:02:03") == Importance.NORMAL


def test_undeclared_unapproved_and_silent_devices_are_told_apart(tmp_path: Path) -> None:
    ledger = load(written(tmp_path, "address,approved\n10.1.0.1,\n10.1.0.2,no\n10.1.0.3,yes\n10.1.0.4,no\n"))
    seen = [asset("10.1.0.1"), asset("10.1.0.2"), asset("10.1.0.9")]
    found = compare(ledger, seen)
    assert [it.key.address for it in found.undeclared] == ["10.1.0.9"]
    assert [it.key.address for it in found.unapproved] == ["10.1.0.2"]
    assert [it.address for it in found.silent] == ["10.1.0.3"]
    assert found.any


def test_three_declared_and_four_seen_is_one_undeclared_and_none_silent(tmp_path: Path) -> None:
    ledger = load(written(tmp_path, "address\n" + "".join(f"10.1.0.{n}\n" for n in (1, 2, 3))))
    found = compare(ledger, [asset(f"10.1.0.{n}") for n in (1, 2, 3, 4)])
    assert (len(found.undeclared), len(found.silent)) == (1, 0)
    assert [it.address for it in compare(ledger, [asset("10.1.0.1"), asset("10.1.0.2")]).silent] == ["10.1.0.3"]


def test_a_device_may_be_declared_by_its_hardware_address(tmp_path: Path) -> None:
    ledger = load(written(tmp_path, "address\n00-1B-1B-01-02-03\n"))
    known = asset("10.1.0.20")
    known.also["00:1b:1b:01:02:03"] = None
    assert not compare(ledger, [known]).any


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("", 0, "empty"),
        ("name\nplc\n", 1, "columns"),
        ("address,colour\n", 1, "'colour'"),
        (HEAD + "10.1.0.300,,,,,\n", 2, "10.1.0.300"),
        (HEAD + "10.1.0.1/24,,,,,\n", 2, "host bits"),
        (HEAD + "10.1.0.1,,,vital,,\n", 2, "'vital'"),
        (HEAD + "10.1.0.1,,,,,perhaps\n", 2, "'perhaps'"),
        (HEAD + "10.1.0.1,,,,,\n10.1.0.1,,,,,\n", 3, "twice"),
        (HEAD + "10.1.0.1,,,,,,more\n", 2, "cells"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, line: int, why: str) -> None:
    with pytest.raises(ContentError, match=why) as caught:
        load(written(tmp_path, text))
    assert caught.value.line == line


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContentError, match="cannot be read"):
        load(tmp_path / "none.csv")
    path = tmp_path / "excel.csv"
    path.write_bytes("address,name\n10.1.0.1,泵站\n".encode("gb18030"))
    with pytest.raises(ContentError, match="UTF-8"):
        load(path)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(("address,importance\n" + text).encode("utf-8", "surrogatepass"))
    try:
        importances = {entry.importance for entry in load(path).entries}
    except ContentError:
        importances = set()
    assert importances <= set(Importance)
