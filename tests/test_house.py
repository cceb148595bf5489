"""Rules of the house that no tool checks by itself."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [path for name in ("sensor", "detectors", "console") for path in sorted((ROOT / name).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """Top-level names of every module that a file imports, wherever the import stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_there_are_sources_to_check():
    assert len(SOURCES) > 50


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_imports_the_command_line_or_the_lab(path):
    assert not imported(path) & {"fenghuo", "commands", "scapy", "pcaps", "tests"}


@pytest.mark.parametrize("name", ["fenghuo.py", "commands/__init__.py", "commands/console.py", "commands/score.py"])
def test_the_command_line_imports_its_packages_only_inside_commands(name):
    tree = ast.parse((ROOT / name).read_text("utf-8"))
    top = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    top |= {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in top} & {"sensor", "detectors", "console"}


def test_what_a_sensor_installs_holds_no_web_stack_and_no_gpl():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    core = re.search(r"^dependencies = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    assert core is not None
    assert not re.search(r"flask|sqlalchemy|scapy|apscheduler|stix2", core.group(1))
