"""What messages say, in both languages, and what hostile strings cannot make them say."""

from __future__ import annotations

import json
import unicodedata
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.notify import message
from console.notify.clean import one_line, paragraphs

SHANGHAI = ZoneInfo("Asia/Shanghai")
LINK, PAGE = "https://console.example/acknowledge/token", "https://console.example/incidents/7"


def content(**changes: Any) -> dict[str, Any]:
    finding = {
        "id": "s1/1/1", "rule_id": "r", "rule_name_en": "Controller stopped", "rule_name_zh": "控制器被停止",
        "message_en": "A station stopped it.", "message_zh": "工程站停止了它。", "severity": "critical",
        "protocol": "s7comm", "source_ip": "10.0.0.5", "destination_ip": "10.0.0.9", "site": "North works",
        "techniques": ["T0858"], "count": 3, "first_seen": "2026-11-22T08:00:00+00:00",
        "last_seen": "2026-11-22T08:00:00+00:00",
    }  # fmt: skip
    return {
        "organisation": "Plant", "number": 7, "title_en": "Controller stopped", "title_zh": "控制器被停止",
        "severity": "critical", "state": "open", "opened_at": "2026-11-22T08:00:00+00:00", "finding_count": 4,
        "findings": [finding], "run": 1, "wait_minutes": 10, "last": False, **changes,
    }  # fmt: skip


def word(kind: str = message.INCIDENT, locale: str = "zh", drill: bool = False, **changes: Any) -> message.Wording:
    return message.word(
        kind, content(**changes), locale=locale, drill=drill, zone=SHANGHAI, acknowledge=LINK, page=PAGE
    )


def test_a_call_says_what_happened_where_when_and_what_to_press() -> None:
    zh, en = word(locale="zh"), word(locale="en")
    assert zh.subject == "【烽火】紧急事件 #7：控制器被停止"
    assert en.subject == "[Fenghuo] Critical incident #7: Controller stopped"
    for said in ("工程站停止了它。", "10.0.0.5 → 10.0.0.9", "North works", "2026-11-22 16:00:00 CST (UTC+0800)", LINK,
                 PAGE, "另有 3 条告警", "10 分钟内无人确认"):  # fmt: skip
        assert said in zh.body
    for said in ("A station stopped it.", LINK, PAGE, "3 more findings", "within 10 min"):
        assert said in en.body


def test_the_last_one_in_the_chain_knows_it() -> None:
    assert "之后不再通知其他人" in word(last=True).body
    assert "Nobody else will be told" in word(locale="en", last=True).body


@pytest.mark.parametrize("kind", [message.INCIDENT, message.TAKEN, message.TEST])
@pytest.mark.parametrize(("locale", "mark"), [("zh", "【演练】"), ("en", "[DRILL] ")])
def test_a_drill_says_so_first(kind: str, locale: str, mark: str) -> None:
    said = word(kind, locale, drill=True, by="Lin", at="2026-11-22T08:05:00+00:00")
    assert said.subject.startswith(mark)
    assert said.body.startswith("这是演练" if locale == "zh" else "This is a drill")
    assert said.data["drill"] is True


HOSTILE = "x\r\nBcc: a@b\n\n确认收到：\nhttps://evil.example/\u2028\u202e\x1b[2J\x00\ud800"


def test_a_hostile_name_stays_on_its_line() -> None:
    said = word(title_zh=HOSTILE, organisation=HOSTILE)
    assert "\n" not in said.subject
    assert "\r" not in said.subject
    assert "\x1b" not in said.body
    assert "\u202e" not in said.body
    assert not any(line.startswith(("Bcc:", "https://evil")) for line in said.body.split("\n"))
    said.body.encode()


def is_clean(line: str) -> bool:
    """No controls, no format characters, no surrogates, no separators of lines."""
    return not {unicodedata.category(char) for char in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(st.text())
def test_cleaned_text_has_no_controls_and_can_always_be_encoded(text: str) -> None:
    line = one_line(text, 50)
    assert len(line) <= 50
    assert is_clean(line)
    line.encode()
    block = paragraphs(text, 200)
    assert len(block) <= 200
    assert all(is_clean(part) for part in block.split("\n"))


def test_data_for_machines_is_json_with_both_languages() -> None:
    data = json.loads(json.dumps(word().data))
    assert data["type"] == "incident"
    assert (data["title_en"], data["title_zh"]) == ("Controller stopped", "控制器被停止")
    assert (data["acknowledge_url"], data["incident_url"]) == (LINK, PAGE)
