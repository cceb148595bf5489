"""Every rule has samples; it matches those that it must match, and none of its near misses."""

from __future__ import annotations

from collections import Counter

import pytest

from detectors.content import rules_folder
from detectors.sigma.ruleset import shipped
from detectors.sigma.sample_run import run, told, verdict
from detectors.sigma.samples import Sample, load_samples


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return [sample for found in load_samples(rules_folder() / "samples").values() for sample in found]


def rule_names() -> set[str]:
    names = set(told(shipped()))
    assert len(names) >= 60
    return names


def test_every_rule_has_a_sample_of_each_kind_and_no_sample_is_of_no_rule(samples: list[Sample]) -> None:
    have = Counter((sample.rule, sample.matches) for sample in samples)
    assert {rule for rule in rule_names() if not (have[rule, True] and have[rule, False])} == set()
    assert {sample.rule for sample in samples} - rule_names() == set()


def test_every_rule_matches_what_it_must_and_no_near_miss(samples: list[Sample]) -> None:
    given = run(samples, shipped())
    wrong = [said for sample, found in zip(samples, given, strict=True) if (said := verdict(sample, found))]
    assert not wrong, "\n".join(wrong)
