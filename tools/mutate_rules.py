"""`make mutate`: are the rules as narrow as they say? One field of a sample is changed, and the rule must not match.

    python -m tools.mutate_rules [RULE...]       the rate, and every mutant that its rule still matches

For each sample that a rule must match, octets of the message are changed one at a time (and texts, and who speaks); the
real decoder says which fields that changed. A mutant counts where a field by which the rule selects has another legal
value, or where one by which it makes an exception becomes that. Where the rule lists the new value beside the old one
it is right to match again; those mutants are counted, and told apart. Of a correlation the messages of a kind change
together, and their times and hosts too.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from sigma.collection import SigmaCollection
from sigma.conditions import ConditionFieldEqualsValueExpression, ConditionNOT
from sigma.types import SigmaBool, SigmaNumber, SigmaString

from detectors.content import rules_folder
from detectors.sigma.ruleset import shipped
from detectors.sigma.sample_frames import frames, number_of
from detectors.sigma.sample_run import run
from detectors.sigma.samples import HOSTS, Sample, Step, load_samples
from detectors.sigma.tree import Predicate, predicate
from sensor.decode.decoder import Decoder

WANTED = 0.9  # of the mutants must not be matched any longer
VALUES = 8  # of one field in one sample; which ones follows from a hash, so that no field outweighs the others
TOGETHER = 4000  # mutants decoded at once
FLAWS = frozenset({"illegal", "unknown_function"})  # of a value that is not legal

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Named:
    """What a plain rule names: field -> values; `selects` for what it must be, `excepts` for what it must not."""

    selects: dict[str, frozenset[Any]]
    excepts: dict[str, frozenset[Any]]


@dataclass(frozen=True, slots=True)
class Part:
    """A plain rule: what it names, when it holds, and the values that it and its neighbours name."""

    named: Named
    holds: Predicate
    legal: frozenset[Any]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A sample with one field changed, from `old` to `new`. listed: the rule names the new value as well."""

    rule: str
    title: str
    field: str
    old: Any
    new: Any
    sample: Sample
    listed: bool = False

    def __str__(self) -> str:
        beside = ", which the rule lists" if self.listed else ""
        return f"{self.rule}: {self.title}: {self.field} {self.old!r} -> {self.new!r}{beside}"


@dataclass(frozen=True, slots=True)
class Rules:
    """Names of rules: what each plain one names, and which plain ones a correlation is over."""

    plain: dict[str, Named]
    correlations: dict[str, tuple[str, ...]]


