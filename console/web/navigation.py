"""The navigation: an explicit list, one line for each place."""

from __future__ import annotations

from dataclasses import dataclass

from flask_babel import LazyString, lazy_gettext

from console.services.actor import Role


@dataclass(frozen=True, slots=True)
class Place:
    """One entry. key: pressed after `g` it goes there; icon: name of a symbol in static/icons.svg."""

    endpoint: str
    label: LazyString
    key: str
    icon: str
    role: Role = Role.VIEWER


NAVIGATION = (
    Place("overview.page", lazy_gettext("Overview"), "o", "overview"),
    Place("findings.index", lazy_gettext("Findings"), "f", "finding"),
    Place("incidents.index", lazy_gettext("Incidents"), "i", "incident"),
    Place("bulletins.index", lazy_gettext("Bulletins"), "b", "bulletin"),
    Place("contacts.index", lazy_gettext("Contacts"), "c", "contact"),
    Place("assets.index", lazy_gettext("Assets"), "a", "link"),
    Place("sensors.index", lazy_gettext("Sensors"), "s", "sensor"),
    Place("search_index.index", lazy_gettext("Search index"), "x", "search", Role.ADMINISTRATOR),
    Place("retention.index", lazy_gettext("Retention"), "r", "overview", Role.ADMINISTRATOR),
    Place("audit.index", lazy_gettext("Audit log"), "a", "overview", Role.ADMINISTRATOR),
)
