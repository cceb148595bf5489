"""Sigma rules as queries of other systems: Elasticsearch, by pySigma's Lucene backend, with our fields.

The names of our fields are the names in the index (`fenghuo decode` prints them; `mapping` types them), so that only
the log source has to be translated: `product` becomes a condition on `network.protocol`. Lucene has no correlations;
those rules are named and left out, the plain rules that they count are converted like the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from detectors.content import rules_folder
from sensor.schema import FIELDS, Field

if TYPE_CHECKING:
    from sigma.processing.pipeline import ProcessingPipeline

# What pySigma's backend calls them.
FORMATS: Mapping[str, str] = {
    "lucene": "default",
    "dsl": "dsl_lucene",
    "kibana": "kibana_ndjson",
}
INDEX = "fenghuo-events-*"
LONGEST_KEYWORD = 8000  # letters; Lucene's own limit is 32,766 octets
_PACKAGE = "pysigma-backend-elasticsearch"


class ConvertError(Exception):
    """Nothing can be converted; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Converted:
    """One rule. query: text of one line, "" where there is none; why: the reason then; broken: the rule's own fault."""

    name: str
    title: str
    query: str
    why: str = ""
    broken: bool = False


def index_mapping() -> dict[str, Any]:
    """Settings and mapping of an index of events in which the queries find what the rules match.

    Texts are compared without case, as in Sigma; what is not in the schema is kept and not indexed.
    """

    def typed(field: Field) -> dict[str, Any]:
        if field.type in ("keyword", "text"):  # also text: a rule compares the whole of it
            return {"type": "keyword", "normalizer": "lowercase", "ignore_above": LONGEST_KEYWORD}
        return {"type": field.type}

    return {
        "settings": {"index.mapping.total_fields.limit": 2 * len(FIELDS)},
        "mappings": {
            "dynamic": False,
            "subobjects": False,  # names have dots, and stand for themselves
            "properties": {name: typed(field) for name, field in FIELDS.items()},
        },
    }


def pipeline() -> ProcessingPipeline:
    """What pySigma must know about our rules: the protocol is a condition like any other."""
    from sigma.processing.conditions import LogsourceCondition
    from sigma.processing.pipeline import ProcessingItem, ProcessingPipeline
    from sigma.processing.transformations import AddConditionTransformation
    from sigma.rule import SigmaRule

    class OfProduct(LogsourceCondition):
        """A rule of ours that says which protocol it is about."""

        def match(self, rule: Any) -> bool:
            return isinstance(rule, SigmaRule) and bool(rule.logsource.product) and super().match(rule)

    return ProcessingPipeline(
        name="Fenghuo events",
        priority=20,
        items=[
            ProcessingItem(
                AddConditionTransformation({"network.protocol": "$product"}, template=True),
                rule_conditions=[OfProduct(category="ics_network")],
                identifier="fenghuo_protocol",
            ),
        ],
    )


def convert_named(rules: Sequence[str], form: str) -> Iterator[Converted]:
    """The rules with these names, ids or files; all that are shipped where none is given. See `convert`."""
    files = [Path(name) for name in rules if Path(name).is_file()]
    names = [name for name in rules if not Path(name).is_file()]
    if files:
        yield from convert(files, form)
    if names or not files:
        yield from convert(sorted((rules_folder() / "sigma").rglob("*.yml")), form, names)


def convert(files: Sequence[Path], form: str = "lucene", names: Iterable[str] = ()) -> Iterator[Converted]:
    """The rules in these files, or those of them that `names` gives; ConvertError where nothing can be converted.

    form: a key of FORMATS.
    """
    try:
        from sigma.backends.elasticsearch.elasticsearch_lucene import LuceneBackend
    except ImportError as error:
        raise ConvertError(f"this needs another package: pip install {_PACKAGE} ({error})") from None
    wanted = set(names)
    known: set[str] = set()
    backend = LuceneBackend(pipeline(), index_names=[INDEX])
    for path in files:
        try:
            documents = [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            yield Converted(str(path), "", "", f"cannot be read: {error}", broken=True)
            continue
        for document in documents:
            if not isinstance(document, dict):
                yield Converted(str(path), "", "", "is no Sigma rule", broken=True)
                continue
            own = {str(document[key]) for key in ("name", "id") if key in document}
            known |= own
            if not wanted or wanted & own:
                yield _converted(backend, str(path), document, form)
    if unknown := wanted - known:
        raise ConvertError(f"there is no rule {sorted(unknown)[0]!r}")


def _converted(backend: Any, path: str, document: dict[str, Any], form: str) -> Converted:
    """One rule as one line of text."""
    from sigma.collection import SigmaCollection
    from sigma.exceptions import SigmaError

    name, title = str(document.get("name", path)), str(document.get("title", ""))
    if "correlation" in document:
        return Converted(name, title, "", "Lucene has no correlations; Fenghuo matches it in the stream")
    try:
        (query,) = backend.convert(SigmaCollection.from_dicts([document]), FORMATS[form])
    except (SigmaError, NotImplementedError, ValueError) as error:
        return Converted(name, title, "", str(error), broken=True)
    if isinstance(query, str):
        return Converted(name, title, query.strip())
    if form == "dsl":
        query["query"]["bool"]["_name"] = name  # Elasticsearch says in `matched_queries` which rule it was
    # The backend names an index pattern of its own in saved searches.
    return Converted(name, title, json.dumps(query, ensure_ascii=False).replace("beats-*", INDEX))
