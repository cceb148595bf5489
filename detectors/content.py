"""Detection content: where the rules folder is, and YAML whose every error names its file and line."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from yaml import SafeLoader as Base
else:  # the same loader over libyaml, ten times as fast, where PyYAML was built with it
    Base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MAX_CONTENT_BYTES = 4 * 1024 * 1024  # a file of rules is some tens of kilobytes; more is a mistake
MAX_DEPTH = 100  # nested collections: the composer calls itself for each


class ContentError(Exception):
    """A file of rules cannot be used.

    path: the file. line: from 1, 0 where the file as a whole is meant. why: what is wrong and what was expected.
    """

    def __init__(self, path: Path | str, line: int, why: str) -> None:
        super().__init__(f"{path}:{line}: {why}" if line else f"{path}: {why}")
        self.path, self.line, self.why = str(path), line, why


class Block(dict[str, Any]):
    """A YAML mapping that knows where it stands: `path`, its first `line`, and `lines` of its keys (all from 1)."""

    path: str = ""
    line: int = 0
    lines: dict[str, int]

    def error(self, why: str, key: str = "") -> ContentError:
        """An error at this mapping, or at the line of one of its keys."""
        return ContentError(self.path, self.lines.get(key, self.line), why)

    def only(self, *allowed: str) -> None:
        """Raise ContentError for a key that is not in `allowed`: a typing mistake must not be ignored."""
        for key in self:
            if key not in allowed:
                raise self.error(f"unknown key {key!r}, expected one of: {', '.join(allowed)}", key)

    def text(self, key: str) -> str:
        """A non-empty string, or ContentError."""
        value = self.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(f"{key!r} must be a non-empty text", key)
        return " ".join(value.split())

    def block(self, key: str) -> Block:
        """A mapping, or ContentError."""
        value = self.get(key)
        if not isinstance(value, Block):
            raise self.error(f"{key!r} must be a mapping", key)
        return value


class _Loader(Base):
    """SafeLoader whose mappings are Blocks; keys must be distinct strings."""

    path: str

    def block(self, node: yaml.MappingNode) -> Block:
        block = Block()
        block.path, block.line, block.lines = self.path, node.start_mark.line + 1, {}
        for key_node, value_node in node.value:
            key: Hashable = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise ContentError(self.path, line, f"key {key!r} must be a text")
            if key in block:
                raise ContentError(self.path, line, f"key {key!r} stands twice")
            block[key] = self.construct_object(value_node, deep=True)
            block.lines[key] = line
        return block


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.block)


def _refuse_bombs(path: Path, text: str) -> None:
    """Raise ContentError for aliases and for deep nesting: a small file must not become a large value."""
    depth = 0
    for event in yaml.parse(text, Loader=Base):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            raise ContentError(path, line, "YAML aliases are not allowed here")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise ContentError(path, line, f"is nested more than {MAX_DEPTH} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def read_text(path: Path) -> str:
    """The text of a file of rules, of bounded size, without aliases and deep nesting; ContentError otherwise."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CONTENT_BYTES + 1)
    except OSError as error:
        raise ContentError(path, 0, f"cannot be read: {error.strerror or error}") from error
    if len(raw) > MAX_CONTENT_BYTES:
        raise ContentError(path, 0, f"is larger than {MAX_CONTENT_BYTES} bytes")
    try:
        text = raw.decode("utf-8")
        _refuse_bombs(path, text)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ContentError(path, line, "is not UTF-8 text") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ContentError(path, mark.line + 1 if mark else 0, error.problem or "is not YAML") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ContentError(path, 0, f"is not YAML: {error}") from error
    return text


def load(path: Path) -> Block:
    """Read one YAML file whose top level is a mapping. ContentError says file and line of what is wrong."""
    text = read_text(path)
    try:
        loader = _Loader(text)
        loader.path = str(path)
        try:
            content = loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ContentError(path, mark.line + 1 if mark else 0, error.problem or "is not YAML") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ContentError(path, 0, f"is not YAML: {error}") from error
    if not isinstance(content, Block):
        raise ContentError(path, 1, "must be a YAML mapping")
    return content


def blocks(block: Block, key: str) -> list[Block]:
    """The mappings listed under a key, none where it is absent; ContentError where it holds something else."""
    items = block.get(key, [])
    if not isinstance(items, list) or not all(isinstance(item, Block) for item in items):
        raise block.error(f"{key!r} must be a list of mappings", key)
    return items


def rules_folder() -> Path:
    """The folder of rules: beside the packages in a checkout, inside `detectors` in an installed wheel."""
    here = Path(__file__).resolve().parent
    packed = here / "rules"
    return packed if packed.is_dir() else here.parent / "rules"
