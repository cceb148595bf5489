"""What `fenghuo rules` does: check content and say what a rule means."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from pathlib import Path

from detectors import knowledge, span_advice, yara_rules
from detectors.content import ContentError, rules_folder
from detectors.finding import Text
from detectors.knowledge import Rule
from detectors.scorecard.truth import Meaning
from detectors.sigma.rule import Broken
from detectors.sigma.ruleset import compile_folders, shipped

SOMEBODY = {"source": Text("某主机", "some host"), "destination": Text("某设备", "some device")}


def check(paths: Sequence[Path]) -> Iterator[tuple[Path, int, Sequence[Broken]]]:
    """(file or folder, number of rules, what is wrong) of each; by default of what is shipped."""
    if not paths:
        folder = rules_folder()
        yield from _folder(folder)
        for name in knowledge.DETECTOR_FILES:
            yield from _file(folder / "knowledge" / f"{name}.yaml")
        for name in _LOADERS:
            for path in sorted((folder / name).glob("*.yaml")):
                yield from _file(path)
        for path in sorted((folder / "yara").glob("*.yar")):
            yield from _file(path)
    for path in paths:
        yield from _folder(path) if path.is_dir() else _file(path)


def _folder(path: Path) -> Iterator[tuple[Path, int, Sequence[Broken]]]:
    found = compile_folders([path])
    yield path, len(found.rules) + len(found.correlations), found.broken


def _file(path: Path) -> Iterator[tuple[Path, int, Sequence[Broken]]]:
    if path.suffix in (".yar", ".yara"):
        count, broken = yara_rules.check(path)
        yield path, count, [Broken(error.path, error.line, 0, error.why) for error in broken]
        return
    load = _LOADERS.get(path.parent.name, knowledge.load_rules)
    try:
        yield path, len(load(path)), ()
    except ContentError as error:
        yield path, 0, [Broken(error.path, error.line, 0, error.why)]


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
    said = rule.explain(SOMEBODY)
    techniques = ", ".join(rule.techniques) or "-"
    head = f"{rule.id} · {rule.severity.word} · {techniques}"
    return [rule.name.zh, head, said.zh] if lang == "zh" else [rule.name.en, head, said.en]
