"""`fenghuo rules`: content is checked file by file, and a rule is said in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from detectors.content import rules_folder
from detectors.review import check, explain
from fenghuo import main


def test_the_shipped_content_is_sound() -> None:
    checked = list(check([]))
    assert {"rules", "detectors.yaml", "faults.yaml"} <= {it[0].name for it in checked}
    assert all(not wrong and count > 0 for _, count, wrong, _ in checked)


def test_one_bad_file_is_named_with_its_line_and_the_others_are_checked(tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.yaml", rules_folder() / "knowledge" / "detectors.yaml"
    bad.write_text("rules:\n  - name: 7\n    id: 7\n", encoding="utf-8")
    done = CliRunner().invoke(main, ["rules", "check", str(bad), str(good)])
    assert done.exit_code == 1
    assert f"{bad}:3: " in done.output
    assert f"{good}: " in done.output


@pytest.mark.parametrize(("lang", "word"), [("zh", "停止 PLC"), ("en", "PLC stop")])
def test_a_rule_is_said_in_words(lang: str, word: str) -> None:
    name, head, said, *more = explain("operation.s7comm.stop", lang)
    assert name == word
    assert "T0858" in head
    assert "?" not in said
    assert any("s7comm.function = 41" in line for line in more)


def test_a_rule_that_does_not_exist_is_wrong_use() -> None:
    assert CliRunner().invoke(main, ["rules", "explain", "no.such.rule"]).exit_code == 2
