"""Programs of the console that run beside it, each in a process of its own."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType

from pydantic import SecretStr

from console.settings import Settings
from console.store.engine import Store, open_store
from console.store.migrations import upgrade_once_there


def start_module(module: str, settings: Settings) -> subprocess.Popen[bytes]:
    """Start `python -m module --parent <this process>` with these settings in its environment."""
    environment = dict(os.environ)
    for name, value in settings:
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        environment[f"FENGHUO_{name.upper()}"] = text
    return subprocess.Popen([sys.executable, "-m", module, "--parent", str(os.getpid())], env=environment)


def run_module(run: Callable[[Settings, int | None], None], description: str, noisy: Sequence[str]) -> None:
    """What such a module does when it is started: settings come from the environment, and `run` gets these and the
    parent. noisy: loggers of libraries of which only errors are heard."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--parent", type=int, help="end when this process is no longer the parent")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in noisy:
        logging.getLogger(name).setLevel(logging.ERROR)
    run(Settings(), arguments.parent)


def begin(settings: Settings) -> tuple[Store, threading.Event]:
    """The store, once it is there and up to date, and what SIGTERM and SIGINT set from now on."""
    stop = threading.Event()

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    store = open_store(settings.store_url)
    upgrade_once_there(store)
    return store, stop


def orphaned(parent: int | None) -> bool:
    """Whether the process that started this one, and was to end it, is gone."""
    return parent is not None and os.getppid() != parent
