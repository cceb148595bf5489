"""`fenghuo span-check` as people and scripts meet it: verdicts in two languages, exit codes, checked content."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from detectors import span_advice
from detectors.content import ContentError
from detectors.finding import Severity
from detectors.review import explain
from detectors.span_check import SpanCheck, vlan_numbers
from detectors.span_report import SpanReport
from detectors.wording import names
from fenghuo import main
from sensor.span.fault import EVIDENCE, Fault

PCAPS = Path(__file__).resolve().parents[2] / "pcaps"
GOOD = PCAPS / "modbus" / "benign_polling.pcap"
ONE_WAY = PCAPS / "mixed" / "one_direction.pcap"
TAGGED = PCAPS / "mixed" / "vlan_and_ipv6.pcap"


def span_check(*arguments: object) -> Result:
    """One call."""
    return CliRunner().invoke(main, ["span-check", *map(str, arguments)])


def verdicts(*arguments: object) -> list[dict[str, Any]]:
    """The JSON lines of one call."""
    return [json.loads(line) for line in span_check("--format", "jsonl", *arguments).stdout.splitlines()]


@pytest.mark.parametrize(("lang", "words"), [("en", "The mirror port looks right"), ("zh", "镜像口正常")])
def test_a_good_capture_gives_exit_code_0_and_a_line_that_says_so_below_the_figures(lang: str, words: str) -> None:
    done = span_check("--lang", lang, GOOD)
    assert done.exit_code == 0
    assert words in done.stdout.splitlines()[-1]
    assert "Modbus (" in done.stdout
    assert "span." not in done.stdout


@pytest.mark.parametrize(
    ("lang", "words"), [("en", ("What to do:", "10.20.2.11", "HIGH")), ("zh", ("怎么办：", "10.20.2.11", "高"))]
)
def test_a_fault_gives_exit_code_1_and_the_setting_of_the_switch(lang: str, words: tuple[str, ...]) -> None:
    done = span_check("--lang", lang, ONE_WAY)
    assert done.exit_code == 1
    for word in (*words, "span.one-way", "monitor session 1 source interface", "port-mirroring to observe-port 1 both"):
        assert word in done.stdout
    for maker in ("Cisco", "Hirschmann", "SCALANCE", "Moxa", "Huawei", "H3C"):
        assert maker in done.stdout
    assert "{" not in done.stdout


def test_json_has_one_object_for_each_capture_with_figures_and_evidence() -> None:
    good, bad = verdicts(GOOD, ONE_WAY)
    assert (good["capture"], good["healthy"], good["faults"]) == (str(GOOD), True, [])
    assert good["seen"]["industrial"] == {"Modbus": good["seen"]["frames"]}
    (fault,) = bad["faults"]
    assert (fault["id"], fault["severity"]) == ("span.one-way", "high")
    assert fault["evidence"]["unseen"] == ["10.20.2.11"]
    assert {"switch", "lines"} == fault["settings"][0].keys()
    assert json.loads(span_check("--format", "json", ONE_WAY).stdout)["healthy"] is False


def test_what_cannot_be_read_is_exit_code_2_and_the_others_are_still_judged(tmp_path: Path) -> None:
    (tmp_path / "text.pcap").write_text("not a capture")
    done = span_check("--format", "jsonl", tmp_path / "text.pcap", ONE_WAY)
    assert done.exit_code == 2
    assert [json.loads(line)["capture"] for line in done.stdout.splitlines()] == [str(ONE_WAY)]
    assert "text.pcap" in done.stderr


def test_a_capture_without_frames_and_one_that_is_cut_off_are_faults(tmp_path: Path) -> None:
    empty, cut = tmp_path / "empty.pcap", tmp_path / "cut.pcap"
    empty.write_bytes(GOOD.read_bytes()[:24])
    cut.write_bytes(GOOD.read_bytes()[:-5])
    assert [[fault["id"] for fault in it["faults"]] for it in verdicts(empty, cut)] == [
        ["span.empty"],
        ["span.truncated"],
    ]


def test_expected_vlans_are_asked_for_by_number() -> None:
    (tagged,) = verdicts("--expect-vlan", "120", TAGGED)
    assert tagged["healthy"]
    (missing,) = verdicts("--expect-vlan", "120,121", "--expect-vlan", "122", TAGGED)
    assert missing["faults"][0]["evidence"]["missing"] == [121, 122]
    assert vlan_numbers(["1, 4094", "7"]) == [1, 4094, 7]
    for wrong in ("0", "4095", "ten", "-1"):
        assert span_check("--expect-vlan", wrong, TAGGED).exit_code == 2


def test_captures_or_an_interface_but_not_both_and_not_neither() -> None:
    assert span_check().exit_code == 2
    assert span_check("--interface", "eth0", GOOD).exit_code == 2
    done = span_check("--interface", "no-such-if0")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1


def test_every_fault_that_a_check_can_tell_has_words_and_no_words_are_left_over() -> None:
    folder = Path(__file__).resolve().parents[2] / "sensor" / "span"
    text = "".join(path.read_text("utf-8") for path in folder.glob("*.py"))
    assert set(re.findall(r'"(span\.[a-z0-9-]+)"', text)) == set(span_advice.advice())


def test_the_words_about_a_fault_use_its_evidence_alone() -> None:
    for it in span_advice.advice().values():
        for text in (it.saw, it.means, it.do):
            assert set(names(text.zh)) == set(names(text.en))
            assert set(names(text.zh)) <= EVIDENCE
        assert it.severity > Severity.INFORMATIONAL
    used = {name for it in span_advice.advice().values() for name in it.settings}
    assert used == set(span_advice.settings())


def test_content_that_cannot_be_used_says_where(tmp_path: Path) -> None:
    cases = {
        "unknown name": 'saw: {zh: "{nonsense}", en: x}',
        "unknown severity": "severity: dreadful",
        "must be a list of texts": "settings: [1]",
    }
    whole = {
        "severity": "severity: low", "name": "name: {zh: a, en: a}", "saw": "saw: {zh: a, en: a}",
        "means": "means: {zh: a, en: a}", "do": "do: {zh: a, en: a}", "settings": "settings: []",
    }  # fmt: skip
    for why, line in cases.items():
        lines = {**whole, line.split(":")[0]: line}.values()
        path = tmp_path / "faults.yaml"
        path.write_text("faults:\n  - id: span.x\n" + "".join(f"    {it}\n" for it in lines), encoding="utf-8")
        with pytest.raises(ContentError, match=why):
            span_advice.load_advice(path)


def test_a_fault_is_explained_like_a_rule() -> None:
    name, head, *rest = explain("span.cut", "zh")
    assert name == "帧被截短"
    assert "span.cut" in head
    assert len(rest) == 2


def test_hostile_text_cannot_steer_the_terminal() -> None:
    out = io.StringIO()
    figures: dict[str, Any] = {"frames": 0, "bytes": 0}
    SpanReport("en", out).verdict("a\x1b[31m.pcap", figures, [Fault("span.truncated", {"why": "\x1b]0;x\x07\u202e"})])
    assert "\x1b" not in out.getvalue()
    assert "\u202e" not in out.getvalue()


def test_one_call_judges_each_capture_on_its_own() -> None:
    out = io.StringIO()
    check = SpanCheck(form="jsonl", lang="en", complain=pytest.fail, out=out)
    assert check.captures([str(ONE_WAY), str(GOOD), str(GOOD)]) == 1
    assert [json.loads(line)["healthy"] for line in out.getvalue().splitlines()] == [False, True, True]
