"""What `fenghuo rules` does: check content and say what a rule means."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from detectors import knowledge, span_advice
from detectors.content import ContentError, rules_folder
from detectors.finding import Text
from detectors.knowledge import Rule

SOMEBODY = {"source": Text("某主机", "some host"), "destination": Text("某设备", "some device")}


def content_files() -> list[Path]:
    """The content that is shipped."""
    folder = rules_folder()
    return [path for name in ("operations", "knowledge", "span") for path in sorted((folder / name).glob("*.yaml"))]


def check(paths: Sequence[Path]) -> Iterator[tuple[Path, int, ContentError | None]]:
    """(file, number of rules, error) of each file; one bad file says nothing about the others."""
    for path in paths:
        load = _LOADERS.get(path.parent.name, _operations)
        try:
            yield path, len(load(path)), None
        except ContentError as error:
            yield path, 0, error


def _operations(path: Path) -> dict[str, Rule]:
    return {operation.id: operation for operation in knowledge.load_operations(path).operations}


_LOADERS: Mapping[str, Callable[[Path], Mapping[str, object]]] = {
    "knowledge": knowledge.load_rules,
    "span": span_advice.load_file,
}


def explain(rule_id: str, lang: str) -> list[str]:
    """A rule or a fault of the mirror port in words, one line each; KeyError when there is none of this id."""
    if fault := span_advice.advice().get(rule_id):
        parts = (fault.name, Text(f"{fault.id} · {fault.severity.word}", f"{fault.id} · {fault.severity.word}"))
        return [text.zh if lang == "zh" else text.en for text in (*parts, fault.means, fault.do)]
    shipped: dict[str, Rule] = {it.id: it for known in knowledge.operations() for it in known.operations}
    rule = {**shipped, **knowledge.detector_rules()}[rule_id]
    said = rule.explain(SOMEBODY)
    techniques = ", ".join(rule.techniques) or "-"
    head = f"{rule.id} · {rule.severity.word} · {techniques}"
    return [rule.name.zh, head, said.zh] if lang == "zh" else [rule.name.en, head, said.en]
