"""Names of ATT&CK for ICS techniques, from the data file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from detectors.content import Block, load, rules_folder


@dataclass(frozen=True, slots=True)
class Technique:
    """One technique: id ("T0858") and its names."""

    id: str
    en: str
    zh: str

    def name(self, locale: str) -> str:
        """In the reader's language."""
        return self.zh if locale == "zh" else self.en

    @property
    def url(self) -> str:
        """MITRE's page about it."""
        return f"https://attack.mitre.org/techniques/{self.id}/"


@cache
def _data() -> Block:
    content = load(rules_folder() / "attack" / "techniques.yaml")
    content.only("version", "techniques")
    return content


def pinned_version() -> str:
    """The version of ATT&CK that the ids are of: "18.1"."""
    return _data().text("version")


@cache
def all_techniques() -> dict[str, Technique]:
    """Every technique of the data file by id."""
    block = _data().block("techniques")
    return {key: Technique(key, block.block(key).text("en"), block.block(key).text("zh")) for key in block}


def technique(technique_id: str) -> Technique:
    """The technique of an id; an id that the data file does not know is its own name."""
    return all_techniques().get(technique_id, Technique(technique_id, technique_id, technique_id))
