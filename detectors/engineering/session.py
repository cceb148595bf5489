"""A session of engineering: its steps in order, what they touched, and how it ended."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from detectors.engineering import steps as s
from detectors.engineering.steps import Step
from detectors.evidence import Exhibit
from detectors.finding import Finding, Severity, Text
from detectors.problem import Problem
from detectors.wording import listed

GAP_NS = 300 * 10**9  # of rest after which the next step begins another operation: an engineer reads, then goes on
LEAD_NS = 120 * 10**9  # before the first core step: looking at the program belongs to changing it
MAX_PARTS = 512  # different (step, block) of one operation kept apart; the rest are counted for each step
MAX_NAMED = 12  # blocks of one step that a sentence names

# Which name an operation has: that of the first row one of whose steps it has. Rules: rules/knowledge/engineering.yaml.
# A download brings stops and starts along; where one of the later rows mixes with another it is a session of its own.
_NAMES: tuple[tuple[str, frozenset[Step]], ...] = (
    ("engineering.program-download", frozenset({s.DOWNLOAD})),
    ("engineering.memory-reset", frozenset({s.MEMORY_RESET})),
    ("engineering.program-change", frozenset({s.DELETE, s.ACTIVATE})),
    ("engineering.configuration-change", frozenset({s.RESTORE, s.SAVE, s.ENABLE})),
    ("engineering.file-transfer", frozenset({s.FILE_WRITE, s.FILE_DELETE})),
    ("engineering.program-upload", frozenset({s.UPLOAD, s.BACKUP})),
    ("engineering.start-stop", frozenset({s.STOP, s.START, s.COLD_START, s.RESTART})),
    ("engineering.memory", frozenset({s.COPY_TO_ROM, s.COMPRESS})),
    ("engineering.file-transfer", frozenset({s.FILE_READ})),
)
_UNMIXED = 5  # from this row on
MIXED = "engineering.session"
_FILES = (s.FILE_READ, s.FILE_WRITE, s.FILE_DELETE)


@dataclass(slots=True)
class Part:
    """One step on one object (block, file; "" for none): how often it was asked and what became of it."""

    step: Step
    object: str
    count: int = 0
    answered: int = 0
    refused: int = 0
    first_ns: int = 0
    last_ns: int = 0


@dataclass(slots=True)
class Session:
    """Steps of one engineering host on one controller, no two further apart than GAP_NS.

    first_ns, last_ns: of what counts. told: fingerprint of the finding that the first core step was told by.
    folded: fingerprints of the findings that are part of it. problem: None until it is an operation of several steps.
    """

    parts: dict[tuple[str, str], Part] = field(default_factory=dict)
    first_ns: int = 0
    last_ns: int = 0
    core_ns: int = -1
    told: str = ""
    natural: str = ""
    told_count: int = 0
    folded: dict[str, None] = field(default_factory=dict)
    severity: Severity = Severity.INFORMATIONAL
    techniques: dict[str, None] = field(default_factory=dict)
    problem: Problem | None = None
    said: frozenset[str] = frozenset()  # steps that a record has told
    exhibit: Exhibit | None = None
    changes: dict[str, str] = field(default_factory=dict)  # block -> "1a2b… → 3c4d…"
    more: int = 0  # requests about blocks beyond MAX_PARTS

    def step(self, step: Step, objects: Iterable[str], count: int, first_ns: int, last_ns: int) -> None:
        """Count requests of a step."""
        if not self.parts:
            self.first_ns = first_ns
        if step.core and self.core_ns < 0:
            self.core_ns = first_ns
        self.first_ns, self.last_ns = min(self.first_ns, first_ns), max(self.last_ns, last_ns)
        for name in tuple(objects) or ("",):
            key = (step.id, name)
            if key not in self.parts and len(self.parts) >= MAX_PARTS:
                key = (step.id, "")
                self.more += 1
            if key not in self.parts:
                self.parts[key] = Part(step, key[1], first_ns=first_ns)
                self.severity = max(self.severity, step.severity)
                self.techniques.update(dict.fromkeys(step.techniques))
            part = self.parts[key]
            part.count += count
            part.first_ns, part.last_ns = min(part.first_ns, first_ns), max(part.last_ns, last_ns)

    def outcome(self, step: Step, objects: Iterable[str], answered: int, refused: int) -> None:
        """Count answers to a step."""
        for name in tuple(objects) or ("",):
            part = self.parts.get((step.id, name)) or self.parts.get((step.id, ""))
            if part:
                part.answered += answered
                part.refused += refused

    def trim(self) -> None:
        """Forget what was looked at long before the first core step: constant polling is no preparation."""
        if self.core_ns >= 0:
            begin = self.core_ns - LEAD_NS
            self.parts = {key: it for key, it in self.parts.items() if it.last_ns >= begin}
            self.first_ns = max(self.first_ns, min((it.first_ns for it in self.parts.values()), default=begin), begin)

    @property
    def steps(self) -> dict[Step, list[Part]]:
        """Its steps with their parts, by the time of the first."""
        found: dict[Step, list[Part]] = {}
        for part in sorted(self.parts.values(), key=lambda it: it.first_ns):
            found.setdefault(part.step, []).append(part)
        return found

    @property
    def several(self) -> bool:
        """Whether it is more than one operation repeated: two different core steps."""
        tried = [it for it in self.parts.values() if it.step.core]
        # That a device knows no files is what somebody learns who tries every function of it.
        done = [it for it in tried if it.step not in _FILES or it.answered or not it.refused]
        return len({it.step.id for it in done}) >= 2

    @property
    def rule_id(self) -> str:
        """Its name, by its steps."""
        have = self.steps
        rows = [row for row, (_, steps) in enumerate(_NAMES) if steps & have.keys()]
        if not rows or (rows[0] >= _UNMIXED and len(rows) > 1):
            return MIXED
        return _download(have) if rows[0] == 0 else _NAMES[rows[0]][0]

    @property
    def rules(self) -> frozenset[str]:
        """Last parts of the ids of the operation rules that its steps stand for."""
        return frozenset().union(*(step.rules for step in self.steps))

    def take(self, finding: Finding) -> None:
        """Make a finding of one step part of the operation."""
        self.folded[finding.fingerprint] = None
        for technique in finding.techniques:
            self.techniques[technique] = None
        self.severity = max(self.severity, finding.severity)

    def words(self) -> dict[str, Any]:
        """What the texts of the rules name."""
        seconds = max(self.last_ns - self.first_ns, 0) / 1e9
        return {"duration": Text(_duration(seconds, "zh"), _duration(seconds, "en"))}

    def told_steps(self) -> Text:
        """The steps in order with what they touched, the result, and which blocks changed."""
        zh, en = zip(*(_said(step, parts) for step, parts in self.steps.items()), strict=True)
        result = self._result()
        changed = listed([f"{name} {change}" for name, change in self.changes.items()])
        return Text(
            f"步骤：{'，'.join(zh)}。{result.zh}。"
            + (f"另有 {self.more} 次请求涉及更多的块。" if self.more else "")
            + (f"内容有变（SHA-256）：{changed}。" if changed else ""),
            f"Steps: {'; '.join(en)}. {result.en}."
            + (f" {self.more} requests were about still more blocks." if self.more else "")
            + (f" Changed (SHA-256): {changed}." if changed else ""),
        )

    def _result(self) -> Text:
        core = [it for it in self.parts.values() if it.step.core]
        asked, refused = sum(it.count for it in core), sum(it.refused for it in core)
        answered = sum(it.answered for it in core)
        if refused and not answered:
            return Text("设备全部拒绝", "The device refused everything")
        if refused:
            return Text(
                f"设备拒绝了 {asked} 次请求中的 {refused} 次", f"The device refused {refused} of {asked} requests"
            )
        if answered:
            return Text("设备接受了请求", "The device accepted the requests")
        return Text("未见设备应答，看不出是否成功", "No answer was seen, so success cannot be told")


def _download(have: dict[Step, list[Part]]) -> str:
    """System data blocks hold the hardware configuration; the other kinds are program and data."""
    names = [part.object for part in have[s.DOWNLOAD] if part.object]
    system = [name.startswith("SDB") for name in names]
    return "engineering.hardware-download" if names and all(system) else "engineering.program-download"


def _said(step: Step, parts: list[Part]) -> tuple[str, str]:
    named = [part.object for part in parts if part.object and step.core]
    names, count = listed(named, limit=MAX_NAMED), sum(part.count for part in parts)
    times = f" ×{count}" if count > 1 and not names else ""
    return f"{step.name.zh}{times}" + (f" {names}" if names else ""), f"{step.name.en}{times}" + (
        f" of {names}" if names else ""
    )


def _duration(seconds: float, lang: str) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes:
        return f" {minutes} 分 {rest} 秒" if lang == "zh" else f"{minutes} min {rest} s"
    if seconds >= 1:
        return f" {seconds:.0f} 秒" if lang == "zh" else f"{seconds:.0f} s"
    return "不到 1 秒" if lang == "zh" else "less than 1 s"


def later_name(natural: str, generation: int) -> str:
    """Fingerprint of a problem whose natural one stands for an operation that is over."""
    return hashlib.sha256(f"{natural}|{generation}".encode()).hexdigest()[:32]
