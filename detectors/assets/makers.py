"""Maker by hardware address, a hint: rules/assets/makers.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from detectors.content import load, rules_folder


@cache
def makers() -> Mapping[str, str]:
    """Makers by the first three octets, "00:1b:1b"."""
    block = load(rules_folder() / "assets" / "makers.yaml").block("makers")
    return {prefix: block.text(prefix) for prefix in block}


def maker(mac: str) -> str:
    """The maker of a hardware address, "" where it is not among those known."""
    return makers().get(mac[:8], "")
