"""How values look on a page: times, numbers, severities, strings from the wire."""

from __future__ import annotations

import json
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Flask
from flask_babel import format_decimal, lazy_gettext, ngettext
from flask_babel import gettext as _
from markupsafe import Markup

from console.services.actor import Role
from console.services.configuration import Running
from console.services.sensors import State
from console.services.troubles import Kind
from console.web.context import console, zone
from detectors.finding import MAC, Severity
from sensor.schema import FIELDS

SEVERITIES = {
    Severity.CRITICAL: lazy_gettext("Critical"),
    Severity.HIGH: lazy_gettext("High"),
    Severity.MEDIUM: lazy_gettext("Medium"),
    Severity.LOW: lazy_gettext("Low"),
    Severity.INFORMATIONAL: lazy_gettext("Informational"),
}
SENSOR_STATES = {
    State.ACTIVE: lazy_gettext("Active"),
    State.SILENT: lazy_gettext("Silent"),
    State.NEVER: lazy_gettext("Never seen"),
    State.STOPPED: lazy_gettext("Stopped as planned"),
    State.REVOKED: lazy_gettext("Revoked"),
}
TROUBLES = {
    Kind.SILENT: lazy_gettext("Silent"),
    Kind.BLIND: lazy_gettext("Blind"),
    Kind.CLOCK: lazy_gettext("Clock is off"),
    Kind.CLONED: lazy_gettext("Cloned"),
}

CONFIG_KINDS = {
    "sigma": lazy_gettext("Sigma rules"),
    "knowledge": lazy_gettext("Texts of rules"),
    "yara": lazy_gettext("YARA rules"),
    "baseline": lazy_gettext("Baseline"),
    "tags": lazy_gettext("Tags with limits"),
    "tickets": lazy_gettext("Planned work"),
    "overrides": lazy_gettext("Levels that people set"),
    "ledger": lazy_gettext("Ledger of devices"),
}
CONFIG_STATES = {
    Running.IN_FORCE: lazy_gettext("in force"),
    Running.WAITING: lazy_gettext("not fetched yet"),
    Running.REFUSED: lazy_gettext("refused, the version before stays"),
    Running.UNKNOWN: lazy_gettext("not told"),
}


def register_filters(app: Flask) -> None:
    """Install the filters under the names that templates use."""
    app.jinja_env.filters.update(
        time=time_element,
        ago=ago,
        number=format_decimal,
        wire=wire,
        value=value,
        severity=severity_name,
        local=local_text,
        epoch=epoch,
    )
    app.jinja_env.globals.update(config_kinds=CONFIG_KINDS, config_states=CONFIG_STATES)
    app.jinja_env.globals.update(
        Role=Role,
        severities=SEVERITIES,
        sensor_states=SENSOR_STATES,
        zone_name=zone_name,
        field_meaning=field_meaning,
        ends_field=ends_field,
        sensor_troubles=TROUBLES,
    )
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True


def local(moment: datetime) -> datetime:
    """The time in the installation's zone; in UTC at the ends of the calendar, where no zone can shift it."""
    try:
        return moment.astimezone(zone())
    except OverflowError:
        return moment.astimezone(UTC)


def zone_name() -> str:
    """The zone of times on pages, as an offset: "UTC+08:00"."""
    offset = f"{console().clock().astimezone(zone()):%z}"
    return f"UTC{offset[:3]}:{offset[3:]}"


def time_element(moment: datetime | None, pattern: str = "%Y-%m-%d %H:%M:%S") -> Markup:
    """A <time> that shows the local time and keeps the exact one in UTC."""
    if moment is None:
        return Markup("–")
    exact = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    shown = local(moment)
    # strftime writes years below 1000 without zeros on some systems; times before 1970 never get here
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(exact, shown.strftime(pattern))


def epoch(seconds: Any) -> Markup | str:
    """Seconds since 1970, as a sensor says them, as a time; anything else as it is."""
    if type(seconds) in (int, float) and 0 <= seconds < 2**34:
        return time_element(datetime.fromtimestamp(seconds, UTC))
    return value(seconds)


def ago(moment: datetime | None) -> str:
    """How long ago, in one unit: "5 min ago"."""
    if moment is None:
        return "–"
    seconds = max(int((console().clock() - moment) / timedelta(seconds=1)), 0)
    if seconds < 60:
        return str(ngettext("%(num)d s ago", "%(num)d s ago", seconds))
    if seconds < 3600:
        return str(ngettext("%(num)d min ago", "%(num)d min ago", seconds // 60))
    if seconds < 2 * 86400:
        return str(ngettext("%(num)d h ago", "%(num)d h ago", seconds // 3600))
    return str(ngettext("%(num)d days ago", "%(num)d days ago", seconds // 86400))


def local_text(moment: datetime) -> str:
    """The local time as a filter in the URL has it."""
    return local(moment).strftime("%Y-%m-%dT%H:%M:%S")


def severity_name(level: int) -> str:
    """The word of a severity in the reader's language."""
    return str(SEVERITIES[Severity(level)])


def wire(text: object) -> str:
    """A string from the wire with everything invisible made visible: control characters, direction overrides.

    The page escapes it after this like any other string.
    """
    return "".join(
        c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else f"\\u{ord(c):04x}"
        for c in str(text)
    )


def value(anything: Any) -> str:
    """The value of a decoded field in one line."""
    if isinstance(anything, bool):
        return str(_("yes") if anything else _("no"))
    if isinstance(anything, (dict, list)):
        if isinstance(anything, list) and all(isinstance(item, (str, int, float)) for item in anything):
            return wire(", ".join(str(item) for item in anything))
        return wire(json.dumps(anything, ensure_ascii=False))
    return wire(anything)


def field_meaning(name: str) -> str:
    """What the schema says about a field, in English as it is written there; "" for a field that it does not know."""
    field = FIELDS.get(name)
    return field.meaning if field else ""


def ends_field(end: str, address: str) -> str:
    """The field of an address of one end, "source" or "destination": of hardware, or of IP."""
    return f"{end}.mac" if MAC.fullmatch(address) else f"{end}.ip"
