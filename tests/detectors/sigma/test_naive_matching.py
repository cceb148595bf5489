"""The matcher gives what trying every rule on every event gives, and its columns say what descriptions say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from detectors.content import rules_folder
from detectors.sigma import steady
from detectors.sigma.columns import Codes
from detectors.sigma.matcher import Matcher
from detectors.sigma.rule import SigmaRule
from detectors.sigma.ruleset import shipped
from detectors.sigma.sample_frames import frames
from detectors.sigma.samples import load_samples
from detectors.sigma.steady import CODES, EXACT, KEYED, steady_fields
from detectors.sigma.tree import all_of, predicate
from pcaps import build
from sensor.capture.source import open_capture
from sensor.decode.decoder import Decoder
from sensor.decode.pdu import Kind
from sensor.events import EventBatch
from sensor.schema import FIELDS
from sensor.view import View

PCAPS = Path(build.__file__).resolve().parent
SHARED = Path(__file__).resolve().parents[4] / "shared" / "captures"
MOST_EVENTS = 6  # of one behaviour that are looked at

Run = list[tuple[EventBatch, list[dict[str, Any]]]]


def described(decoder: Decoder, source: Any) -> tuple[View, Run]:
    """Every batch with its events at full depth."""
    run = [(batch, [decoder.view.fields(batch, row) for row in range(batch.size)]) for batch in decoder.decode(source)]
    return decoder.view, run


def sources() -> Iterator[Any]:
    """Our own captures and the samples of all rules: every protocol, every rule."""
    for path in sorted(PCAPS.glob("*/*.pcap*")):
        if path.stat().st_size < 40_000:
            yield open_capture(path)
    samples = [it for found in load_samples(rules_folder() / "samples").values() for it in found if it.capture is None]
    for begin in range(0, len(samples), 200):
        yield [frames(samples[begin : begin + 200])]


@cache
def own() -> list[tuple[View, Run]]:
    return [described(Decoder(), source) for source in sources()]


def rule(name: str, condition: list[Any]) -> SigmaRule:
    base = shipped().rules[0]
    return SigmaRule(
        id=name, name=base.name, severity=base.severity, techniques=(), saw=base.saw, why=base.why, check=base.check,
        uuid="", title=name, product="", condition=condition,
    )  # fmt: skip


WRITES = ["in", "event.action", ["write"]]
EXTRA = [
    rule("by.value", all_of([WRITES, ["cmp", "modbus.values", "gte", 100]])),
    rule("by.port", ["cmp", "source.port", "lt", 1000]),
    rule("by.refusal", ["in", "event.outcome", ["refused"]]),
    rule("by.exception", all_of([["in", "network.protocol", ["modbus"]], ["exists", "modbus.exception_code", True]])),
    rule("by.absence", all_of([["in", "network.protocol", ["s7comm"]], ["exists", "s7comm.function", False]])),
    rule("by.not", all_of([["in", "event.kind", ["request"]], ["not", ["in", "modbus.function_code", [3, 4]]]])),
    rule("by.address", ["or", ["cidr", "source.ip", "10.1.0.0/24"], ["like", "s7comm.service", ["P_", 0], True]]),
    rule("by.text", ["re", "event.action", "^(re|st)", ""]),
]


def test_every_rule_matches_exactly_the_events_that_it_matches_when_tried_on_each() -> None:
    rules = [*shipped().rules, *EXTRA]
    tests = [predicate(it.condition) for it in rules]
    tried = 0
    hit = set()
    for view, run in own():
        matcher = Matcher(rules)
        for batch, events in run:
            matcher.observe(view, batch, 0)
            late = {(number, row) for number, rows in matcher.late for row in rows.tolist()}
            for row, fields in enumerate(events):
                tried += 1
                expected = {number for number, test in enumerate(tests) if test(fields)}
                got = set(matcher.numbers(int(batch.columns.behaviour[row])))
                got |= {number for number, at in late if at == row}
                assert {rules[it].id for it in got} == {rules[it].id for it in expected}, fields
                hit |= got
        assert matcher.unseen == {}
    assert tried > 2000
    assert {rules[number].id for number in set(range(len(rules))) - hit} == set()


def test_labels_are_the_same_however_the_events_are_batched() -> None:
    def labels(step: int) -> list[tuple[int, ...]]:
        decoder, matcher = Decoder(), Matcher(shipped().rules)
        got = []
        batch = next(it for it in sources() if isinstance(it, list))[0]
        parts = [batch] if not step else _split(batch, step)
        for events in decoder.decode(parts):
            matcher.observe(decoder.view, events, 0)
            got += [matcher.numbers(int(behaviour)) for behaviour in events.columns.behaviour]
        return got

    whole = labels(0)
    assert any(whole)
    assert labels(1) == whole
    assert labels(7) == whole


def _split(batch: Any, step: int) -> list[Any]:
    return [
        batch._replace(
            ts_ns=batch.ts_ns[at : at + step], offset=batch.offset[at : at + step],
            captured=batch.captured[at : at + step], wire=batch.wire[at : at + step], link=batch.link[at : at + step],
            first=batch.first + at,
        )
        for at in range(0, batch.size, step)
    ]  # fmt: skip


def compare(view: View, run: Run) -> Iterator[str]:
    """What the columns or the lists of steady fields say that is not so."""
    first: dict[int, dict[str, Any]] = {}
    by_codes: dict[tuple[Codes, int], dict[str, Any]] = {}
    seen: dict[int, int] = defaultdict(int)
    for batch, events in run:
        for row, fields in enumerate(events):
            number = int(batch.columns.behaviour[row])
            seen[number] += 1
            if seen[number] > MOST_EVENTS:
                continue
            b = view.behaviours.table[number]
            before = first.setdefault(number, fields)
            for name in steady_fields(request=int(b.kind) == Kind.REQUEST):
                if fields.get(name) != before.get(name):
                    yield f"{name} changes inside a behaviour: {before.get(name)!r}, {fields.get(name)!r}"
            if b.kind == Kind.RESPONSE:
                continue
            codes = Codes(int(b.protocol), int(b.kind), int(b.outcome), int(b.function), int(b.subfunction))
            known = codes.fields()
            for name in EXACT | CODES:
                if name in fields and fields[name] != known.get(name):
                    yield f"{name} is {fields[name]!r}, columns say {known.get(name)!r}"
            like = by_codes.setdefault((codes, int(b.station)), fields)
            for name in KEYED:
                if fields.get(name) != like.get(name):
                    yield f"{name} is not decided by codes: {like.get(name)!r}, {fields.get(name)!r}"


def test_columns_say_what_stands_in_code_fields_and_steady_fields_do_not_change() -> None:
    for view, run in own():
        assert list(compare(view, run)) == []


@pytest.mark.captures
@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/captures is not on this machine")
def test_the_same_holds_in_captures_of_others() -> None:
    compared = 0
    for folder in sorted(path for path in SHARED.iterdir() if path.is_dir()):
        for case in sorted(folder.iterdir())[::6]:
            for path in case.glob("capture.pcap*"):
                if path.stat().st_size < 150_000:
                    view, run = described(Decoder(), open_capture(path))
                    assert list(compare(view, run)) == [], path
                    compared += sum(batch.size for batch, _ in run)
    assert compared > 1500


def test_the_lists_name_fields_of_the_schema() -> None:
    assert set(FIELDS) >= steady.STEADY_REQUEST | steady.STEADY | steady.KEYED


def test_a_flood_of_distinct_requests_is_rationed_and_what_was_not_looked_at_is_counted() -> None:
    view, run = next(it for it in own() if any(batch.size for batch, _ in it[1]))
    matcher = Matcher([rule("by.object", ["exists", "source.ip", True])])
    matcher._ration.left = matcher._ration.burst = 2
    for batch, _ in run:
        matcher.observe(view, batch, 0)
    assert matcher.unseen["by.object"] == len(view.behaviours) - 2
    assert sum(bool(matcher.numbers(row)) for row in range(len(view.behaviours))) == 2
