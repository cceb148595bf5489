"""Kills a migration at each of its steps, in a process of its own: `migration_killer.py URL TO FIRST STRIDE`.

A step is a statement or a commit. For each n a child is forked that migrates and is killed (SIGKILL) before its n-th
step; then the state of the database is written down, one JSON object a line: {"step", "killed", "revision", "tables"}.
It ends with the first child that was not killed any more.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from sqlalchemy import event, inspect

import console.store.models  # noqa: F401
from console.store.engine import Store, open_store
from console.store.migrations import current, upgrade


def die_before(store: Store, step: int) -> None:
    """Kill this process before its step-th statement or commit, counted from 1."""
    done = 0

    def count(*_arguments: object) -> None:
        nonlocal done
        done += 1
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(store.engine, "before_cursor_execute", lambda *a: count())
    event.listen(store.engine, "commit", count)


def state(url: str) -> dict[str, object]:
    store = open_store(url)
    with store.engine.connect() as connection:
        found = {"revision": current(connection), "tables": sorted(inspect(connection).get_table_names())}
    store.engine.dispose()
    return found


def main(url: str, revision: str, first: int, stride: int) -> None:
    step = first
    while True:
        child = os.fork()
        if child == 0:
            store = open_store(url)
            die_before(store, step)
            upgrade(store, revision)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print(json.dumps({"step": step, "killed": killed, "status": status, **state(url)}), flush=True)  # noqa: T201
        if not killed:
            return
        step += stride


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
