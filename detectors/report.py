"""Findings as text for people: on a terminal wrapped and coloured, in a pipe one paragraph a line."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TextIO

from rich.console import Console
from rich.padding import Padding
from rich.text import Text as Styled

from detectors.finding import Finding, Severity, Text, rfc3339
from detectors.language import language as language  # commands take it from here
from detectors.problem import station_words
from detectors.wording import safe

FRAMES_SHOWN = 12

SEVERITIES: Mapping[Severity, tuple[Text, str]] = {  # words, and a style that is never the only mark
    Severity.CRITICAL: (Text("严重", "CRITICAL"), "bold white on red"),
    Severity.HIGH: (Text("高", "HIGH"), "bold red"),
    Severity.MEDIUM: (Text("中", "MEDIUM"), "bold yellow"),
    Severity.LOW: (Text("低", "LOW"), "cyan"),
    Severity.INFORMATIONAL: (Text("提示", "INFO"), "dim"),
}


class Report:
    """Writes findings in one language. `out` is a text stream, standard output unless given."""

    def __init__(self, lang: str, out: TextIO | None = None) -> None:
        self._lang = lang
        out = out or sys.stdout
        # Nothing from a finding is markup, and a pipe gets whole paragraphs: its reader wraps them.
        self._wraps = out.isatty()
        self._console = Console(file=out, highlight=False, markup=False, emoji=False, soft_wrap=not self._wraps)

    def _say(self, text: Text) -> str:
        return text.zh if self._lang == "zh" else text.en

    def title(self, path: str) -> None:
        """Which capture the following is about."""
        self._console.print(Styled(f"== {safe(path, 4096)}", style="bold"))

    def finding(self, it: Finding) -> None:
        """One finding: severity, time, who and whom, what, the paragraph, the frames."""
        word, style = SEVERITIES[it.severity]
        head = Styled(self._say(word), style=style)
        when = rfc3339(it.first_ns)[:19].replace("T", " ") + " UTC"
        head.append(f"  {when}", style="default")
        if it.source_ip or it.destination_ip:
            whom = it.destination_ip or "?"
            if station := station_words(it.protocol, it.station):
                whom += f" ({self._say(station)})"
            head.append(f"  {it.source_ip or '?'} -> {whom}", style="default")
        head.append(f"  {self._say(it.rule_name)}", style="bold")
        self._console.print(head)
        self._indented(self._say(it.explanation))
        tail = [it.rule_id, *it.techniques]
        if it.count > 1:
            tail.append(self._say(Text(f"{it.count} 次", f"{it.count} times")))
        if frames := it.evidence.frames:
            shown = ", ".join(map(str, frames[:FRAMES_SHOWN])) + (" ..." if len(frames) > FRAMES_SHOWN else "")
            tail.append(self._say(Text(f"帧 {shown}", f"frames {shown}")))
        if it.risk is not None and not it.risk.plain:
            self._indented(self._say(it.risk.equation))
        elif it.risk is not None:
            tail.append(self._say(Text(f"风险 {it.risk.score:g}", f"risk {it.risk.score:g}")))
        self._indented(" · ".join(tail), "dim")
        self._console.print()

    def summary(self, findings: Sequence[Finding], frames: int, events: int) -> None:
        """One line: how many of each severity, in how much traffic; plainly, where there is nothing."""
        traffic = Text(f"共 {frames} 帧，{events} 个协议报文", f"{frames} frames, {events} protocol messages")
        if not events:
            traffic = Text(
                f"共 {frames} 帧，没有 Modbus、S7comm 或 DNP3 报文",
                f"{frames} frames, no message of Modbus, S7comm or DNP3 among them",
            )
        if not findings:
            said = self._say(Text("未发现问题", "nothing found"))
        else:
            counts = Counter(it.severity for it in findings)
            parts = [f"{self._say(SEVERITIES[s][0])} {counts[s]}" for s in SEVERITIES if counts[s]]
            said = self._say(Text("发现：", "found: ")) + self._say(Text("，", ", ")).join(parts)
        self._console.print(
            Styled(f"{said} ({self._say(traffic)})" if self._lang == "en" else f"{said}（{traffic.zh}）")
        )

    def _indented(self, text: str, style: str = "default") -> None:
        if self._wraps:
            self._console.print(Padding(Styled(text, style=style), (0, 0, 0, 4)))
        else:
            self._console.print(Styled(f"    {text}", style=style))
