"""A bulletin as every format sees it, free of tables and of formats: STIX, and later CAP or CSAF, are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from console.sharing.patterns import Match
from console.sharing.tlp import Tlp
from detectors.finding import Text


class Colour(StrEnum):
    """Warning colour, each with its grade: the four-colour warnings of China's emergency plans (red is the gravest).

    Pages show the word and the shape beside the colour: never the colour alone.
    """

    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    BLUE = "blue"

    @property
    def grade(self) -> str:
        """Roman numeral of the grade, I the gravest."""
        return {"red": "I", "orange": "II", "yellow": "III", "blue": "IV"}[self.value]

    @property
    def shape(self) -> str:
        """A sign that tells the colours apart without colour."""
        return {"red": "◆", "orange": "▲", "yellow": "■", "blue": "●"}[self.value]


class Notice(StrEnum):
    """What a version of a bulletin is to the one before (the words of CAP 1.2, msgType)."""

    ALERT = "alert"
    UPDATE = "update"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who answers for a bulletin. identity: stable over all its bulletins; since: when that identity was made."""

    identity: UUID
    name: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Technique:
    """An ATT&CK for ICS technique ("T0858") and its English name ("" where unknown)."""

    id: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class BulletinDocument:
    """One version of one bulletin.

    series: names the bulletin through all its versions. version: from 1. issued: of this version; first_issued: of
    version 1. Either language of title, body and advice may be "", not both of the title.
    matches: what is offered to sensors. withdrawn: what earlier versions offered and this one does not.
    """

    series: UUID
    version: int
    notice: Notice
    issuer: Issuer
    first_issued: datetime
    issued: datetime
    tlp: Tlp
    colour: Colour
    title: Text
    body: Text
    advice: Text
    drill: bool = False
    techniques: tuple[Technique, ...] = ()
    matches: tuple[Match, ...] = ()
    withdrawn: tuple[Match, ...] = ()
