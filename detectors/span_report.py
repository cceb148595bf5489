"""The verdict on a mirror port as text: a small table of what was seen, then each fault with what to do about it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.padding import Padding
from rich.text import Text as Styled

from detectors.finding import Text
from detectors.report import SEVERITIES
from detectors.span_advice import Advice, advice, settings
from detectors.wording import safe
from sensor.span.fault import Fault

FEW_FRAMES = 100  # below that a healthy look says little
LISTED = 8  # VLANs, protocols and tunnels named in the table


class SpanReport:
    """Writes verdicts in one language. `out` is a text stream, standard output unless given."""

    def __init__(self, lang: str, out: TextIO | None = None) -> None:
        self._lang = lang
        out = out or sys.stdout
        self._wraps = out.isatty()  # a pipe gets whole paragraphs: its reader wraps them
        self._console = Console(file=out, highlight=False, markup=False, emoji=False, soft_wrap=not self._wraps)

    def verdict(self, source: str, figures: Mapping[str, Any], faults: Sequence[Fault]) -> None:
        """One capture or interface: what was seen, then what is wrong, the worst first."""
        self._console.print(Styled(f"== {safe(source, 4096)}", style="bold"))
        for name, value in _rows(figures):
            self._console.print(Styled(f"  {_padded(self._say(name))}", style="dim").append(self._say(value)))
        self._console.print()
        known = advice()
        for fault in sorted(faults, key=lambda it: -known[it.id].severity):
            self._fault(known[fault.id], fault)
        self._console.print(self._summary(figures, faults))

    def _fault(self, known: Advice, fault: Fault) -> None:
        word, style = SEVERITIES[known.severity]
        self._console.print(
            Styled(self._say(word), style=style).append(f"  {self._say(known.name)}", style="bold default")
            .append(f"  {fault.id}", style="dim default")
        )  # fmt: skip
        seen, meaning, doing = known.say(fault)
        self._indented(self._say(seen))
        self._indented(self._say(meaning))
        self._indented(self._say(Text("怎么办：", "What to do: ")) + self._say(doing))
        for name in known.settings:
            setting = settings()[name]
            self._indented(self._say(setting.name) + self._say(Text("：", ":")))
            for example in setting.examples:
                self._console.print(Styled(f"      {example.switch}", style="bold"))
                for line in example.lines:
                    self._console.print(Styled(f"          {line}"), soft_wrap=True)  # to be copied
        if fault.frames:
            shown = ", ".join(map(str, fault.frames))
            self._indented(self._say(Text(f"帧 {shown}", f"frames {shown}")), "dim")
        self._console.print()

    def _summary(self, figures: Mapping[str, Any], faults: Sequence[Fault]) -> Styled:
        if faults:
            return Styled(
                self._say(Text(f"发现 {len(faults)} 个问题。", f"{_many(len(faults), 'fault')} found.")), "bold"
            )
        frames = figures["frames"]
        said = Text(
            f"镜像口正常：{frames:,} 帧中没有发现问题。",
            f"The mirror port looks right: nothing wrong in {frames:,} frames.",
        )
        if frames < FEW_FRAMES:
            few = Text("但帧数太少，不足以下结论：请观察更久。", " But these are few: watch for longer to be sure.")
            said = Text(said.zh + few.zh, said.en + few.en)
        return Styled(self._say(said), "bold green" if frames >= FEW_FRAMES else "bold")

    def _say(self, text: Text) -> str:
        return text.zh if self._lang == "zh" else text.en

    def _indented(self, text: str, style: str = "default") -> None:
        if self._wraps:
            self._console.print(Padding(Styled(text, style=style), (0, 0, 0, 4)))
        else:
            self._console.print(Styled(f"    {text}", style=style))


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def _padded(label: str) -> str:
    """The label filled up to the table's first column; a Chinese character takes two places."""
    width = sum(2 if ord(letter) > 0x2E7F else 1 for letter in label)
    return label + " " * max(14 - width, 1)


def _counted(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    more = f" ... +{len(ordered) - LISTED}" if len(ordered) > LISTED else ""
    return ", ".join(f"{name} ({count:,})" for name, count in ordered[:LISTED]) + more


def _rows(it: Mapping[str, Any]) -> list[tuple[Text, Text]]:
    """The table: label and value."""
    frames = it["frames"]
    if not frames:
        return [(Text("帧", "frames"), Text("0", "0"))]
    rows = [
        (
            Text("帧", "frames"),
            Text(f"{frames:,}，最长 {it['largest']:,} 字节", f"{frames:,}, the longest {it['largest']:,} bytes"),
        ),
        (
            Text("时间", "time"),
            Text(
                f"{it['first']} 至 {it['last']}，共 {it['seconds']:,} 秒",
                f"{it['first']} to {it['last']}, {it['seconds']:,} s",
            ),
        ),
        (
            Text("速率", "rate"),
            Text(
                f"平均 {it['mbit_mean']} Mbit/s，峰值 {it['mbit_peak']} Mbit/s",
                f"{it['mbit_mean']} Mbit/s on average, {it['mbit_peak']} at most",
            ),
        ),
        (
            Text("会话", "conversations"),
            Text(
                f"{it['conversations']:,} 个，其中 {it['conversations_both_ways']:,} 个看到双向",
                f"{it['conversations']:,}, in both directions {it['conversations_both_ways']:,}",
            ),
        ),
        (
            Text("目的地", "receivers"),
            Text(
                f"单播 {it['unicast']:,}，组播 {it['multicast']:,}，广播 {it['broadcast']:,}",
                f"unicast {it['unicast']:,}, multicast {it['multicast']:,}, broadcast {it['broadcast']:,}",
            ),
        ),
    ]
    tags = dict(it["vlans"])
    if tags:
        untagged = Text(f"无标签 ({it['untagged']:,})", f"untagged ({it['untagged']:,})")
        listed = _counted(tags)
        rows.append((Text("VLAN", "VLANs"), Text(f"{listed}；{untagged.zh}", f"{listed}; {untagged.en}")))
    if it["qinq"]:
        rows.append(
            (Text("外层标签", "outer tags"), Text(f"QinQ：{_counted(it['qinq'])}", f"QinQ: {_counted(it['qinq'])}"))
        )
    if it["tunnels"]:
        listed = _counted(it["tunnels"])
        rows.append((Text("隧道", "tunnels"), Text(f"{listed}，已拆封检查", f"{listed}; looked at what is inside")))
    listed = _counted(it["industrial"])
    rows.append((Text("工业协议", "industrial"), Text(listed or "未见", listed or "none")))
    rows.append(
        (
            Text("TCP 丢失", "TCP loss"),
            Text(
                f"{it['tcp_segments']:,} 段中缺 {it['tcp_gaps']:,} 处（{it['loss_percent']}%）",
                f"{_many(it['tcp_gaps'], 'gap')} in {_many(it['tcp_segments'], 'segment')} ({it['loss_percent']} %)",
            ),
        )
    )
    odd = [name for name in ("malformed", "fragments", "refused") if name in it]
    if odd:
        words = {
            "malformed": Text("头部残缺", "broken headers"),
            "fragments": Text("IP 分片", "IP fragments"),
            "refused": Text("会话过多而未跟踪", "of too many conversations"),
        }
        rows.append(
            (
                Text("未检查的帧", "not judged"),
                Text(
                    "，".join(f"{words[name].zh} {it[name]:,}" for name in odd),
                    ", ".join(f"{words[name].en} {it[name]:,}" for name in odd),
                ),
            )
        )
    return rows
