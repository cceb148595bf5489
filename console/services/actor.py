"""Who acts, when, and what that person's organisation owns: the arguments that every service takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from console.services.errors import ForbiddenError, NotFoundError
from console.store.base import OrgOwned

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The clock of real life."""
    return datetime.now(UTC)


class Role(StrEnum):
    """What a user may do: look; also handle findings and incidents; also manage sensors, users and settings."""

    VIEWER = "viewer"
    ANALYST = "analyst"
    ADMINISTRATOR = "administrator"

    @property
    def rank(self) -> int:
        """Each role may do what those of lower rank may."""
        return list(Role).index(self)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something. user_id is None for the console itself (timers, automatic policies)."""

    user_id: int | None
    name: str
    organisation_id: int
    role: Role

    def may(self, role: Role | str) -> bool:
        """True when this actor has at least that role (templates give its word)."""
        return self.role.rank >= Role(role).rank

    def require(self, role: Role) -> None:
        """Raise ForbiddenError unless this actor has at least that role."""
        if not self.may(role):
            raise ForbiddenError("Your role does not allow this.")


def the_console(organisation_id: int) -> Actor:
    """The console acting by itself within one organisation."""
    return Actor(None, "Fenghuo", organisation_id, Role.ADMINISTRATOR)


T = TypeVar("T", bound=OrgOwned)


def scoped(actor: Actor, model: type[T]) -> Select[T]:
    """SELECT of the rows of the actor's organisation: where every query of a service begins."""
    return select(model).where(model.organisation_id == actor.organisation_id)


def load(session: Session, actor: Actor, model: type[T], row_id: int) -> T:
    """One row of the actor's organisation; NotFoundError alike for what does not exist and for what is another's."""
    if not 0 < row_id < 2**63:  # the database's driver would fail on it
        raise NotFoundError
    row = session.scalar(scoped(actor, model).where(model.id == row_id))
    if row is None:
        raise NotFoundError
    return row
