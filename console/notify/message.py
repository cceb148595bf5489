"""What messages say: a content record of the outbox becomes subject, body and data in the contact's language.

Content is written in the transaction of its reason and holds facts only; wording happens here, when it is sent.
Texts of findings carry strings from the wire, so all of them go through console/notify/clean.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from console.notify.clean import one_line, paragraphs

INCIDENT = "incident"  # somebody must take this incident
TAKEN = "taken"  # somebody has: those who were called may rest
TEST = "test"  # a trial of an address

TITLE_LIMIT = 120  # characters
TEXT_LIMIT = 1200

SEVERITY_ZH = {"informational": "提示", "low": "低危", "medium": "中危", "high": "高危", "critical": "紧急"}


class Wording(NamedTuple):
    """One message in words. data: for machines, both languages where there are two."""

    subject: str
    body: str
    data: dict[str, Any]


def word(
    kind: str, content: Mapping[str, Any], *, locale: str, drill: bool, zone: ZoneInfo, acknowledge: str, page: str
) -> Wording:
    """The message of a notification.

    kind: INCIDENT, TAKEN or TEST. locale: "zh" or "en". zone: in which times are told, named beside each.
    acknowledge: the link that acknowledges, page: the incident's address; "" where there is none.
    """
    zh = locale == "zh"
    mark = ("【演练】" if zh else "[DRILL] ") if drill else ""
    lines = [("这是演练，不是真实事件。" if zh else "This is a drill. Nothing has happened."), ""] if drill else []
    if kind == TEST:
        subject = f"{mark}【烽火】测试消息" if zh else f"{mark}[Fenghuo] Test message"
        lines += _test(content, zh)
    else:
        subject = mark + _subject(kind, content, zh)
        lines += _taken(content, zh, zone) if kind == TAKEN else _incident(content, zh, zone)
    if acknowledge:
        lines += ["", "确认收到（无需登录）：" if zh else "Acknowledge (no login needed):", acknowledge]
    if page:
        lines += ["", "事件页面：" if zh else "The incident's page:", page]
    data = {"type": kind, "drill": drill, **content}
    if acknowledge:
        data["acknowledge_url"] = acknowledge
    if page:
        data["incident_url"] = page
    return Wording(one_line(subject, 200), "\n".join(lines) + "\n", data)


def _subject(kind: str, content: Mapping[str, Any], zh: bool) -> str:
    title = one_line(content["title_zh" if zh else "title_en"], TITLE_LIMIT)
    number, severity = content["number"], content["severity"]
    if kind == TAKEN:
        return (
            f"【烽火】事件 #{number} 已有人处理：{title}" if zh else f"[Fenghuo] Incident #{number} is taken: {title}"
        )
    if zh:
        return f"【烽火】{SEVERITY_ZH[severity]}事件 #{number}：{title}"
    return f"[Fenghuo] {severity.capitalize()} incident #{number}: {title}"


def _incident(content: Mapping[str, Any], zh: bool, zone: ZoneInfo) -> list[str]:
    opened = _time(content["opened_at"], zone)
    organisation = one_line(content["organisation"], TITLE_LIMIT)
    title = one_line(content["title_zh" if zh else "title_en"], TITLE_LIMIT)
    severity = content["severity"]
    if zh:
        lines = [
            f"{organisation}：{SEVERITY_ZH[severity]}事件 #{content['number']}，{opened} 立案，尚无人确认。",
            title,
        ]
    else:
        lines = [
            f"{organisation}: {severity} incident #{content['number']}, open since {opened}; nobody has taken it yet.",
            title,
        ]
    for finding in content["findings"]:
        lines += ["", *_finding(finding, zh, zone)]
    more = content["finding_count"] - len(content["findings"])
    if more > 0:
        lines += ["", f"另有 {more} 条告警。" if zh else f"{more} more findings."]
    wait = content["wait_minutes"]
    if content["last"]:
        lines += ["", "之后不再通知其他人。" if zh else "Nobody else will be told after you."]
    elif wait:
        lines += [
            "",
            f"{wait} 分钟内无人确认，将通知下一位联系人。"
            if zh
            else f"If nobody acknowledges within {wait} min, the next contact is told.",
        ]
    return lines


def _finding(finding: Mapping[str, Any], zh: bool, zone: ZoneInfo) -> list[str]:
    name = one_line(finding["rule_name_zh" if zh else "rule_name_en"], TITLE_LIMIT)
    seen = _time(finding["last_seen"], zone)
    way = " → ".join(one_line(end, 64) for end in (finding["source_ip"], finding["destination_ip"]) if end)
    facts = [one_line(finding["protocol"], 64), way, one_line(finding["site"], 100)]
    times = f"{finding['count']} 次，最近 {seen}" if zh else f"{finding['count']} times, last {seen}"
    text = paragraphs(finding["message_zh" if zh else "message_en"], TEXT_LIMIT)
    return [f"■ {name}", "  " + " · ".join([fact for fact in facts if fact] + [times]), text]


def _taken(content: Mapping[str, Any], zh: bool, zone: ZoneInfo) -> list[str]:
    who, at = one_line(content["by"], TITLE_LIMIT), _time(content["at"], zone)
    if zh:
        return [f"事件 #{content['number']} 已由 {who} 于 {at} 确认。您无需再做什么。"]
    return [f"Incident #{content['number']} was acknowledged by {who} at {at}. There is nothing left for you to do."]


def _test(content: Mapping[str, Any], zh: bool) -> list[str]:
    who, organisation = one_line(content["by"], TITLE_LIMIT), one_line(content["organisation"], TITLE_LIMIT)
    if zh:
        return [f"{organisation} 的 {who} 正在检查烽火能否联系到您。请用下面的链接确认收到。"]
    return [f"{who} of {organisation} checks whether Fenghuo can reach you. Please confirm with the link below."]


def _time(text: str, zone: ZoneInfo) -> str:
    """A stored time as people read it, with its zone."""
    return datetime.fromisoformat(text).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z (UTC%z)")
