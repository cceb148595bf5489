"""The mutation run of the rules: a share of what `make mutate` does, and proof that it sees a rule that is too wide."""

from __future__ import annotations

import dataclasses
import zlib

import pytest

from detectors.sigma.ruleset import shipped
from detectors.sigma.tree import all_of
from tools import mutate_rules

SHARE = 8  # every so-manieth rule
NARROW = "operation.modbus.force-listen-only"


def test_changing_one_field_of_a_sample_breaks_the_match() -> None:
    some = [rule.id for rule in shipped().rules if zlib.crc32(rule.id.encode()) % SHARE == 0]
    made = mutate_rules.make_mutants([*some, NARROW])
    left = mutate_rules.survivors(made)
    assert {mutant.rule for mutant in made} == {*some, NARROW}, "a rule without mutants was not tested"
    assert len(left) <= (1 - mutate_rules.WANTED) * len(made), "\n".join(map(str, left))


def test_a_rule_that_is_wider_than_it_says_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    made = mutate_rules.make_mutants([NARROW])
    assert {"modbus.subfunction_code", "modbus.function_code", "event.kind"} <= {mutant.field for mutant in made}
    assert mutate_rules.survivors(made) == []
    (rule,) = (rule for rule in shipped().rules if rule.id == NARROW)
    wide = all_of([part for part in rule.condition[1:] if part[1] != "modbus.subfunction_code"])
    loose = dataclasses.replace(shipped(), rules=(dataclasses.replace(rule, condition=wide),), correlations=())
    monkeypatch.setattr(mutate_rules, "shipped", lambda: loose)
    assert {mutant.field for mutant in mutate_rules.survivors(made)} == {"modbus.subfunction_code"}
