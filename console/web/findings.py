"""Findings: the list and one finding."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from console.services import findings, pcap, sensors
from console.services.actor import Role
from console.services.errors import InvalidError
from console.services.finding_filter import FindingFilter
from console.services.findings import Verdict
from console.store.search.fields import ALIASES, FIELDS, OWN, SearchField
from console.store.search.query.errors import QueryError
from console.store.search.query.lexer import MAX_QUERY
from console.web import query_help
from console.web.context import actor, db, now, role_required, search_of_request, zone
from console.web.errors import refused
from console.web.filters import active_filters, period_names, state_names, with_condition
from detectors.attack.techniques import technique

blueprint = Blueprint("findings", __name__, url_prefix="/findings")


def _asked() -> findings.Asked:
    wanted = FindingFilter.from_query(request.args.to_dict(flat=False))
    return findings.Asked(db(), search_of_request(), actor(), wanted, now(), zone())


@blueprint.get("/")
def index() -> Any:
    """The list; its URL is the whole state."""
    asked = _asked()
    wanted = asked.filter
    known = sensors.all_sensors(db(), actor())
    problem: QueryError | None = None
    page, by_severity, protocols, bars = findings.NOTHING, {}, [], []
    try:
        page, bars = findings.search(asked), findings.histogram(asked)
        by_severity, protocols = findings.count_severities(asked), findings.count_protocols(asked)
    except QueryError as error:
        problem = error
    return render_template(
        "findings/index.html",
        wanted=wanted,
        page=page,
        by_severity=by_severity,
        protocols=protocols,
        bars=bars,
        problem=problem,
        away=getattr(asked.search, "away", ""),
        longest=MAX_QUERY,
        with_condition=with_condition,
        suggested=FIELDS.values(),
        latest=findings.latest_id(db(), actor()),
        sensors=known,
        active=active_filters(wanted, known),
        periods=period_names(),
        states=state_names(),
        technique=technique,
    )


@blueprint.get("/news/<int:after>")
def news(after: int) -> Any:
    """Asked again and again by the list: how many findings came since it was shown."""
    try:
        count = findings.newer_than(_asked(), after)
    except QueryError:
        count = 0
    if count and request.args.get("empty"):  # nobody loses their place in an empty list
        return Response(headers={"HX-Refresh": "true"})
    return render_template("findings/news.html", count=count)


@blueprint.get("/help")
def help_page() -> Any:
    """How to write a query, and every field that one may name."""
    protocols: dict[str, list[SearchField]] = {}
    for field in FIELDS.values():
        if field not in OWN:
            protocols.setdefault(field.name.split(".", 1)[0], []).append(field)
    return render_template(
        "findings/help.html",
        own=OWN,
        protocols=protocols,
        aliases=ALIASES,
        examples=query_help.examples(),
        rules=query_help.rules(),
        types=query_help.types(),
    )


@blueprint.get("/<int:finding_id>")
def detail(finding_id: int) -> Any:
    """One finding: what was seen, why it matters, what it stands on."""
    finding = findings.one(db(), actor(), finding_id)
    return render_template(
        "findings/detail.html",
        finding=finding,
        frames=pcap.frames(finding.evidence.pcap),
        similar=findings.similar(db(), actor(), finding),
        techniques=[technique(item) for item in finding.techniques],
        everything=FindingFilter(),
        fields=FIELDS,
        with_condition=with_condition,
        states=state_names(),
    )


@blueprint.get("/<int:finding_id>/evidence.pcap")
def capture(finding_id: int) -> Any:
    """The frames of a finding as a file."""
    evidence = findings.evidence_of(db(), actor(), finding_id)
    if not evidence.pcap:
        abort(404)
    name = f'attachment; filename="finding-{finding_id}.pcap"'
    return Response(evidence.pcap, mimetype="application/vnd.tcpdump.pcap", headers={"Content-Disposition": name})


@blueprint.post("/<int:finding_id>/verdict")
@role_required(Role.ANALYST)
def judge(finding_id: int) -> Any:
    """Record what people decided."""
    given = request.form.get("verdict", "")
    if given and given not in list(Verdict):
        abort(400)
    note = request.form.get("note", "")
    try:
        findings.judge(db(), actor(), finding_id, Verdict(given) if given else None, note, now())
    except InvalidError as error:
        return refused(error, lambda: detail(finding_id))
    flash(_("Recorded."))
    return redirect(url_for("findings.detail", finding_id=finding_id))
