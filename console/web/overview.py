"""The first page: what is going on, and what to do next."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template

from console.services import findings
from console.services.finding_filter import FindingFilter
from console.store.search.sql_search import SqlSearch
from console.web.context import actor, db, now, zone
from console.web.next_steps import next_steps
from console.web.numbers import NUMBERS

blueprint = Blueprint("overview", __name__)

LAST_DAY = FindingFilter(since="now-24h", by="received")
NEWEST = FindingFilter(state="new", sort="-received")


@blueprint.get("/")
def page() -> Any:
    """Numbers that link to lists, what arrived in the last day, what to do next."""
    newest, last_day = (findings.Asked(db(), SqlSearch(db()), actor(), it, now(), zone()) for it in (NEWEST, LAST_DAY))
    return render_template(
        "overview/page.html",
        by_severity=findings.count_severities(newest),
        numbers=[number(db(), actor(), now()) for number in NUMBERS],
        steps=next_steps(db(), actor(), now()),
        bars=findings.histogram(last_day),
        wanted=LAST_DAY,
        newest=findings.search(newest).rows[:6],
        targets=findings.top_targets(db(), actor()),
    )
