"""Programs of the console that run beside it, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

from pydantic import SecretStr

from console.settings import Settings


def start_module(module: str, settings: Settings) -> subprocess.Popen[bytes]:
    """Start `python -m module --parent <this process>` with these settings in its environment."""
    environment = dict(os.environ)
    for name, value in settings:
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        environment[f"FENGHUO_{name.upper()}"] = text
    return subprocess.Popen([sys.executable, "-m", module, "--parent", str(os.getpid())], env=environment)
