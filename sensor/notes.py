"""Notes: small files that a sensor keeps beside its spool, whole whenever it dies."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


def load_note(path: Path, kind: type[T]) -> T:
    """A note as JSON; empty where there is none or it is damaged: the sensor starts without it."""
    try:
        value = json.loads(path.read_text("utf-8"))
        if isinstance(value, kind):
            return value
    except FileNotFoundError:
        return kind()
    except (ValueError, OSError) as error:
        log.warning("%s cannot be read (%s); going on without it", path, error)
    return kind()


def write_note(path: Path, parts: Iterator[str] | Sequence[str]) -> None:
    """Write a note so that a crash or a loss of power leaves the old one or the new one."""
    partial = path.with_suffix(".partial")
    with open(partial, "w", encoding="utf-8") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    sync_folder(path)


def sync_folder(path: Path) -> None:
    """Have the name of a file on disk, too."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
