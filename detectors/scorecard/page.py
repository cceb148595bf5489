"""The score card as a page: Markdown, which reads as text on a terminal, too. Counts by kind; no address, no file."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from detectors.content import load, rules_folder
from detectors.finding import Severity, Text
from detectors.scorecard.card import Card

_WHAT = Text(
    "在真值由他人写下的抓包上，检测器发现了什么、多快发现、又误报多少。只要有一条相符的发现以攻击时间内的报文为依据，"
    "该攻击即算发现（按事件计召回率）；一次攻击无论多长只算一个事件，其他时间的发现不计分（不做逐点调整）。"
    "误报是指在正常流量中出现的、抓包里没有相应操作的“中”级及以上问题，同一问题只计一次。",
    "What the detectors find in captures whose truth others have written down, how soon, and how often they err. An "
    "attack counts as found when a fitting finding rests on a message inside its time (event recall); it is one event "
    "however long it went on, and findings at other times earn nothing (no point adjustment). A false alarm is a "
    "problem of medium severity or more in ordinary traffic that no operation in the capture justifies; one problem "
    "counts once.",
)
_LOUD = Text(
    "“告警”为中级及以上，“提示”为低级，“记录”仅说明发生过这样的操作。用时为中位数，从攻击脚本启动算起，含一批报文的时长"
    "（两秒以内）；同一问题再次发生时，要等到该问题的下一条记录。“-”表示抓包结束时才得出。",
    "Alarm: medium severity or more; notice: low; record: only told that such an operation took place. The time is the "
    "median since the attack's script began and includes a batch of up to two seconds; what repeats a problem that was "
    "told before waits for that problem's next record; '-' where only the end of the capture brought it out.",
)
_HALF = Text(
    "Suricata {version} 及其自带的 Modbus 与 DNP3 规则，仅作参照：攻击时间内的任何告警都算发现，无论它说什么；"
    "它的规则不带 ATT&CK 编号，也不知道哪些操作确实存在。",
    "Suricata {version} with the Modbus and DNP3 rules that it ships, as a yardstick: any alert inside an "
    "attack's time counts, whatever it says, for its rules carry no ATT&CK ids; nor do they know which operations are "
    "in a capture.",
)


def page(card: Card, peer: Card | None = None, peer_version: str = "", lang: str = "en") -> str:
    """The card in one language. peer: the same captures through Suricata, where that was run."""

    def say(zh: str, en: str) -> str:
        return zh if lang == "zh" else en

    def tell(text: Text) -> str:
        return say(text.zh, text.en)

    lines = [f"# {say('检测成绩单', 'Score card')}", "", tell(_WHAT), "", tell(_LOUD)]
    if peer is not None:
        lines += ["", tell(_HALF).format(version=peer_version)]
    seen = card.events - card.hidden
    lines += ["", f"## {say('总计', 'In all')}", ""]
    totals = [
        (say("抓包", "Captures"), f"{card.captures}"),
        (say("攻击事件", "Attacks"), f"{card.events}"),
        (say("其中可见", "of them visible on the wire"), f"{seen}"),
        (say("已发现", "found"), f"{card.found} ({_percent(card.found, seen)})"),
        (say("正常流量（小时）", "Ordinary traffic, hours"), f"{card.hours:.1f}"),
        (say("误报：高级及以上", "False alarms, high or critical"), f"{card.alarms(Severity.HIGH)}"),
        (say("误报：中级及以上", "False alarms, medium or higher"), f"{card.alarms()}"),
        (say("每日误报", "False alarms a day"), f"{card.a_day():.2f}"),
        (say("有误报的正常抓包", "Ordinary captures with a false alarm"), f"{card.noisy} / {card.quiet}"),
    ]
    head = ["", "Fenghuo"]
    rows: list[Sequence[str]] = [[name, value] for name, value in totals]
    if peer is not None:
        head.append("Suricata")
        theirs = ["", "", "", f"{peer.found} ({_percent(peer.found, peer.events)})", "", "", f"{peer.alarms()}",
                  f"{peer.a_day():.2f}", f"{peer.noisy} / {peer.quiet}"]  # fmt: skip
        rows = [[*row, other] for row, other in zip(rows, theirs, strict=True)]
    lines += _table(head, rows)
    lines += ["", f"## {say('按攻击', 'By attack')}", ""]
    head = [say("类别", "Family"), say("攻击", "Attack"), say("事件", "Events"), say("发现", "Found"),
            say("告警", "Alarm"), say("提示", "Notice"), say("记录", "Record"), say("不可见", "Hidden"),
            say("漏报", "Missed"), say("用时（秒）", "Seconds"), say("规则", "Rules")]  # fmt: skip
    if peer is not None:
        head.insert(-1, "Suricata")
    rows = []
    for key, row in sorted(card.rows.items()):
        delay = "-" if row.delay_s is None else f"{row.delay_s:.1f}"
        numbers = (row.events, row.found, row.alarms, row.notices, row.records, row.hidden, row.missed)
        rules = sorted(row.rules, key=lambda rule: (-row.rules[rule], rule))[:3]
        theirs = [str(peer.rows[key].found if key in peer.rows else 0)] if peer is not None else []
        rows.append([tell(row.family), tell(row.attack), *map(str, numbers), delay, *theirs, ", ".join(rules)])
    lines += _table(head, rows)
    if card.techniques:
        lines += ["", f"## {say('按 ATT&CK 技术', 'By ATT&CK technique')}", ""]
        lines += [say("“相符”：该技术可描述的攻击；“点名”：有发现写明了该技术。",
                      "Fits: attacks that the technique would describe; named: those that a finding calls by it."),
                  ""]  # fmt: skip
        names = _techniques()
        head = [say("技术", "Technique"), say("名称", "Name"), say("相符", "Fits"), say("点名", "Named")]
        lines += _table(
            head,
            [
                [it, tell(names.get(it, Text("", ""))), str(fits), str(named)]
                for it, (fits, named) in sorted(card.techniques.items())
            ],
        )
    lines += ["", f"## {say('误报', 'False alarms')}", ""]
    if card.wrong:
        lines += _by_severity(card.wrong, lang)
    else:
        lines.append(say("没有。", "None."))
    if card.uncounted:
        told = say("以下操作见于无人清点过操作的正常抓包，发现属实与否未经他人核对，故单列：",
                   "Operations named in ordinary captures whose operations nobody counted, so that nothing but the "
                   "capture itself confirms them:")  # fmt: skip
        lines += ["", told, "", *_by_severity(card.uncounted, lang)]
    if card.reasons:
        lines += ["", f"## {say('网络上看不到的攻击', 'What cannot be seen on the wire')}", ""]
        lines += [f"- {tell(attack)}{say('：', ': ')}{tell(why)}" for _, (attack, why) in sorted(card.reasons.items())]
    if card.notes:
        lines += ["", f"## {say('漏报及原因', 'What is missed, and why')}", ""]
        lines += [f"- {tell(attack)}{say('：', ': ')}{tell(why)}" for _, (attack, why) in sorted(card.notes.items())]
    if card.failed:
        lines += ["", f"## {say('未能评分的抓包', 'Captures without a score')}", ""]
        lines += [f"- {score.case.path.name}: {score.failed}" for score in card.failed]
    return "\n".join(lines) + "\n"


_LOUDEST = (Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM)


def _by_severity(wrong: Mapping[str, Mapping[Severity, int]], lang: str) -> list[str]:
    head = ["规则" if lang == "zh" else "Rule", *(_word(severity, lang) for severity in _LOUDEST)]
    ranked = sorted(wrong.items(), key=lambda it: (-sum(it[1].values()), it[0]))
    return _table(head, [[rule, *(str(by.get(severity, 0)) for severity in _LOUDEST)] for rule, by in ranked])


def _word(severity: Severity, lang: str) -> str:
    from detectors.report import SEVERITIES

    return SEVERITIES[severity][0].zh if lang == "zh" else severity.word


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "-"


def _techniques() -> dict[str, Text]:
    told = load(rules_folder() / "attack" / "techniques.yaml").block("techniques")
    return {it: Text(told.block(it).text("zh"), told.block(it).text("en")) for it in told}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table whose columns line up in a font of fixed width."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    widths = [max(_width(row[column]) for row in cells) for column in range(len(head))]
    drawn = [
        "| " + " | ".join(_pad(cell, width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return [drawn[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *drawn[1:]]


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
