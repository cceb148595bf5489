"""The score card: event recall, false alarms, labels, and the page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.content import ContentError
from detectors.finding import Severity, Text
from detectors.scorecard.card import card_of, jsonable
from detectors.scorecard.page import page
from detectors.scorecard.run import Score, batches, score, score_all
from detectors.scorecard.score import (
    MARGIN_NS,
    PAUSE_NS,
    Claim,
    Span,
    false_alarms,
    judge,
    ordinary_hours,
    uncounted,
)
from detectors.scorecard.truth import Attack, Case, Expected, Meaning, TruthError, Window, cases, shipped_meaning
from sensor.capture.source import open_capture

SCENARIOS = Path(__file__).resolve().parents[2] / "pcaps"
S = 10**9
NAME = Text("名", "name")
EXPECTED = Expected(NAME, NAME, techniques=frozenset({"T0855"}), least=Severity.LOW)

severities = st.sampled_from(list(Severity))
moments = st.integers(0, 100 * S)
claims_of_any_kind = st.lists(
    st.builds(
        Claim,
        rule=st.sampled_from(["a.b", "c.d"]),
        techniques=st.sampled_from([(), ("T0855",), ("T0816",)]),
        severity=severities,
        times=st.lists(moments, min_size=1, max_size=3).map(tuple),
        said_ns=st.one_of(st.just(-1), moments),
        fingerprint=st.sampled_from(["1", "2", "3"]),
    ),
    max_size=8,
)
spans = st.tuples(moments, moments).map(lambda it: Span(min(it), max(it)))


def claim(at_s: float, severity: Severity = Severity.MEDIUM, rule: str = "a.b", fingerprint: str = "1") -> Claim:
    """A fitting claim about one moment."""
    return Claim(rule, ("T0855",), severity, (round(at_s * S),), round(at_s * S), fingerprint)


def timed(span: Span) -> Attack:
    """An attack with a time."""
    return Attack(EXPECTED, Window(span.first_ns, span.last_ns))


@given(spans, claims_of_any_kind)
def test_an_attack_is_found_exactly_when_a_fitting_claim_rests_on_its_time(span: Span, claims: list[Claim]) -> None:
    fitting = [
        it
        for it in claims
        if "T0855" in it.techniques
        and it.severity >= Severity.LOW
        and any(span.first_ns - MARGIN_NS <= time <= span.last_ns + MARGIN_NS for time in it.times)
    ]
    verdict = judge(timed(span), span, claims)
    assert verdict.found == bool(fitting)
    assert verdict.severity == (max(it.severity for it in fitting) if fitting else None)


@given(spans, claims_of_any_kind, claims_of_any_kind)
def test_more_claims_never_lose_an_attack_nor_find_it_later(span: Span, some: list[Claim], more: list[Claim]) -> None:
    before, after = judge(timed(span), span, some), judge(timed(span), span, [*some, *more])
    assert after.found >= before.found
    if before.delay_s is not None:
        assert after.delay_s is not None
        assert 0 <= after.delay_s <= before.delay_s


@given(st.lists(spans, max_size=3), claims_of_any_kind)
def test_a_problem_is_one_false_alarm_at_most_and_never_rests_on_an_attack(
    held: list[Span], claims: list[Claim]
) -> None:
    case = Case(Path("x"), NAME, tuple(timed(span) for span in held), excused=("c.*",))
    wrong = false_alarms(case, held, claims)
    assert len({it.fingerprint for it in wrong}) == len(wrong)
    assert all(it.severity >= Severity.MEDIUM and it.rule == "a.b" for it in wrong)
    attacked = {it.fingerprint for it in claims if any(span.holds(time) for span in held for time in it.times)}
    assert not attacked & {it.fingerprint for it in wrong}
    loud = {it.fingerprint for it in claims if it.severity >= Severity.MEDIUM and it.rule == "a.b"}
    excused = {it.fingerprint for it in claims if it.rule == "c.d"}
    assert {it.fingerprint for it in wrong} == loud - attacked - excused


@given(st.lists(moments, max_size=30), st.lists(spans, max_size=3))
def test_ordinary_time_is_never_negative_nor_longer_than_the_capture(times: list[int], held: list[Span]) -> None:
    at = np.array(times, np.int64)
    hours = ordinary_hours(Case(Path("x"), NAME, tuple(timed(span) for span in held)), at, held)
    assert 0 <= hours <= (max(times) - min(times) if times else 0) / 3.6e12 + 1e-9
    assert ordinary_hours(Case(Path("x"), NAME, (Attack(EXPECTED),)), at, []) == 0


def test_a_pause_in_a_capture_is_no_time_of_watching() -> None:
    week = 7 * 86400 * S
    assert ordinary_hours(Case(Path("x"), NAME), np.array([0, week]), []) == pytest.approx(PAUSE_NS / 3.6e12)


def test_a_finding_outside_the_time_of_an_attack_earns_nothing_and_is_a_false_alarm() -> None:
    span = Span(50 * S, 60 * S)
    case = Case(Path("x"), NAME, (timed(span),))
    late = claim(80)
    assert not judge(case.attacks[0], span, [late]).found
    assert false_alarms(case, [span], [late, claim(55, fingerprint="2")]) == [late]


def test_a_problem_that_began_with_an_attack_and_goes_on_is_no_false_alarm() -> None:
    span = Span(50 * S, 60 * S)
    case = Case(Path("x"), NAME, (timed(span),))
    assert false_alarms(case, [span], [claim(55), claim(80)]) == []


def test_what_only_the_end_of_the_capture_brings_out_has_no_time_to_detect() -> None:
    span = Span(50 * S, 60 * S)
    at_end = Claim("a.b", ("T0855",), Severity.HIGH, (51 * S,), -1, "1")
    assert judge(timed(span), span, [at_end]).delay_s is None
    assert judge(timed(span), span, [at_end, claim(53)]).delay_s == 3
    assert judge(Attack(EXPECTED), span, [Claim("a.b", ("T0855",), Severity.LOW, (51 * S,), 55 * S, "1")]).delay_s == 4


def test_what_is_less_severe_than_expected_has_not_found_the_attack() -> None:
    span = Span(0, S)
    assert not judge(timed(span), span, [claim(0, Severity.INFORMATIONAL)]).found
    assert judge(timed(span), span, [claim(0, Severity.LOW)]).found


def test_an_operation_that_nobody_counted_is_told_apart_from_a_false_alarm() -> None:
    ours = [claim(1, rule="operation.mms.stop"), claim(1, rule="writer.new", fingerprint="2")]
    known, unknown = Case(Path("x"), NAME), Case(Path("y"), NAME, counted=False)
    assert [uncounted(unknown, it) for it in ours] == [True, False]
    assert not any(uncounted(known, it) for it in ours)
    card = card_of([Score(unknown, (), tuple(ours), 2.0)])
    assert (card.alarms(), list(card.uncounted), card.noisy, card.a_day()) == (1, ["operation.mms.stop"], 1, 12)


def test_the_card_counts_found_hidden_and_missed_apart() -> None:
    hidden = Attack(Expected(NAME, NAME, frozenset({"T0816"}), hidden=Text("看不见", "out of sight")))
    noted = Attack(Expected(NAME, Text("另", "other"), frozenset({"T0888"}), note=Text("尚未", "not yet")))
    span = Span(0, S)
    verdicts = (judge(timed(span), span, [claim(0)]), judge(timed(span), span, []), judge(hidden, span, []))
    card = card_of([Score(Case(Path("x"), NAME, (timed(span),)), verdicts)])
    (row,) = card.rows.values()
    assert (row.events, row.found, row.alarms, row.hidden, row.missed) == (3, 1, 1, 1, 1)
    assert card.techniques == {"T0855": [2, 1], "T0816": [1, 0]}
    text = page(card, card, "7.0.10")
    assert "out of sight" in text
    assert "1 (50 %)" in text
    assert "看不见" in page(card, lang="zh")
    assert "not yet" not in text
    assert "other: not yet" in page(card_of([Score(Case(Path("x"), NAME), (judge(noted, span, []),))]))


def test_a_manifest_with_windows_and_marked_frames_is_read(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "capture.pcap").write_bytes(b"")
    (tmp_path / "a" / "attack_windows.csv").write_text("start_epoch_utc,end_epoch_utc,attack\n1.5,2.5,nmap x\n")
    (tmp_path / "b" / "labels.csv").write_text("1;0\r\n2;1\r\n3;1\r\n4;0\r\n")
    entries = [
        {"file": "a/capture.pcap", "attack": "command injection", "protocol": "dnp3"},
        {"file": "b/capture.pcap", "attack": "rogue write: x", "protocol": "modbus"},
        {"file": "c/capture.pcap", "attack": "none", "protocol": "dnp3", "notable_operations": {"cold restart": 1}},
        {"file": "absent/capture.pcap", "attack": "none", "protocol": "dnp3"},
    ]
    (tmp_path / "manifest.json").write_text(json.dumps(entries))
    scanned, written, quiet = cases(tmp_path, shipped_meaning())
    assert [it.when for it in scanned.attacks] == [Window(1_500_000_000, 2_500_000_000)]
    assert [it.when for it in written.attacks] == [Window(2, 3, frames=True)]
    assert quiet.excuses("operation.dnp3.cold-restart")
    assert not quiet.excuses("writer.new")
    assert (scanned.counted, written.counted) == (True, False)


@pytest.mark.parametrize(
    "manifest",
    ["{", '[{"file": "../x", "attack": "none"}]', '[{"file": "x", "attack": "none"}]', '[{"attack": "none"}]', "[1]"],
)
def test_labels_that_cannot_be_used_are_named(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(TruthError, match=str(tmp_path.name)):
        cases(tmp_path, shipped_meaning())


def test_a_label_that_nobody_explained_leaves_its_capture_without_a_score(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(b"")
    entries = [{"file": "a.pcap", "attack": "sorcery", "protocol": "dnp3"}]
    (tmp_path / "manifest.json").write_text(json.dumps(entries))
    (case,) = cases(tmp_path, shipped_meaning())
    card = card_of([score(case)])
    assert (card.captures, card.quiet) == (0, 0)
    assert "sorcery" in page(card)


def test_a_mistake_in_the_meaning_of_labels_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "labels.yaml"
    path.write_text("labels:\n  - label: x\n    family: {zh: 甲, en: a}\n")
    with pytest.raises(ContentError, match=r"labels\.yaml:2"):
        Meaning([path])


def test_batches_hold_every_frame_once_and_little_time() -> None:
    path = SCENARIOS / "modbus" / "rogue_writer.pcap"
    times: list[np.ndarray] = []
    parts = list(batches(open_capture(path), times))
    whole = np.concatenate(times)
    assert len(parts) > 10
    assert np.array_equal(np.concatenate([part.ts_ns for part in parts]), whole)
    assert [part.first for part in parts] == (1 + np.cumsum([0, *(part.size for part in parts[:-1])])).tolist()
    assert all(np.ptp(part.ts_ns) <= 2 * S for part in parts)


def test_every_scenario_of_the_project_is_found_without_a_false_alarm() -> None:
    known = cases(SCENARIOS, shipped_meaning())
    scores = list(score_all(known, processes=1))
    card = card_of(scores)
    assert card.captures == len(known) > 30
    assert card.failed == []
    assert [line for it in scores for line in jsonable(it) if line.get("found") is False] == []
    assert card.wrong == {}
    assert card.events > 30


def test_a_capture_that_cannot_be_read_has_no_score_and_says_why(tmp_path: Path) -> None:
    got = score(Case(tmp_path / "absent.pcap", NAME))
    assert "no such file" in got.failed
    assert card_of([got]).captures == 0
    assert "absent.pcap" in page(card_of([got]))
