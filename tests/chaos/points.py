"""Every failpoint of the sources, with the file that it stands in: see sensor/failpoints.py."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("sensor", "detectors", "console")


class UnclearPointError(Exception):
    """A failpoint that nobody could arm: its name is no literal, or stands twice."""


def read_points(root: Path = ROOT) -> dict[str, str]:
    """Name of each point to "path:line". UnclearPointError names the place of one that cannot be enumerated."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            text = path.read_text("utf-8")
            if "failpoint(" not in text:
                continue
            for call in ast.walk(ast.parse(text)):
                if not isinstance(call, ast.Call) or not _names_failpoint(call.func):
                    continue
                place = f"{path.relative_to(root)}:{call.lineno}"
                if len(call.args) != 1 or call.keywords or not isinstance(call.args[0], ast.Constant):
                    raise UnclearPointError(f"{place}: the name of a failpoint is one literal")
                name = str(call.args[0].value)
                if name in found:
                    raise UnclearPointError(f"{place}: {name} stands at {found[name]} too")
                found[name] = place
    return found


def _names_failpoint(function: ast.expr) -> bool:
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    return name == "failpoint"
