"""In which language people are answered."""

from __future__ import annotations

import os
from collections.abc import Mapping


def language(wanted: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """ "zh" or "en": as wanted, otherwise what the environment's locale says (POSIX order of precedence)."""
    if wanted:
        return wanted
    locale = next((environment[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)), "")
    return "zh" if locale.lower().startswith("zh") else "en"
