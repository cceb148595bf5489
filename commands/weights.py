"""The options that say how important devices are, and which levels people have set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from commands.baseline import EXISTING, plainly

if TYPE_CHECKING:
    from detectors.pipeline import Options

F = TypeVar("F", bound=Callable[..., Any])


def WEIGHTS(function: F) -> F:  # noqa: N802  (a decorator, named as the others that stand beside it)
    """`--assets` and `--override`."""
    ledger = click.option(
        "--assets", "ledger_file", type=EXISTING, metavar="FILE.csv", help="Ledger: how important each device is."
    )
    override = click.option(
        "--override", "override_file", type=EXISTING, metavar="FILE.yaml", help="Levels that people set, with reasons."
    )
    return ledger(override(function))


def weighed(options: Options, *, ledger_file: Path | None, override_file: Path | None) -> Options:
    """The options with what these files say; ends the command where one cannot be used."""
    from detectors.assets import ledger
    from detectors.severity import load_overrides

    with plainly():
        return dataclasses.replace(
            options,
            ledger=ledger.load(ledger_file) if ledger_file else options.ledger,
            overrides=load_overrides(override_file) if override_file else options.overrides,
        )
