"""Conditions as data, and what evaluates them.

A node is a list that JSON can hold:

    ["and", node, ...]  ["or", node, ...]  ["not", node]  ["true"]  ["false"]
    ["in", field, [value, ...]]         numbers, or texts compared without case
    ["cased", field, [text, ...]]       texts compared with case
    ["like", field, [part, ...], cased] parts are texts, 0 for any run of letters ("*"), 1 for one letter ("?")
    ["re", field, pattern, flags]       RE2, somewhere in the text; flags out of "ims"
    ["cidr", field, network]            addresses inside it
    ["cmp", field, operator, number]    gt, gte, lt, lte
    ["exists", field, wanted]
    ["same", field, other, way]         equal to another field; way: "", "startswith", "endswith", "contains"
    ["part", field, unit, number]       minute, hour, day, week, month, year of a time, UTC

A field that is a list matches when one of its members does; an absent field matches nothing but ["exists", field,
false].
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any

Node = list[Any]
Fields = Mapping[str, Any]
Predicate = Callable[[Fields], bool]

TRUE: Node = ["true"]
FALSE: Node = ["false"]
MAX_PATTERN = 1000  # letters of a regular expression
RE2_BYTES = 1 << 20  # memory of a compiled one; RE2 needs time in proportion to the text, whatever the pattern

_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le,
}  # fmt: skip


def fields_of(node: Node) -> Iterator[str]:
    """The fields that a condition asks about, with repetitions."""
    head, *rest = node
    if head in ("and", "or", "not"):
        for part in rest:
            yield from fields_of(part)
    elif head not in ("true", "false"):
        yield node[1]
        if head == "same":
            yield node[2]


def all_of(parts: list[Node]) -> Node:
    """The conjunction, simplified."""
    parts = [inner for part in parts for inner in (part[1:] if part[0] == "and" else [part]) if inner != TRUE]
    if FALSE in parts:
        return FALSE
    return TRUE if not parts else parts[0] if len(parts) == 1 else ["and", *parts]


def any_of(parts: list[Node]) -> Node:
    """The disjunction, simplified; values of one field are looked up together."""
    if TRUE in parts:
        return TRUE
    found: list[Node] = []
    together: dict[tuple[str, str], Node] = {}
    for part in parts:
        if part == FALSE:
            continue
        if part[0] in ("in", "cased"):
            known = together.setdefault((part[0], part[1]), [part[0], part[1], []])
            if not known[2]:
                found.append(known)
            known[2].extend(value for value in part[2] if value not in known[2])
        else:
            found.append(part)
    return FALSE if not found else found[0] if len(found) == 1 else ["or", *found]


def weaker(node: Node, keep: Callable[[str, bool], bool], *, positive: bool = True) -> Node:
    """A condition that holds wherever `node` can hold, and asks only about fields that `keep` names.

    keep(field, positive): whether a statement about the field may stay; positive is False below a "not".
    """
    head, *rest = node
    if head == "not":
        inner = weaker(rest[0], keep, positive=not positive)
        return FALSE if inner == TRUE else TRUE if inner == FALSE else ["not", inner]
    if head in ("and", "or"):
        parts = [weaker(part, keep, positive=positive) for part in rest]
        return all_of(parts) if head == "and" else any_of(parts)
    if head in ("true", "false") or all(keep(name, positive) for name in fields_of(node)):
        return node
    return TRUE if positive else FALSE


def predicate(node: Node) -> Predicate:
    """A function of an event's fields that says whether the condition holds. Never raises on fields from the wire."""
    head, *rest = node
    if head == "true":
        return lambda _: True
    if head == "false":
        return lambda _: False
    if head == "not":
        inner = predicate(rest[0])
        return lambda fields: not inner(fields)
    if head in ("and", "or"):
        parts = tuple(map(predicate, rest))
        if head == "and":
            return lambda fields: all(part(fields) for part in parts)
        return lambda fields: any(part(fields) for part in parts)
    name = rest[0]
    if head == "exists":
        wanted = rest[1]
        return lambda fields: (fields.get(name) is not None) == wanted
    if head == "same":
        return _same(name, rest[1], rest[2])
    return _some(name, _LEAVES[head](*rest[1:]))