def read_rules(folder: Path) -> Rules:
    """The rules of a folder, as pySigma understands them: not by the program that is tested."""
    plain: dict[str, Named] = {}
    correlations: dict[str, tuple[str, ...]] = {}
    names: dict[str, str] = {}
    for path in sorted(folder.rglob("*.yml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            name = document["name"]
            names[name] = names[document["id"]] = name
            if "correlation" in document:
                correlations[name] = tuple(document["correlation"]["rules"])
                continue
            (rule,) = SigmaCollection.from_dicts([document]).rules
            selects: dict[str, set[Any]] = defaultdict(set)
            excepts: dict[str, set[Any]] = defaultdict(set)
            for condition in rule.detection.parsed_condition:  # type: ignore[union-attr]
                _leaves(condition.parsed, selects, excepts)
            plain[name] = Named(
                {field: frozenset(values) for field, values in selects.items()},
                {field: frozenset(values) for field, values in excepts.items()},
            )
    return Rules(plain, {name: tuple(names[rule] for rule in of) for name, of in correlations.items()})


def _leaves(node: Any, selects: dict[str, set[Any]], excepts: dict[str, set[Any]]) -> None:
    if isinstance(node, ConditionFieldEqualsValueExpression):
        value = node.value
        plain = value.number if isinstance(value, SigmaNumber) else value.boolean if isinstance(value, SigmaBool) else (
            str(value) if isinstance(value, SigmaString) else None
        )  # fmt: skip
        selects[node.field].add(plain)
        return
    for inner in getattr(node, "args", ()):
        if isinstance(node, ConditionNOT):
            _leaves(inner, excepts, selects)
        else:
            _leaves(inner, selects, excepts)


def decoded(samples: Sequence[Sample]) -> list[list[Fields]]:
    """The events of each sample, in order."""
    found: list[list[Fields]] = [[] for _ in samples]
    for begin in range(0, len(samples), TOGETHER):
        decoder = Decoder()
        for batch in decoder.decode([frames(samples[begin : begin + TOGETHER])]):
            for row in range(batch.size):
                fields = decoder.view.fields(batch, row)
                found[begin + number_of(str(fields.get("source.ip") or fields.get("source.mac")))].append(fields)
    return found


def _values(fields: Fields, name: str) -> tuple[Any, ...]:
    """The values of a field, as a tuple that can be compared."""
    got = fields.get(name)
    return tuple(got) if isinstance(got, list) else () if got is None else (got,)


def _legal(fields: Fields) -> bool:
    return not FLAWS & set(fields.get("anomalies", ()))


def _octets(step: Step, legal: frozenset[Any]) -> Iterator[Step]:
    """The message with one octet changed, with one text changed, and said by the other side.

    legal: values that rules of this protocol name.
    """
    numbers = [value for value in legal if type(value) is int]
    texts = [value.encode() for value in legal if isinstance(value, str) and value.isascii() and "*" not in value]
    for place in ("body", "rest"):
        octets: bytes = getattr(step, place)
        for at, octet in enumerate(octets):
            others = {octet ^ 1 << bit for bit in range(8)} | {(octet + 1) & 255, (octet - 1) & 255}
            if at < 2:  # the codes stand at the beginning
                others |= {value for value in numbers if 0 <= value < 256} if len(octets) > 1 else set(range(256))
            for other in sorted(others - {octet}):
                yield dataclasses.replace(step, **{place: octets[:at] + bytes([other]) + octets[at + 1 :]})
        for old in texts:
            head = bytes([len(old)]) + old
            for new in texts if head in octets else ():
                yield dataclasses.replace(step, **{place: octets.replace(head, bytes([len(new)]) + new)})
    for name, value in step.options.items():
        for other in {value ^ 1, value ^ 2, *(number for number in numbers if 255 < number < 1 << 16)} - {value}:
            yield dataclasses.replace(step, options={**step.options, name: other})
    yield dataclasses.replace(step, asks=not step.asks, by_client=not step.by_client)


def mutants(
    rule: str, parts: Sequence[Part], sample: Sample, events: Sequence[Fields], *, together: bool
) -> list[Mutant]:
    """Mutants of a sample. parts: its rule, or the rules of its correlation. together: all alike change."""
    if len(events) != len(sample.steps):
        return []  # a message that is no event of its own: nothing could be said about which one changed
    made: list[tuple[Sample, int]] = []
    for part in parts:
        mine = [number for number, fields in enumerate(events) if part.holds(fields)]
        kinds: dict[tuple[int, bool, bytes], list[int]] = defaultdict(list)
        for number in mine:
            step = sample.steps[number]
            kinds[len(step.body), step.by_client, step.body[:1]].append(number)
        for alike in kinds.values() if together else [[number] for number in mine]:
            first = sample.steps[alike[0]]
            for changed in _octets(first, part.legal):
                edits = {alike[0]: changed}
                for number in alike[1:]:
                    edits[number] = _likewise(first, changed, sample.steps[number])
                left_out = set() if together else set(mine) - set(alike)
                steps = [
                    (number, edits.get(number, step))
                    for number, step in enumerate(sample.steps)
                    if number not in left_out
                ]
                at = next(place for place, (number, _) in enumerate(steps) if number == alike[0])
                made.append((dataclasses.replace(sample, steps=tuple(step for _, step in steps)), at))
    return _counted(rule, [part.named for part in parts], sample, made)


def _one(wanted: Any, got: Any) -> bool:
    if isinstance(wanted, str) and isinstance(got, str):
        parts = wanted.lower().strip("*")
        return parts in got.lower() if "*" in wanted else parts == got.lower()
    return bool(wanted == got)


def _likewise(before: Step, after: Step, step: Step) -> Step:
    """`step` changed as `before` was to become `after`."""

    def octets(old: bytes, new: bytes, own: bytes) -> bytes:
        if len(old) != len(new):
            return new
        return bytes(mine if one == other else other for one, other, mine in zip(old, new, own, strict=False))

    options = {
        name: after.options[name] if after.options[name] != before.options.get(name) else step.options.get(name, 0)
        for name in after.options
    }
    flipped = after.asks != before.asks
    return dataclasses.replace(
        step,
        body=octets(before.body, after.body, step.body),
        rest=octets(before.rest, after.rest, step.rest),
        options=options,
        asks=step.asks != flipped,
        by_client=step.by_client != flipped,
    )


def _counted(rule: str, named: Sequence[Named], sample: Sample, made: Sequence[tuple[Sample, int]]) -> list[Mutant]:
    """Those in which one field that is named has another value, and nothing else that is named."""
    (originals,) = decoded([sample])
    selects = {name: values for one in named for name, values in one.selects.items()}
    excepts = {name: values for one in named for name, values in one.excepts.items()}
    found: dict[tuple[str, tuple[Any, ...], tuple[Any, ...]], Mutant] = {}
    for (mutant, at), events in zip(made, decoded([it for it, _ in made]), strict=True):
        if len(events) != len(mutant.steps) or not _legal(events[at]):
            continue
        before = next(
            fields for step, fields in zip(sample.steps, originals, strict=True) if step.at_ns == mutant.steps[at].at_ns
        )
        for name in sorted({*selects, *excepts}, key=lambda it: (it == "event.action", it)):
            old, new = _values(before, name), _values(events[at], name)
            inside = any(_one(value, got) for value in (selects if name in selects else excepts)[name] for got in new)
            if old != new and (name in selects or inside):
                listed = inside and name in selects
                found.setdefault((name, old, new), Mutant(rule, sample.title, name, old, new, mutant, listed))
                break
    by_field: dict[str, list[Mutant]] = defaultdict(list)
    for mutant in sorted(found.values(), key=lambda it: hashlib.sha256(str(it).encode()).digest()):
        by_field[mutant.field].append(mutant)
    return [mutant for some in by_field.values() for mutant in some[:VALUES]]


def moved(rule: str, sample: Sample) -> Iterator[Mutant]:
    """Of a correlation: the same messages over a day each, and each from another host to another device."""
    day = 86_400 * 10**9
    slow = tuple(dataclasses.replace(step, at_ns=number * day) for number, step in enumerate(sample.steps))
    yield Mutant(rule, sample.title, "timespan", "as it is", "a day each", dataclasses.replace(sample, steps=slow))
    if len({(step.client, step.server) for step in sample.steps}) == 1 and len(sample.steps) < HOSTS:
        apart = tuple(
            dataclasses.replace(step, client=1 + number, server=1 + number) for number, step in enumerate(sample.steps)
        )
        yield Mutant(
            rule, sample.title, "group-by", "one pair", "each another", dataclasses.replace(sample, steps=apart)
        )


def make_mutants(names: Iterable[str] = ()) -> list[Mutant]:
    """Mutants of all samples that rules must match, or of those of some rules."""
    folder = rules_folder()
    rules = read_rules(folder / "sigma")
    wanted = set(names)
    found: list[Mutant] = []
    holds = {rule.id: predicate(rule.condition) for rule in shipped().rules}
    legal: dict[str, set[Any]] = defaultdict(set)
    for name, named in rules.plain.items():
        for values in (*named.selects.values(), *named.excepts.values()):
            legal[name.split(".")[1]] |= values
    parts = {
        name: Part(named, holds[name], frozenset(legal[name.split(".")[1]])) for name, named in rules.plain.items()
    }
    for rule, samples in load_samples(folder / "samples").items():
        if wanted and rule not in wanted:
            continue
        together = rule in rules.correlations
        of = [parts[one] for one in (rules.correlations[rule] if together else (rule,))]
        for sample in samples:
            if sample.matches and sample.steps:
                (events,) = decoded([sample])
                found += mutants(rule, of, sample, events, together=together)
                if together:
                    found += moved(rule, sample)
    return found


def survivors(some: Sequence[Mutant]) -> list[Mutant]:
    """Those that their rule still matches."""
    given = run([mutant.sample for mutant in some], shipped())
    return [mutant for mutant, found in zip(some, given, strict=True) if mutant.rule in found]


def main() -> int:
    """Exit codes: 0 the rate is reached, 1 it is not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rules", nargs="*", metavar="RULE")
    made = make_mutants(parser.parse_args().rules)
    left = survivors(made)
    for mutant in left:
        print(f"still matched: {mutant}")
    rate = 1 - len(left) / max(len(made), 1)
    rules, listed = len({mutant.rule for mutant in made}), sum(mutant.listed for mutant in left)
    print(
        f"{len(made)} mutants of the samples of {rules} rules: {rate:.1%} break the match; {len(left)} are "
        f"still matched, {listed} of them because the rule lists the new value too"
    )
    return 0 if made and rate >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
