"""What `fenghuo rules` does: check content, run its samples, and say what a rule means."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from pathlib import Path

from detectors import knowledge, span_advice, yara_rules
from detectors.content import ContentError, rules_folder
from detectors.finding import Text
from detectors.knowledge import Rule
from detectors.scorecard.truth import Meaning
from detectors.sigma.rule import Broken, Correlation, SigmaRule
from detectors.sigma.ruleset import compile_folders, shipped
from detectors.sigma.sample_run import run, told, verdict
from detectors.sigma.samples import Sample, load_samples
from detectors.sigma.words import in_words

SOMEBODY = {"source": Text("某主机", "some host"), "destination": Text("某设备", "some device")}

Checked = tuple[Path, int, Sequence[Broken], Sequence[Broken]]


def check(paths: Sequence[Path]) -> Iterator[Checked]:
    """(file or folder, number of rules, what is wrong, what is doubtful) of each; by default of what is shipped."""
    if not paths:
        folder = rules_folder()
        yield _folder(folder)
        for name in knowledge.DETECTOR_FILES:
            yield _file(folder / "knowledge" / f"{name}.yaml")
        for name in _LOADERS:
            for path in sorted((folder / name).glob("*.yaml")):
                yield _file(path)
        for path in sorted((folder / "yara").glob("*.yar")):
            yield _file(path)
    for path in paths:
        if not path.exists():
            yield path, 0, [Broken(str(path), 0, 0, "there is no such file or folder")], ()
        elif path.is_dir():
            yield _folder(path)
        else:
            yield _sigma_file(path) if path.suffix == ".yml" else _file(path)


def _folder(path: Path) -> Checked:
    from detectors.sigma.advice import advise

    found = compile_folders([path])
    advice = list(advise(path, found))
    wrong = [*found.broken, *(it.place for it in advice if it.fault)]
    return path, len(found.rules) + len(found.correlations), wrong, [it.place for it in advice if not it.fault]


def _sigma_file(path: Path) -> Checked:
    """One file of rules; correlations of rules in other files cannot be judged alone."""
    from detectors.sigma.parse import parse_file

    found = list(parse_file(path, {}))
    wrong = [it for it in found if isinstance(it, Broken)]
    return path, len(found) - len(wrong), wrong, ()


def _file(path: Path) -> Checked:
    if path.suffix in (".yar", ".yara"):
        count, broken = yara_rules.check(path)
        return path, count, [Broken(error.path, error.line, 0, error.why) for error in broken], ()
    load = _LOADERS.get(path.parent.name, knowledge.load_rules)
    try:
        return path, len(load(path)), (), ()
    except ContentError as error:
        return path, 0, [Broken(error.path, error.line, 0, error.why)], ()


def try_samples(names: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """(rule, what is wrong with it or its samples) of the rules named, or of all that are shipped.

    KeyError for a name that no rule has; ContentError where samples cannot be read.
    """
    rules = shipped()
    known = {rule.id for rule in (*rules.rules, *rules.correlations)}
    if unknown := [name for name in names if name not in known]:
        raise KeyError(unknown[0])
    samples = load_samples(rules_folder() / "samples")
    wanted = list(names) or told(rules)
    chosen: list[Sample] = [sample for name in wanted for sample in samples.get(name, ())]
    given = run(chosen, rules)
    said: dict[str, list[str]] = {name: [] for name in wanted}
    for name in wanted:
        for matches, words in ((True, "must match"), (False, "must not match")):
            if not any(sample.matches == matches for sample in samples.get(name, ())):
                said[name].append(f"{name}: has no sample that it {words}: write one in {rules_folder() / 'samples'}")
    for sample, found in zip(chosen, given, strict=True):
        if why := verdict(sample, found):
            said[sample.rule].append(why)
    yield from said.items()


_LOADERS: Mapping[str, Callable[[Path], Sized]] = {
    "span": span_advice.load_file,
    "score": lambda path: Meaning([path]),
}


def explain(rule_id: str, lang: str) -> list[str]:
    """A rule or a fault of the mirror port in words, one line each; KeyError when there is none of this id."""
    if fault := span_advice.advice().get(rule_id):
        parts = (fault.name, Text(f"{fault.id} · {fault.severity.word}", f"{fault.id} · {fault.severity.word}"))
        return [text.zh if lang == "zh" else text.en for text in (*parts, fault.means, fault.do)]
    sigma: dict[str, Rule] = {it.id: it for it in (*shipped().rules, *shipped().correlations)}
    yara: dict[str, Rule] = {it.id: it for it in yara_rules.shipped().meaning.values()}
    rule = {**sigma, **knowledge.detector_rules(), **yara}[rule_id]
    zh = lang == "zh"
    said = rule.explain(SOMEBODY)
    techniques = ", ".join(rule.techniques) or "-"
    lines = [rule.name.zh if zh else rule.name.en, f"{rule.id} · {rule.severity.word} · {techniques}"]
    lines.append(said.zh if zh else said.en)
    if isinstance(rule, SigmaRule):
        lines += ["", "匹配条件：" if zh else "Matches where", *in_words(rule.condition, lang, 1)]
    if isinstance(rule, Correlation):
        lines += ["", *_correlation(rule, zh=zh)]
    if isinstance(rule, (SigmaRule, Correlation)):
        known = rule.false_positives.zh if zh else rule.false_positives.en
        lines += ["", ("常见的正常情况：" if zh else "Ordinary causes: ") + (known or "-")]
        samples: Sequence[Sample] = load_samples(rules_folder() / "samples").get(rule.id, [])
        for matches, words in ((True, Text("匹配", "matches")), (False, Text("不匹配", "does not match"))):
            titles = "; ".join(sample.title for sample in samples if sample.matches == matches)
            lines.append(f"{'样例，' if zh else 'Sample that it '}{words.zh if zh else words.en}：{titles or '-'}" if zh
                         else f"Sample that it {words.en}: {titles or '-'}")  # fmt: skip
        lines.append(f"{'文件' if zh else 'File'}: {rule.path}")
    return lines


def _correlation(rule: Correlation, *, zh: bool) -> list[str]:
    groups = ", ".join(rule.group_by) or ("全部" if zh else "everything")
    seconds = rule.window_ns // 10**9
    what = f"{rule.type} {rule.operator} {rule.count}" + (f" {rule.value_field}" if rule.value_field else "")
    head = f"{seconds} 秒内，按 {groups} 分组：{what}，规则：" if zh else f"Within {seconds} s, by {groups}: {what}, of"
    return [head, *(f"  {name}" for name in rule.rules)]
