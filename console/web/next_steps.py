"""What to do next, by urgency: one function and one line for each kind of work that can wait for somebody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from flask import url_for
from flask_babel import gettext as _
from flask_babel import ngettext
from sqlalchemy import func
from sqlalchemy.orm import Session

from console.services import bulletin_reading, dead_letters, incidents, sensors
from console.services.actor import Actor, Role, scoped
from console.services.sensors import State
from console.store.models import Finding, IncidentState
from console.web.display import wire
from console.web.language import locale
from detectors.finding import Severity

SHOWN = 6
DETAIL = "findings.detail"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. level: a Severity's value, for its order and its mark."""

    level: int
    text: str
    detail: str
    href: str


def judge_grave_findings(session: Session, actor: Actor, now: datetime) -> list[Step]:
    """Look at what is new and grave, one step for each rule."""
    level, latest, number = func.max(Finding.severity), func.max(Finding.id), func.count()
    kinds = session.execute(
        scoped(actor, Finding)
        .where(Finding.verdict.is_(None), Finding.severity >= Severity.HIGH)
        .with_only_columns(Finding.rule_id, level, latest, number)
        .group_by(Finding.rule_id)
        .order_by(level.desc(), number.desc())
        .limit(SHOWN)
    )
    steps = []
    for rule, worst, latest_id, count in kinds:
        row = session.get_one(Finding, latest_id)
        if count == 1:
            detail, href = f"{row.source_ip or '?'} → {row.destination_ip or '?'}", url_for(DETAIL, finding_id=row.id)
        else:
            detail = ngettext("%(num)d finding", "%(num)d findings", count)
            href = url_for("findings.index", rule=rule, state="new")
        steps.append(Step(worst, wire(row.rule_name(locale())), detail, href))
    return steps


def look_after_sensors(session: Session, actor: Actor, now: datetime) -> list[Step]:
    """A segment that nobody watches; a console without sensors."""
    found = [sensor for sensor in sensors.all_sensors(session, actor) if sensor.revoked_at is None]
    href = url_for("sensors.index")
    if not found:
        text = _("Add the first sensor") if actor.may(Role.ADMINISTRATOR) else _("No sensor reports to this console")
        return [Step(Severity.MEDIUM, text, _("Nothing is watched yet."), href)]
    steps = []
    for sensor in found:
        state = sensors.state(sensor, now)
        if state is State.ACTIVE:
            continue
        where = f"{sensor.segment.site.name} / {sensor.segment.name}"
        if state is State.SILENT:
            steps.append(Step(Severity.HIGH, _("Sensor %(name)s is silent", name=sensor.name), where, href))
        else:
            steps.append(Step(Severity.LOW, _("Start sensor %(name)s", name=sensor.name), where, href))
    return steps


def read_dead_letters(session: Session, actor: Actor, now: datetime) -> list[Step]:
    """What a sensor sent could not be stored."""
    waiting = dead_letters.waiting(session, actor)
    if not waiting:
        return []
    detail = ngettext("%(num)d record", "%(num)d records", waiting)
    return [Step(Severity.LOW, _("See what could not be stored"), detail, url_for("dead_letters.index"))]


def take_incidents(session: Session, actor: Actor, now: datetime) -> list[Step]:
    """Somebody must take an incident, or the next contact is called."""
    waiting = [i for i in incidents.unsettled(session, actor) if i.state == IncidentState.OPEN]
    if len(waiting) > 2:
        text = ngettext("Take %(num)d incident", "Take %(num)d incidents", len(waiting))
        href = url_for("incidents.index", state=IncidentState.OPEN)
        return [Step(Severity.CRITICAL, text, _("Until then one contact after the other is called."), href)]
    return [
        Step(
            Severity.CRITICAL,
            _("Take incident #%(number)s", number=incident.number),
            wire(incident.title(locale())),
            url_for("incidents.show", incident_id=incident.id),
        )
        for incident in waiting
    ]


def acknowledge_bulletins(session: Session, actor: Actor, now: datetime) -> list[Step]:
    """A warning that came in is not read."""
    waiting = bulletin_reading.waiting(session, actor)
    if not waiting:
        return []
    detail = ngettext("%(num)d bulletin", "%(num)d bulletins", waiting)
    return [Step(Severity.MEDIUM, _("Read and acknowledge what was warned of"), detail, url_for("bulletins.index"))]


STEPS: tuple[Callable[[Session, Actor, datetime], list[Step]], ...] = (
    take_incidents,
    judge_grave_findings,
    acknowledge_bulletins,
    look_after_sensors,
    read_dead_letters,
)


def next_steps(session: Session, actor: Actor, now: datetime) -> list[Step]:
    """The most urgent things to do, of all kinds."""
    steps = [step for kind in STEPS for step in kind(session, actor, now)]
    return sorted(steps, key=lambda step: -step.level)[:SHOWN]
