"""The numbers at the top of the overview: one function and one line for each; every number leads to its list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from flask import url_for
from flask_babel import gettext as _
from sqlalchemy import func
from sqlalchemy.orm import Session

from console.services import bulletin_reading, incidents, sensors
from console.services.actor import Actor, scoped
from console.services.sensors import State
from console.store.models import Finding, IncidentState
from detectors.finding import Severity


@dataclass(frozen=True, slots=True)
class Number:
    """One tile. tone: "critical", "high", "calm" or "": a word for its colour; the label says the same."""

    label: str
    value: int
    href: str
    tone: str = ""
    note: str = ""


def silent_sensors(session: Session, actor: Actor, now: datetime) -> Number:
    """Sensors that stopped speaking: what they watch is not watched."""
    states = [sensors.state(sensor, now) for sensor in sensors.all_sensors(session, actor)]
    in_use = [state for state in states if state is not State.REVOKED]
    silent = sum(state is not State.ACTIVE for state in in_use)
    return Number(
        _("Sensors not reporting"),
        silent,
        url_for("sensors.index"),
        "high" if silent else "calm",
        _("of %(total)s", total=len(in_use)),
    )


def new_grave_findings(session: Session, actor: Actor, now: datetime) -> Number:
    """New findings of severity high or critical."""
    found = _new(session, actor, Severity.HIGH)
    href = url_for("findings.index", state="new", severity=["critical", "high"])
    return Number(_("New, high or critical"), found, href, "critical" if found else "calm")


def new_findings(session: Session, actor: Actor, now: datetime) -> Number:
    """All findings that nobody has judged."""
    return Number(
        _("New findings"), _new(session, actor, Severity.INFORMATIONAL), url_for("findings.index", state="new")
    )


def _new(session: Session, actor: Actor, least: Severity) -> int:
    query = scoped(actor, Finding).where(Finding.verdict.is_(None), Finding.severity >= least)
    return session.scalar(query.with_only_columns(func.count())) or 0


def open_incidents(session: Session, actor: Actor, now: datetime) -> Number:
    """Incidents that nobody has taken yet, of those that are not closed."""
    counted = incidents.counts(session, actor)
    waiting, taken = counted[IncidentState.OPEN], counted[IncidentState.ACKNOWLEDGED]
    return Number(
        _("Incidents nobody has taken"),
        waiting,
        url_for("incidents.index", state=IncidentState.OPEN if waiting else None),
        "critical" if waiting else "calm",
        _("of %(total)s", total=waiting + taken),
    )


def unread_bulletins(session: Session, actor: Actor, now: datetime) -> Number:
    """Bulletins that the organisation received and has not acknowledged."""
    waiting = bulletin_reading.waiting(session, actor)
    return Number(_("Bulletins to acknowledge"), waiting, url_for("bulletins.index"), "high" if waiting else "calm")


NUMBERS: tuple[Callable[[Session, Actor, datetime], Number], ...] = (
    new_grave_findings,
    new_findings,
    open_incidents,
    unread_bulletins,
    silent_sensors,
)
