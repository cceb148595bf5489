"""Sigma YAML to rules that can run. The only file that imports pySigma, which takes a quarter of a second.

What pySigma accepts and this engine cannot evaluate over events is refused with a message that says what to write
instead. Specification: https://sigmahq.io/sigma-specification, version 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from sigma import conditions as c
from sigma import types as t
from sigma.correlations import SigmaCorrelationCondition, SigmaCorrelationRule
from sigma.exceptions import SigmaError
from sigma.rule import SigmaDetectionItem
from sigma.rule import SigmaRule as ParsedRule
from sigma.rule.base import SigmaRuleBase

from detectors.content import ContentError
from detectors.finding import Severity, Text
from detectors.knowledge import NOTHING, Page
from detectors.sigma import tree
from detectors.sigma.document import Document, Key, documents
from detectors.sigma.rule import CLASSES, Broken, Correlation, SigmaRule, everything
from sensor.schema import FIELDS
from sensor.view import EXPLAINERS

CATEGORY = "ics_network"
PRODUCTS = frozenset(name for name, _ in EXPLAINERS.values())
CORRELATIONS = ("event_count", "value_count", "temporal", "temporal_ordered")
MAX_VALUES = 1000  # of one field: more is a list that belongs in several rules
MAX_CONDITION = 2000  # letters; the parser's work grows with nesting
MAX_NESTING = 20
MAX_COUNT = 10_000  # of a correlation: each group remembers so many times or values
OURS = "fenghuo"
OUR_KEYS = ("class", "from_device", "answer", "taken_back")

_NAME = re.compile(r"[a-z][a-z0-9]*([._-][a-z0-9]+)*")
_TECHNIQUE = re.compile(r"t0\d{3}")
_WHERE = {  # pySigma's errors by the key that they are about
    "Logsource": "logsource", "Level": "level", "Status": "status", "Date": "date", "Modified": "modified",
    "Tag": "tags",
    "Identifier": "id", "Title": "title", "Name": "name", "Description": "description", "Author": "author",
    "FalsePositives": "falsepositives", "References": "references", "Related": "related", "Fields": "fields",
    "License": "license", "Scope": "scope", "Taxonomy": "taxonomy",
}  # fmt: skip


class RuleError(Exception):
    """A rule cannot be used. at: the path of keys of the part that is wrong."""

    def __init__(self, why: str, *at: str | int) -> None:
        super().__init__(why)
        self.why, self.at = why, at


def parse_file(path: Path, pages: Mapping[str, Page]) -> Iterator[SigmaRule | Correlation | Broken]:
    """The rules of a file; what cannot be used comes as Broken and does not hold up the rest.

    pages: the texts for people by rule id. A rule without a page is told in the words of its own title and description.
    """
    try:
        found = documents(path)
    except ContentError as error:
        yield Broken(error.path, error.line, 0, error.why)
        return
    for document in found:
        try:
            yield from _document(document, pages)
        except RuleError as error:
            yield document.broken(error.why, *error.at)
        except SigmaError as error:
            yield document.broken(str(error), *_place(error))
        except Exception as error:  # pySigma raises much on what is no rule at all
            yield document.broken(f"is not a Sigma rule: {type(error).__name__}: {error}")


def _document(document: Document, pages: Mapping[str, Page]) -> Iterator[SigmaRule | Correlation | Broken]:
    content = document.content
    for key in ("action", "filter"):
        if key in content:
            raise RuleError(f"{key!r} is not supported: write each rule in full", key)
    if content.get("status") in ("deprecated", "unsupported"):
        return
    if "correlation" in content:
        yield _correlation(document, pages)
    else:
        yield _rule(document, pages)


def _place(error: SigmaError) -> Key:
    word = type(error).__name__.removeprefix("Sigma").removesuffix("Error")
    return (_WHERE[word],) if word in _WHERE else ("correlation",) if "Correlation" in word else ("detection",)


def _rule(document: Document, pages: Mapping[str, Page]) -> SigmaRule:
    detection = document.content.get("detection")
    if not isinstance(detection, dict):
        raise RuleError("'detection' must be a mapping of selections and a condition", "detection")
    for name, given in detection.items():
        if name not in ("condition", "timeframe"):
            _try_items(given, ("detection", str(name)))
    if "timeframe" in detection:
        raise RuleError("'timeframe' is Sigma version 1: write a correlation rule", "detection", "timeframe")
    ours = _ours(document)
    parsed = ParsedRule.from_dict(document.content, collect_errors=True)
    if parsed.errors:
        raise parsed.errors[0]
    source = parsed.logsource
    if source.category != CATEGORY:
        raise RuleError(f"category must be {CATEGORY}, not {source.category!r}", "logsource", "category")
    if source.service is not None:
        raise RuleError("'service' is not used in this log source", "logsource", "service")
    if source.product is not None and source.product not in PRODUCTS:
        raise RuleError(f"unknown product {source.product!r}, expected one of: {', '.join(sorted(PRODUCTS))}",
                        "logsource", "product")  # fmt: skip
    product = source.product or ""
    wanted = tree.any_of([_condition(document, parsed, text) for text in parsed.detection.condition])
    if wanted in (tree.TRUE, tree.FALSE):
        raise RuleError("the condition says nothing", "detection", "condition")
    common = _common(document, parsed, pages)
    from_device = _condition(document, parsed, ours["from_device"], OURS) if "from_device" in ours else None
    return SigmaRule(
        **common,
        product=product,
        condition=tree.all_of([everything(product), wanted]),
        kind=ours.get("class", ""),
        from_device=from_device,
        answers=ours.get("answer", True),
        taken_back=ours.get("taken_back", ""),
    )


def _try_items(given: Any, at: Key) -> None:
    """Find the one item that pySigma refuses, for its messages do not say where it stands."""
    if isinstance(given, list) and any(isinstance(member, dict) for member in given):
        for number, member in enumerate(given):
            _try_items(member, (*at, number))
        return
    if not isinstance(given, dict):
        raise RuleError("values without a field cannot be searched in events: name the field", *at)
    for key, values in given.items():
        if isinstance(values, list) and len(values) > MAX_VALUES:
            raise RuleError(
                f"holds {len(values)} values, at most {MAX_VALUES} are looked up: write several rules", *at, key
            )
        try:
            SigmaDetectionItem.from_mapping(str(key), values)
        except (SigmaError, TypeError, ValueError) as error:
            raise RuleError(str(error), *at, str(key)) from error


def _ours(document: Document) -> dict[str, Any]:
    ours = document.content.get(OURS, {})
    if not isinstance(ours, dict):
        raise RuleError(f"{OURS!r} must be a mapping", OURS)
    for key, value in ours.items():
        if key not in OUR_KEYS:
            raise RuleError(f"unknown key {key!r}, expected one of: {', '.join(OUR_KEYS)}", OURS, key)
        if key == "class" and value not in CLASSES:
            raise RuleError(f"unknown class {value!r}, expected one of: {', '.join(CLASSES)}", OURS, key)
        if key == "answer" and not isinstance(value, bool):
            raise RuleError("'answer' must be true or false", OURS, key)
        if key == "from_device" and not isinstance(value, str):
            raise RuleError("'from_device' must name a selection", OURS, key)
        if key == "taken_back" and not (isinstance(value, str) and value):
            raise RuleError("'taken_back' must name a rule", OURS, key)
    return ours


def _common(document: Document, parsed: SigmaRuleBase, pages: Mapping[str, Page]) -> dict[str, Any]:
    """What all kinds of rules have."""
    if parsed.id is None:
        raise RuleError("'id' is missing: a UUID that stays when the rule is renamed", "title")
    name = parsed.name or str(parsed.id)
    if parsed.name is not None and not _NAME.fullmatch(name):
        raise RuleError(f"name {name!r} must be lower-case words joined by dots, hyphens and underscores", "name")
    page = pages.get(name) or _page(document, parsed)
    level = parsed.level.name if parsed.level is not None else "MEDIUM"
    return {
        "id": name,
        "uuid": str(parsed.id),
        "title": parsed.title,
        "severity": Severity[level],
        "techniques": tuple(
            tag.name.upper() for tag in parsed.tags if tag.namespace == "attack" and _TECHNIQUE.fullmatch(tag.name)
        ),
        "name": page.name,
        "saw": page.saw,
        "why": page.why,
        "check": page.check,
        "false_positives": page.false_positives,
        "path": str(document.path),
    }


def _page(document: Document, parsed: SigmaRuleBase) -> Page:
    """The texts of a rule that brings none: in its own words, whatever the language."""
    title, description = _plain(parsed.title), _plain(" ".join((parsed.description or "").split()))
    stop = "" if not description or description.endswith((".", "。", "!", "?")) else "."
    known = _plain(" ".join(parsed.falsepositives or []))
    return Page(
        name=Text(title, title),
        saw=Text(
            f"{{source}} 与 {{destination}}[（{{station}}）] 之间的通信符合规则“{title}”。",
            f'What passed between {{source}} and {{destination}}[ ({{station}})] matches the rule "{title}".',
        ),
        why=Text(description + stop, description + stop),
        check=Text(
            "请按规则作者的说明核对：" + (known or "规则没有列出已知的误报") + "。",
            "Follow what the author of the rule says about false alarms: "
            + (known or "none is listed").rstrip(".") + ".",
        ),
        false_positives=Text(known, known) if known else NOTHING,
    )  # fmt: skip


def _plain(text: str) -> str:
    """Text of a rule as part of a template: without the signs that mean something there."""
    return text.translate(str.maketrans("{}[]", "()()"))


def _condition(document: Document, parsed: ParsedRule, text: str, *at: str) -> tree.Node:
    """A condition over the rule's selections as a tree."""
    where: Key = at or ("detection", "condition")
    deepest = depth = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        deepest = max(deepest, depth)
    if len(text) > MAX_CONDITION or deepest > MAX_NESTING:
        raise RuleError(f"is longer than {MAX_CONDITION} letters or nested more than {MAX_NESTING} deep", *where)
    try:
        condition = c.SigmaCondition(text, parsed.detection).parsed
    except SigmaError as error:
        raise RuleError(f"condition: {error}", *where) from error
    if condition is None:
        raise RuleError("the condition says nothing", *where)
    return _node(document, condition)