def _some(name: str, test: Callable[[Any], bool]) -> Predicate:
    def holds(fields: Fields) -> bool:
        got = fields.get(name)
        if got is None:
            return False
        if isinstance(got, (list, tuple)):
            return any(test(member) for member in got)
        return test(got)

    return holds


def _same(name: str, other: str, way: str) -> Predicate:
    def holds(fields: Fields) -> bool:
        return any(_fits(a, b, way) for a in _members(fields.get(name)) for b in _members(fields.get(other)))

    return holds


def _fits(one: Any, other: Any, way: str) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        one, other = one.lower(), other.lower()
        if way:
            return bool(
                {"startswith": one.startswith, "endswith": one.endswith, "contains": one.__contains__}[way](other)
            )
    return not way and type(one) is type(other) and one == other


def _members(got: Any) -> tuple[Any, ...]:
    return tuple(got) if isinstance(got, (list, tuple)) else () if got is None else (got,)


def _in(values: list[Any]) -> Callable[[Any], bool]:
    texts = frozenset(value.lower() for value in values if isinstance(value, str))
    numbers = frozenset(value for value in values if not isinstance(value, str))
    return lambda got: got.lower() in texts if isinstance(got, str) else got in numbers


def _cased(values: list[str]) -> Callable[[Any], bool]:
    wanted = frozenset(values)
    return lambda got: got in wanted


def _like(parts: list[Any], cased: bool) -> Callable[[Any], bool]:
    texts = [part if cased or not isinstance(part, str) else part.lower() for part in parts]
    match texts:
        case [str(text), 0]:
            begins = text
            test: Callable[[str], bool] = lambda got: got.startswith(begins)  # noqa: E731
        case [0, str(text)]:
            ends = text
            test = lambda got: got.endswith(ends)  # noqa: E731
        case [0, str(text), 0]:
            inside = text
            test = lambda got: inside in got  # noqa: E731
        case _:
            import re2

            pattern = "".join(re2.escape(part) if isinstance(part, str) else (".*", ".")[part] for part in texts)
            compiled = regular_expression(pattern, "s")
            test = lambda got: compiled.fullmatch(_utf8(got)) is not None  # noqa: E731
    return lambda got: isinstance(got, str) and test(got if cased else got.lower())


@cache
def regular_expression(pattern: str, flags: str) -> Any:
    """A compiled RE2; ValueError says what is wrong with it or that it is too large."""
    import re2

    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"the regular expression is longer than {MAX_PATTERN} letters")
    options = re2.Options()
    options.max_mem = RE2_BYTES
    options.log_errors = False
    try:
        return re2.compile(f"(?{flags}){pattern}" if flags else pattern, options)
    except re2.error as error:
        why = error.args[0] if error.args else error
        raise ValueError(
            f"RE2 refuses the regular expression: {why.decode() if isinstance(why, bytes) else why}"
        ) from None


def _re(pattern: str, flags: str) -> Callable[[Any], bool]:
    compiled = regular_expression(pattern, flags)
    return lambda got: isinstance(got, str) and compiled.search(_utf8(got)) is not None


def _utf8(text: str) -> str:
    """The text without lone surrogates, at which RE2 raises."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _cidr(network: str) -> Callable[[Any], bool]:
    net = ip_network(network)

    def inside(got: Any) -> bool:
        try:
            return ip_address(got) in net
        except ValueError:
            return False

    return inside


def _cmp(way: str, number: float) -> Callable[[Any], bool]:
    compare = _COMPARE[way]
    return lambda got: isinstance(got, (int, float)) and not isinstance(got, bool) and compare(got, number)


def _part(unit: str, number: int) -> Callable[[Any], bool]:
    def holds(got: Any) -> bool:
        try:
            moment = datetime.fromisoformat(got)
        except (TypeError, ValueError):
            return False
        return bool((moment.isocalendar().week if unit == "week" else getattr(moment, unit)) == number)

    return holds


_LEAVES: Mapping[str, Callable[..., Callable[[Any], bool]]] = {
    "in": _in, "cased": _cased, "like": _like, "re": _re, "cidr": _cidr, "cmp": _cmp, "part": _part,
}  # fmt: skip
