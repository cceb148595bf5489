"""Conditions as bulletins and their like give them: field to value or list of values, all of which must hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detectors.sigma import tree
from sensor.schema import FIELDS

MAX_VALUES = 1000  # of one field


def condition(wanted: Any) -> tree.Node:
    """The condition; ValueError says what is wrong with it.

    A value is an integer, true or false, or a text; a text that ends in `*` matches what begins with it. A field that
    is a list matches when one of its members does.
    """
    if not isinstance(wanted, Mapping) or not wanted:
        raise ValueError("a match must name at least one field")
    parts = []
    for name, given in wanted.items():
        if name not in FIELDS:
            raise ValueError(f"unknown field {name!r}")
        values = given if isinstance(given, list) else [given]
        if not values or len(values) > MAX_VALUES:
            raise ValueError(f"{name}: expected 1 to {MAX_VALUES} values, got {len(values)}")
        parts.append(tree.any_of([_leaf(name, value) for value in values]))
    return tree.all_of(parts)


def _leaf(name: str, value: Any) -> tree.Node:
    number = FIELDS[name].type in ("long", "boolean")
    if not isinstance(value, int if number else str):
        raise ValueError(f"{name}: expected {'a number' if number else 'a text'}, got {value!r}")
    if not isinstance(value, str) or not value.endswith("*"):
        return ["in", name, [value]]
    if value == "*":
        raise ValueError(f"{name}: '*' alone matches everything")
    return ["like", name, [value[:-1], 0], False]
