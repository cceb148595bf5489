"""The audit log, for administrators: who changed what, when."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template, request

from console.services import audit
from console.services.actor import Role
from console.services.audit import AuditFilter
from console.web.context import actor, db, role_required

blueprint = Blueprint("audit", __name__, url_prefix="/audit")


@blueprint.get("/")
@role_required(Role.ADMINISTRATOR)
def index() -> Any:
    """Entries of the own organisation, the newest first."""

    def words(name: str) -> str:
        return request.args.get(name, "").strip()[:200]

    before = request.args.get("before", "")
    last = int(before) if before.isascii() and before.isdigit() and len(before) < 19 else 0
    wanted = AuditFilter(words("action"), words("actor"), words("subject"), last)
    entries, more = audit.listing(db(), actor(), wanted)
    return render_template("audit/page.html", entries=entries, more=more, wanted=wanted)
