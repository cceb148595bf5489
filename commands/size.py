"""Sizes on the command line."""

from __future__ import annotations

import click


class Size(click.ParamType):  # type: ignore[type-arg]  # generic in new versions only
    """A number of bytes, with K, M, G or T for powers of 1024."""

    name = "SIZE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).strip().upper().removesuffix("B").removesuffix("I")
        power = "KMGT".find(text[-1:]) + 1 if text[-1:] else 0
        try:
            return int(float(text[: -1 if power else None]) * 1024**power)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a size: give a number of bytes, or 64M, 10G", param, ctx)
