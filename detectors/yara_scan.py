"""YARA over what was carved: each artifact is looked into once, in a jailed process, while the traffic goes on.

Catches what rules/yara/*.yar describe, in blocks and files put together from the wire. Blind to what is encrypted,
packed or incomplete where the rule needs the rest. Costs the sensor a queue: a process that hangs or crashes costs one
artifact, which is told.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from detectors import knowledge, yara_rules
from detectors.carving.artifact import Artifact
from detectors.carving.carver import problem_of, show
from detectors.contract import Scene
from detectors.finding import Finding, Text
from detectors.knowledge import Rule
from detectors.problem import Problem
from detectors.wording import listed, safe
from detectors.yara_jail import Jail, Verdict
from detectors.yara_rules import YaraRules

MAX_KNOWN = 4096  # artifacts of which the verdict is remembered
MAX_PROBLEMS = 1024
WAIT_AT_END_S = 60.0  # for what is still looked into when the traffic has ended
PAUSE_S = 0.05  # of real time between two looks for verdicts


class Scanner(Protocol):
    """What looks into artifacts: detectors/yara_jail.py, or somebody who may start it."""

    def submit(self, ticket: int, externals: Mapping[str, Any], data: bytes) -> bool:
        """See Jail."""
        ...

    def verdicts(self, wait_s: float = 0.0) -> list[Verdict]:
        """See Jail."""
        ...

    def close(self) -> None:
        """See Jail."""
        ...


class YaraScan:
    """A watcher of detectors/carving: `artifact` takes one, `due` gives findings about those that are done."""

    def __init__(self, rules: YaraRules | None = None, jail: Scanner | None = None) -> None:
        """rules: those shipped unless given; read when the first artifact comes, as is the process started."""
        self._rules, self._jail = rules, jail
        self._tickets = 0
        self._pending: dict[int, tuple[Artifact, tuple[Any, ...]]] = {}
        self._known: OrderedDict[tuple[Any, ...], Verdict] = OrderedDict()
        self._problems: dict[tuple[str, ...], Problem] = {}
        self._next_look = 0.0
        self._told_broken = False
        self._texts = knowledge.detector_rules()

    def artifact(self, artifact: Artifact, scene: Scene) -> Iterator[Finding]:
        """Let an artifact be looked into."""
        if self._rules is None:
            self._rules = yara_rules.shipped()
        if self._jail is None:
            self._jail = Jail(self._rules.sources)
        if not self._told_broken:
            self._told_broken = True
            for error in self._rules.broken:
                yield self._trouble("yara.rule-broken", artifact, scene, safe(error, 300))
        key = (artifact.sha256, artifact.kind, artifact.name, artifact.to_device, artifact.complete)
        if key in self._known:
            yield from self._said(artifact, self._known[key], scene)
            return
        self._tickets += 1
        externals = {
            "kind": artifact.kind, "name": artifact.name, "protocol": artifact.protocol,
            "to_device": artifact.to_device, "complete": artifact.complete,
        }  # fmt: skip
        if self._jail.submit(self._tickets, externals, artifact.data):
            self._pending[self._tickets] = (artifact, key)
        else:
            yield self._trouble("yara.not-examined", artifact, scene, "too many wait")

    def due(self, scene: Scene, final: bool) -> Iterable[Finding]:
        """Findings about artifacts that were looked into since the last time; at the end, about all."""
        if self._jail is None or (not self._pending and not final):
            return
        now = time.monotonic()
        if now < self._next_look and not final:
            return
        self._next_look = now + PAUSE_S
        for verdict in self._jail.verdicts(WAIT_AT_END_S if final else 0.0):
            artifact, key = self._pending.pop(verdict.ticket)
            if not verdict.failure:
                self._known[key] = verdict
                if len(self._known) > MAX_KNOWN:
                    self._known.popitem(last=False)
            yield from self._said(artifact, verdict, scene)
        if final:
            for artifact, _ in self._pending.values():
                yield self._trouble("yara.not-examined", artifact, scene, "took too long")
            self._pending.clear()
            self._jail.close()
            self._jail = None

    def _said(self, artifact: Artifact, verdict: Verdict, scene: Scene) -> Iterator[Finding]:
        if verdict.failure:
            yield self._trouble("yara.not-examined", artifact, scene, verdict.failure)
            return
        assert self._rules is not None
        for name, strings in verdict.matches:
            rule = self._rules.meaning.get(name)
            if rule is not None:
                problem = self._problem(rule, artifact, scene)
                yield self._record(problem, artifact, scene, {}, _proof(artifact, name, strings))

    def _trouble(self, rule_id: str, artifact: Artifact, scene: Scene, why: str) -> Finding:
        problem = self._problem(self._texts[rule_id], artifact, scene)
        return self._record(problem, artifact, scene, {"seen": _WHY.get(why, why)})

    def _record(
        self, problem: Problem, artifact: Artifact, scene: Scene, values: dict[str, Any], more: Text = knowledge.NOTHING
    ) -> Finding:
        show(problem, artifact, scene)
        problem.add(1, artifact.first_ns, artifact.last_ns)
        return problem.record(scene.now_ns, {"artifact": artifact.name, **values}, more)

    def _problem(self, rule: Rule, artifact: Artifact, scene: Scene) -> Problem:
        key: tuple[str, ...] = (rule.id, artifact.source, artifact.destination, artifact.kind, artifact.name)
        if key not in self._problems:
            if len(self._problems) >= MAX_PROBLEMS:
                key = (rule.id,)
            if key not in self._problems:
                self._problems[key] = problem_of(rule, artifact, scene)
        return self._problems[key]


_WHY = {
    "crashed": Text("检查进程崩溃", "the examining process crashed"),
    "took too long": Text("检查超时", "it took too long"),
    "too many wait": Text("等待检查的过多", "too many were waiting"),
}


def _proof(artifact: Artifact, name: str, strings: tuple[tuple[str, int], ...]) -> Text:
    """What a match can be checked against: hash, length, rule, and where its strings stand; never what they hold."""
    places = listed([f"{safe(string, 40)} @ {place}" for string, place in strings])
    gaps = Text("", "")
    if not artifact.complete:
        gaps = Text("内容不完整。", " It is incomplete.")
    at = Text(f"，位置 {places}" if places else "", f", at {places}" if places else "")
    zh = f"SHA-256 为 {artifact.sha256}，{len(artifact.data)} 字节，规则 {name}{at.zh}"
    en = f"Its SHA-256 is {artifact.sha256}, {len(artifact.data)} octets; rule {name}{at.en}"
    return Text(f"{zh}。{gaps.zh}", f"{en}.{gaps.en}")