def _node(document: Document, item: Any) -> tree.Node:
    if isinstance(item, c.ConditionNOT):
        return ["not", _node(document, item.args[0])]
    if isinstance(item, c.ConditionAND):
        return tree.all_of([_node(document, part) for part in item.args])
    if isinstance(item, c.ConditionOR):
        return tree.any_of([_node(document, part) for part in item.args])
    if isinstance(item, c.ConditionFieldEqualsValueExpression):
        at = document.place_of_field(item.field)
        try:
            return leaf(item.field, item.value)
        except ValueError as error:
            raise RuleError(f"{item.field}: {error}", *at) from error
    raise RuleError("values without a field cannot be searched in events: name the field", "detection")


def leaf(name: str, value: t.SigmaType) -> tree.Node:
    """A statement about one field; ValueError says why it cannot be evaluated."""
    field = FIELDS.get(name)
    if field is None:
        close = [known for known in FIELDS if known.split(".")[-1] == name.split(".")[-1]][:3]
        hint = f" (did you mean {', '.join(close)}?)" if close else ""
        raise ValueError(f"unknown field{hint}; the fields stand in sensor/schema.py")
    number = field.type in ("long", "double")
    match value:
        case t.SigmaNull():
            return ["exists", name, False]
        case t.SigmaExists():
            return ["exists", name, bool(value)]
        case t.SigmaExpansion():
            return tree.any_of([leaf(name, member) for member in value.values])
        case t.SigmaBool():
            if field.type != "boolean":
                raise ValueError(f"expected a {'number' if number else 'text'}, got {value}")
            return ["in", name, [value.boolean]]
        case t.SigmaTimestampPart():
            if field.type != "date":
                raise ValueError("parts of a time are asked of @timestamp only")
            return ["part", name, value.timestamp_part.name.lower(), value.number]
        case t.SigmaNumber():
            if not number:
                raise ValueError(f"expected {'true or false' if field.type == 'boolean' else 'a text'}, got {value}")
            return ["in", name, [value.number]]
        case t.SigmaCompareExpression():
            if not number:
                raise ValueError("only numbers can be compared")
            if value.op is t.CompareOperators.NEQ:
                return ["not", ["in", name, [value.number.number]]]
            return ["cmp", name, value.op.name.lower(), value.number.number]
        case t.SigmaCIDRExpression():
            if field.type != "ip":
                raise ValueError("a network is asked of addresses only")
            return ["cidr", name, str(value.network)]
        case t.SigmaFieldReference():
            if value.field not in FIELDS:
                raise ValueError(f"refers to the unknown field {value.field!r}")
            way = {(False, False): "", (True, False): "startswith", (False, True): "endswith", (True, True): "contains"}
            return ["same", name, value.field, way[value.starts_with, value.ends_with]]
        case t.SigmaRegularExpression():
            if number or field.type not in ("keyword", "text"):
                raise ValueError("regular expressions are for texts")
            flags = "".join(sorted(flag.name[0].lower().replace("d", "s") for flag in value.flags))
            pattern = str(value.regexp)
            tree.regular_expression(pattern, flags)
            return ["re", name, pattern, flags]
        case t.SigmaString():
            return _text(name, field.type, value)
    raise ValueError(f"{type(value).__name__.removeprefix('Sigma')} values cannot be evaluated over events")


