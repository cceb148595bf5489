"""Cases: problems by key, bounded, for detectors that follow many pairs of hosts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator
from typing import Any

from detectors import knowledge
from detectors.contract import Scene
from detectors.finding import Finding, Severity
from detectors.problem import Problem
from detectors.wording import MAX_LISTED
from sensor.decode.recognise import PROMISES, spoken
from sensor.events import EventBatch

MAX_CASES = 4096  # told apart by one detector; a flood beyond is one case for each rule, which names nobody
PAUSE_NS = 10**9  # between two looks for records that are due, where no case is new


class Case:
    """One problem: its counts, what its sentence names, and a severity in place of the rule's."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.values: dict[str, Any] = {}
        self.severity: Severity | None = None


class Cases:
    """The cases of one detector. `say` gives the records that are due."""

    def __init__(self) -> None:
        self._rules = knowledge.detector_rules()
        self._cases: dict[tuple[str, Hashable], Case] = {}
        self._fresh = False
        self._said_ns = 0

    def __len__(self) -> int:
        return len(self._cases)

    def case(self, scene: Scene, rule_id: str, key: Hashable, **who: Any) -> Case:
        """The case of `key`, opened with these fields of Finding when it is new."""
        known = self._cases.get((rule_id, key))
        if known is None and len(self._cases) >= MAX_CASES:
            key, who = None, {"protocol": who["protocol"]}
            known = self._cases.get((rule_id, key))
        if known is None:
            known = Case(Problem(self._rules[rule_id], scene.exhibit(), **who))
            self._cases[rule_id, key] = known
            self._fresh = True
        return known

    def known(self, rule_id: str, key: Hashable) -> Case | None:
        """The case of `key`, where there is one already."""
        return self._cases.get((rule_id, key))

    def say(self, scene: Scene, *, final: bool) -> Iterator[Finding]:
        """Records of what was counted and not told yet, where they are due."""
        if not self._cases or not (final or self._fresh or not 0 <= scene.now_ns - self._said_ns < PAUSE_NS):
            return
        self._fresh, self._said_ns = False, scene.now_ns
        for case in self._cases.values():
            if case.problem.open and (final or case.problem.due(scene.now_ns)):
                yield case.problem.record(
                    scene.now_ns, {"protocol": case.problem.who["protocol"], **case.values}, severity=case.severity
                )


class CaseDetector(ABC):
    """A detector that says everything as cases."""

    def __init__(self) -> None:
        self._cases = Cases()

    def observe(self, batch: EventBatch, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        self._look(batch, scene)
        return self._cases.say(scene, final=False)

    def flush(self, scene: Scene) -> Iterator[Finding]:
        """See Detector."""
        self._finish(scene)
        return self._cases.say(scene, final=True)

    @abstractmethod
    def _look(self, batch: EventBatch, scene: Scene) -> None:
        """Count what a batch shows into cases."""

    def _finish(self, scene: Scene) -> None:  # noqa: B027 (most have nothing to look at any more)
        """Look at what is left when the traffic has ended."""


def examples(things: Iterable[object]) -> str:
    """The first few of many things, as a sentence lists them."""
    shown: list[str] = []
    for thing in things:
        if len(shown) == MAX_LISTED:
            return f"{', '.join(shown)}, …"
        shown.append(str(thing))
    return ", ".join(shown)


def carried(talk: Any) -> str:
    """What a row of the conversation table carries or promises by its port; otherwise its transport."""
    if talk.protocol or PROMISES.get(int(talk.promised)):
        return spoken(talk)
    return {6: "tcp", 17: "udp"}.get(int(talk.transport), "")
