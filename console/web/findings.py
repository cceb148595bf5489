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
from console.web.context import actor, db, now, role_required, zone
from console.web.errors import refused
from console.web.filters import active_filters, period_names, state_names
from detectors.attack.techniques import technique

blueprint = Blueprint("findings", __name__, url_prefix="/findings")


def _wanted() -> FindingFilter:
    return FindingFilter.from_query(request.args.to_dict(flat=False))


@blueprint.get("/")
def index() -> Any:
    """The list; its URL is the whole state."""
    wanted = _wanted()
    asked = (db(), actor(), wanted, now(), zone())
    known = sensors.all_sensors(db(), actor())
    return render_template(
        "findings/index.html",
        wanted=wanted,
        page=findings.search(*asked),
        by_severity=findings.count_severities(*asked),
        protocols=findings.count_protocols(*asked),
        bars=findings.histogram(*asked),
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
    count = findings.newer_than(db(), actor(), _wanted(), after, now(), zone())
    if count and request.args.get("empty"):  # nobody loses their place in an empty list
        return Response(headers={"HX-Refresh": "true"})
    return render_template("findings/news.html", count=count)


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