def _text(name: str, kind: str, value: t.SigmaString) -> tree.Node:
    if value.contains_placeholder():
        raise ValueError("placeholders (expand) have no values here: write the values themselves")
    if kind not in ("keyword", "text", "ip"):
        raise ValueError(f"expected {'true or false' if kind == 'boolean' else 'a number'}, got {str(value)!r}")
    cased = isinstance(value, t.SigmaCasedString)
    parts = [part if isinstance(part, str) else int(part is t.SpecialChars.WILDCARD_SINGLE) for part in value.s]
    if kind == "ip":
        if any(not isinstance(part, str) for part in parts):
            raise ValueError("addresses have no wildcards: write a network with |cidr")
        return ["in", name, [str(ip_address("".join(map(str, parts))))]]
    if parts == [0]:
        return ["exists", name, True]
    if all(isinstance(part, str) for part in parts):
        text = "".join(map(str, parts))
        return ["cased" if cased else "in", name, [text]]
    return ["like", name, parts, cased]


def _correlation(document: Document, pages: Mapping[str, Page]) -> Correlation:
    _ours(document)
    parsed = SigmaCorrelationRule.from_dict(document.content, collect_errors=True)
    if parsed.errors:
        raise parsed.errors[0]
    kind = parsed.type.name.lower()
    if kind not in CORRELATIONS:
        raise RuleError(f"correlations of type {kind} are not evaluated, expected one of: {', '.join(CORRELATIONS)}",
                        "correlation", "type")  # fmt: skip
    condition = parsed.condition
    if not isinstance(condition, SigmaCorrelationCondition):
        raise RuleError("conditions in words are not evaluated: write gte, gt, lte, lt, eq or neq with a number",
                        "correlation", "condition")  # fmt: skip
    if not 1 <= condition.count <= MAX_COUNT:
        raise RuleError(f"count up to a number from 1 to {MAX_COUNT}", "correlation", "condition")
    if kind == "temporal_ordered" and (condition.op.name, condition.count) != ("GTE", len(parsed.rules or [])):
        raise RuleError("a sequence holds when all its rules match in order: leave the condition out",
                        "correlation", "condition")  # fmt: skip
    if isinstance(condition.fieldref, list):
        raise RuleError("count the values of one field", "correlation", "condition", "field")
    aliases = {it.alias: {ref.reference: name for ref, name in it.mapping.items()} for it in parsed.aliases}
    names = [name for name in parsed.group_by or [] if name not in aliases]
    names += [name for mapping in aliases.values() for name in mapping.values()]
    names += [condition.fieldref] if condition.fieldref else []
    for name in names:
        if name not in FIELDS:
            raise RuleError(f"unknown field {name!r}; the fields stand in sensor/schema.py", "correlation")
    ours = _ours(document)
    return Correlation(
        **_common(document, parsed, pages),
        type=kind,
        rules=tuple(ref.reference for ref in parsed.rules or []),
        window_ns=parsed.timespan.seconds * 10**9,
        group_by=tuple(parsed.group_by or []),
        operator=condition.op.name.lower(),
        count=condition.count,
        value_field=condition.fieldref or "",
        aliases=aliases,
        kind=ours.get("class", ""),
        generate=parsed.generate,
    )


def parse_when(given: Any) -> tree.Node:
    """A mapping of fields to values, as in a Sigma selection, as a condition; ValueError says what is wrong with it."""
    if not isinstance(given, dict) or not given:
        raise ValueError("must be a mapping of fields to values")
    parts = []
    for key, values in given.items():
        item = SigmaDetectionItem.from_mapping(str(key), values)
        found = [leaf(str(item.field), value) for value in item.value]
        parts.append(tree.any_of(found) if item.value_linking is c.ConditionOR else tree.all_of(found))
    return tree.all_of(parts)
