"""YAML of rules: every error names its file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from detectors.content import ContentError, load


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "rules.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "twice"),
        ("a: 1\n  b: 2\n", 2, "not allowed"),
        ("a: &x [1]\nb: *x\n", 2, "aliases"),
        ("- 1\n", 1, "mapping"),
        ("", 1, "mapping"),
        ("a: 1\n2: b\n", 2, "must be a text"),
        (b"a: 1\nb: \xff\xfe\n", 2, "UTF-8"),
        ("a: !!python/object/apply:os.system [ls]\n", 1, "constructor"),
        ("a: [1, 2\nb: 3\n", 2, ""),
    ],
)
def test_an_error_names_its_file_and_line(tmp_path: Path, text: str | bytes, line: int, why: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ContentError) as caught:
        load(path)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert why in caught.value.why


def test_a_missing_file_is_named_without_a_line(tmp_path: Path) -> None:
    with pytest.raises(ContentError) as caught:
        load(tmp_path / "absent.yaml")
    assert caught.value.line == 0
    assert str(caught.value).startswith(f"{tmp_path / 'absent.yaml'}: cannot be read")


def test_deep_nesting_is_an_error_and_not_a_crash(tmp_path: Path) -> None:
    with pytest.raises(ContentError):
        load(write(tmp_path, "a: " + "[" * 20_000))


def test_mappings_know_the_lines_of_their_keys(tmp_path: Path) -> None:
    block = load(write(tmp_path, "# comment\nouter:\n  inner: text\n"))
    assert block.lines == {"outer": 2}
    assert block.block("outer").lines == {"inner": 3}
    assert block.block("outer").text("inner") == "text"


def test_an_unknown_key_is_refused_where_it_stands(tmp_path: Path) -> None:
    block = load(write(tmp_path, "known: 1\nknwon: 2\n"))
    with pytest.raises(ContentError) as caught:
        block.only("known")
    assert caught.value.line == 2
    assert "'knwon'" in caught.value.why
