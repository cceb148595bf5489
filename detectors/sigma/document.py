"""YAML files of Sigma rules as documents that know where each of their parts stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from detectors.content import ContentError, read_text
from detectors.sigma.rule import Broken

Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file. content: plain values; places: (line, column) from 1 of each part by its path of keys."""

    path: Path
    content: dict[str, Any]
    places: dict[Key, tuple[int, int]] = field(repr=False)

    def broken(self, why: str, *at: str | int) -> Broken:
        """What is wrong with the part at `at`, or with the nearest part above it that is there."""
        while at and at not in self.places:
            at = at[:-1]
        line, column = self.places.get(at, (1, 1))
        return Broken(str(self.path), line, column, why)

    def place_of_field(self, name: str) -> Key:
        """The path of the first key in the detection that asks about field `name`."""
        for key in self.places:
            if key[0:1] == ("detection",) and isinstance(key[-1], str) and key[-1].split("|")[0] == name:
                return key
        return ("detection",)


def documents(path: Path) -> list[Document]:
    """The documents of a file; ContentError where it is not sound YAML."""
    text = read_text(path)
    found = []
    try:
        loader = yaml.SafeLoader(text)
        try:
            while loader.check_node():
                node = loader.get_node()
                if node is None:
                    continue
                places: dict[Key, tuple[int, int]] = {}
                _walk(path, node, (), places)
                content = loader.construct_document(node)
                if not isinstance(content, dict):
                    raise ContentError(path, node.start_mark.line + 1, "a rule must be a YAML mapping")
                found.append(Document(path, content, places))
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ContentError(path, mark.line + 1 if mark else 0, error.problem or "is not YAML") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ContentError(path, 0, f"is not YAML: {error}") from error
    return found


def _walk(path: Path, node: yaml.Node, at: Key, places: dict[Key, tuple[int, int]]) -> None:
    places.setdefault(at, (node.start_mark.line + 1, node.start_mark.column + 1))
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ContentError(path, line, "a key must be a text")
            key = (*at, str(key_node.value))
            if key in places:
                raise ContentError(path, line, f"key {key_node.value!r} stands twice")
            places[key] = (line, column)
            _walk(path, value_node, key, places)
    elif isinstance(node, yaml.SequenceNode):
        for number, member in enumerate(node.value):
            _walk(path, member, (*at, number), places)
