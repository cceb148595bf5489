"""All matches of one rule between one source and destination, and the words in which they are told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.finding import Finding, Severity, Text
from detectors.problem import Problem
from detectors.sigma.rule import Aggravation, SigmaRule
from detectors.sigma.tree import Predicate
from detectors.wording import fill, names

MAX_DISTINCT = 64  # values of one field remembered to be named in the text
PATIENCE_NS = 10**9  # how long the answer may take before we speak without it
AT_ONCE_NS = 10 * 10**9  # what is undone so soon was a step of some procedure, as of a master that starts
TAKEN_BACK = Text(
    "几秒后即被撤销，这通常是正常流程的一步（例如主站启动）。",
    "It was taken back within seconds, which is usually a step of an ordinary procedure, such as a master's start.",
)


class Group:
    """See the module. asks: whether the matches are requests, of which is said what became of them."""

    def __init__(self, rule: SigmaRule, problem: Problem, *, asks: bool) -> None:
        self.rule, self.problem, self.asks = rule, problem, asks
        self._worse: list[Aggravation] = []
        self._values: dict[str, dict[Any, None]] = {
            name: {}
            for template in (rule.saw, rule.why, rule.check)
            for name in names(template.zh) + names(template.en)
            if "." in name
        }
        self._since_ns = 0  # first match that no record carries yet
        self.latest_ns = -1  # latest match of all

    def learn(self, fields: Mapping[str, Any], aggravations: Iterable[tuple[Aggravation, Predicate]]) -> None:
        """Remember the values that the text names, and what makes it worse."""
        for name, seen in self._values.items():
            got = fields.get(name)
            for value in got if isinstance(got, (list, tuple)) else [got]:
                if value is not None and len(seen) < MAX_DISTINCT:
                    seen[value] = None
        for aggravation, holds in aggravations:
            if (
                aggravation.product == self.rule.product
                and self.rule.kind in aggravation.classes
                and aggravation not in self._worse
                and holds(fields)
            ):
                self._worse.append(aggravation)

    def add(self, times: npt.NDArray[np.int64]) -> None:
        """Count matches at these times."""
        if not len(times):
            return
        first, last = int(times.min()), int(times.max())
        if not self.problem.open:
            self._since_ns = first
        self.latest_ns = max(self.latest_ns, last)
        self.problem.add(len(times), first, last)

    def taken_back(self, by: Group | None) -> bool:
        """Whether what matched last was undone at once. by: the matches of what undoes it, between the same two."""
        return by is not None and 0 <= by.latest_ns - self.latest_ns <= AT_ONCE_NS

    def waits(self, now_ns: int, asked: int, outcomes: int, by: Group | None = None) -> bool:
        """Whether it is too early to speak.

        Answers may still come: outcomes is how many of `asked` requests have one. Or it may still be undone.
        """
        if self.rule.taken_back and not self.taken_back(by) and now_ns - self.latest_ns < AT_ONCE_NS:
            return True
        return self.asks and self.rule.answers and outcomes < asked and now_ns - self._since_ns < PATIENCE_NS

    def record(self, now_ns: int, answered: int, refused: int, by: Group | None = None) -> Finding:
        """The record of what was counted since the last one. by: see `taken_back`."""
        severity = self.rule.severity
        notes = [_outcome(self.rule, self.problem.total, answered, refused)] if self.asks else []
        if self.taken_back(by):
            severity = min(severity, Severity.LOW)
            notes.append(TAKEN_BACK)
        for aggravation in self._worse:
            if (aggravation.unless_answered and answered) or refused < aggravation.refusals:
                continue
            severity = max(severity, aggravation.severity)
            notes.append(Text(fill(aggravation.note.zh, {}), fill(aggravation.note.en, {})))
        values: dict[str, Any] = {name: list(seen) for name, seen in self._values.items()}
        more = Text("".join(note.zh for note in notes), " ".join(note.en for note in notes if note.en))
        return self.problem.record(now_ns, values, more, Severity(severity))


def _outcome(rule: SigmaRule, count: int, answered: int, refused: int) -> Text:
    """What became of the requests."""
    if not rule.answers and not answered and not refused:
        times = Text("", "") if count == 1 else Text(f"共 {count} 次。", f"This happened {count} times.")
        return Text(
            times.zh + "按规约设备对此不作应答，因此从网络上看不出是否成功。",
            f"{times.en} The standard provides no answer, so success cannot be seen from the network.".strip(),
        )
    if count == 1:
        if refused:
            return Text("设备拒绝了该请求。", "The device refused.")
        if answered:
            return Text("设备接受了该请求。", "The device accepted it.")
        return Text("未见设备应答。", "No answer was seen.")
    silent = max(count - answered - refused, 0)
    zh = [f"接受 {answered} 次"] * bool(answered) + [f"拒绝 {refused} 次"] * bool(refused)
    en = [f"{answered} accepted"] * bool(answered) + [f"{refused} refused"] * bool(refused)
    if silent:
        zh.append(f"{silent} 次未见应答")
        en.append(f"{silent} without an answer")
    return Text(f"共 {count} 次请求：{'，'.join(zh)}。", f"Requests: {count}; {', '.join(en)}.")
