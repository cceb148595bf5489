"""A condition in words, as `fenghuo rules explain` says it."""

from __future__ import annotations

from detectors.sigma.tree import Node

_WAYS = {"gt": ">", "gte": "≥", "lt": "<", "lte": "≤"}


def in_words(node: Node, lang: str, depth: int = 0) -> list[str]:
    """The condition as lines, indented by what they belong to. lang: "zh" or "en"."""
    zh = lang == "zh"
    pad = "  " * depth
    head, *rest = node
    if head in ("and", "or"):
        title = ("全部成立：" if zh else "all of:") if head == "and" else ("任一成立：" if zh else "any of:")
        return [pad + title, *(line for part in rest for line in in_words(part, lang, depth + 1))]
    if head == "not":
        return [pad + ("不成立：" if zh else "not:"), *in_words(rest[0], lang, depth + 1)]
    return [pad + _leaf(head, rest, zh=zh)]


def _leaf(head: str, rest: Node, *, zh: bool) -> str:
    name = str(rest[0]) if rest else ""
    if head in ("in", "cased"):
        values = [str(value).lower() if isinstance(value, bool) else str(value) for value in rest[1]]
        return f"{name} = {values[0]}" if len(values) == 1 else f"{name} {'为' if zh else 'in'} {', '.join(values)}"
    if head == "like":
        return f"{name} = {''.join(part if isinstance(part, str) else '*?'[part] for part in rest[1])}"
    if head == "re":
        return f"{name} {'含正则' if zh else 'has the regular expression'} {rest[1]}"
    if head == "cidr":
        return f"{name} {'在网段' if zh else 'in'} {rest[1]}"
    if head == "cmp":
        return f"{name} {_WAYS[rest[1]]} {rest[2]}"
    if head == "exists":
        return f"{name} {('存在' if rest[1] else '不存在') if zh else ('is there' if rest[1] else 'is not there')}"
    if head == "same":
        return f"{name} {rest[2] or '='} {rest[1]}"
    if head == "part":
        return f"{name} {rest[1]} = {rest[2]}"
    return "总是" if zh else "always"
