"""The filters that are on, each with the URL that takes it off."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flask import url_for
from flask_babel import gettext as _

from console.services.finding_filter import SEVERITIES, FindingFilter
from console.store.models import Sensor
from console.store.search.query.write import added, condition
from console.web.display import severity_name, wire


@dataclass(frozen=True, slots=True)
class ActiveFilter:
    """What is filtered by, and where the list without it is."""

    name: str
    value: str
    without: str


def with_condition(wanted: FindingFilter, field: str, value: object, want: bool) -> str:
    """The list with one more condition: findings that have this value of a field, or that do not."""
    query = added(wanted.q, condition(field, value, want))
    return url_for("findings.index", **wanted.query(q=query))


def period_names() -> dict[str, str]:
    """Stretches of time that the list offers, by what stands in the URL."""
    return {
        "now-1h": _("Last hour"),
        "now-24h": _("Last 24 hours"),
        "now-7d": _("Last 7 days"),
        "now-30d": _("Last 30 days"),
    }


def state_names() -> dict[str, str]:
    """States of a finding, by what stands in the URL."""
    return {
        "new": _("New"),
        "real": _("Real"),
        "expected": _("Expected"),
        "false": _("False alarm"),
        "open": _("New or real"),
    }


def active_filters(wanted: FindingFilter, sensors: Iterable[Sensor]) -> list[ActiveFilter]:
    """One entry for each condition of the filter."""
    names = {sensor.id: sensor.name for sensor in sensors}
    sensor = names.get(wanted.sensor, str(wanted.sensor)) if wanted.sensor is not None else ""
    since = period_names().get(wanted.since, wanted.since)
    conditions = (
        ("severity", _("Severity"), ", ".join(severity_name(SEVERITIES[word]) for word in wanted.severity), ()),
        ("protocol", _("Protocol"), ", ".join(wanted.protocol), ()),
        ("state", _("State"), state_names().get(wanted.state, ""), ""),
        ("ip", _("Address"), wanted.ip, ""),
        ("source", _("Source"), wanted.source, ""),
        ("destination", _("Destination"), wanted.destination, ""),
        ("rule", _("Rule"), wanted.rule, ""),
        ("technique", _("Technique"), wanted.technique, ""),
        ("sensor", _("Sensor"), sensor, None),
        ("q", _("Query"), wanted.q, ""),
        ("since", _("Arrived since") if wanted.by == "received" else _("Since"), since, ""),
        ("until", _("Until"), wanted.until, ""),
    )
    return [
        ActiveFilter(name, wire(value), url_for("findings.index", **wanted.query(**{field: nothing})))
        for field, name, value, nothing in conditions
        if value
    ]
