"""JSON from strangers as a value: strict UTF-8, bounded numbers, no key twice, strings that every database keeps.

What is wrong in one place spoils only the record that it stands in: a stand-in that every later check refuses takes
its place.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

from pydantic_core import from_json, to_json

from console.services.errors import InvalidError
from console.store.storable import storable

MAX_DIGITS = 20  # 2**64 has twenty; thousands of them would only cost time
_ESCAPED = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")  # the only way for what no database keeps into UTF-8


class NoNumber:
    """Stands for NaN, an infinity or an integer of thousands of digits: every check refuses it."""

    def __repr__(self) -> str:
        return "not a number"


class Ambiguous(dict[str, Any]):
    """An object that names a key twice: two readers could take it for two different things."""


def parse_json(body: bytes) -> Any:
    """The JSON value of a body. InvalidError says what is wrong with the whole of it.

    The fast reader overlooks keys that stand twice. But what it writes back byte for byte as it came, as our sensors
    write it, can be read in one way only.
    """
    with suppress(ValueError):
        value = from_json(body, allow_inf_nan=False, cache_strings="keys")
        if to_json(value) == body and not _ESCAPED.search(body):
            return value
    return _parse_carefully(body)


def _parse_carefully(body: bytes) -> Any:
    try:
        value = json.loads(
            body.decode("utf-8"), parse_int=_integer, parse_constant=lambda _name: NoNumber(), object_pairs_hook=_object
        )
        return clean_tree(value) if _ESCAPED.search(body) else value
    except UnicodeDecodeError:
        raise InvalidError("The body is not UTF-8.") from None
    except RecursionError:
        raise InvalidError("The JSON is nested too deeply.") from None
    except ValueError as error:
        place = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidError("The body is not JSON%(place)s.", place=place) from None


def _integer(digits: str) -> int | NoNumber:
    return int(digits) if len(digits) <= MAX_DIGITS else NoNumber()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    return made if len(made) == len(pairs) else Ambiguous(made)


def clean_tree(value: Any) -> Any:
    """A JSON value with all its strings cleaned; keys stay as they are, for keys are checked."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [clean_tree(item) for item in value]
    if isinstance(value, dict):
        return type(value)({key: clean_tree(item) for key, item in value.items()})
    return value


def ambiguous(value: Any) -> bool:
    """Whether an object anywhere in it names a key twice."""
    if isinstance(value, dict):
        return isinstance(value, Ambiguous) or any(map(ambiguous, value.values()))
    return isinstance(value, list) and any(map(ambiguous, value))
