"""Bulletins: the list, one bulletin, writing, issuing, lifting, taking a copy out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask_babel import gettext, lazy_gettext

from console.services import bulletin_reading, bulletins, publishing, receipts, releases, sightings
from console.services.actor import Role
from console.services.bulletins import Content, State
from console.services.errors import InvalidError, NotFoundError
from console.sharing.document import Colour, Notice
from console.sharing.patterns import Match, NotUsableError, address_match
from console.sharing.tlp import Tlp
from console.store.models import Bulletin, Finding
from console.web.context import actor, commit, console, db, now, role_required, rollback
from detectors.attack.techniques import technique

blueprint = Blueprint("bulletins", __name__, url_prefix="/bulletins")

TECHNIQUE = re.compile(r"T\d{4}(?:\.\d{3})?", re.ASCII)
MAX_ADDRESSES = 1000
COLOURS = {
    Colour.RED: lazy_gettext("Red · grade I · extremely serious"),
    Colour.ORANGE: lazy_gettext("Orange · grade II · serious"),
    Colour.YELLOW: lazy_gettext("Yellow · grade III · major"),
    Colour.BLUE: lazy_gettext("Blue · grade IV · ordinary"),
}
TLP_MEANINGS = {
    Tlp.RED: lazy_gettext("named recipients only: of each organisation its administrators"),
    Tlp.AMBER_STRICT: lazy_gettext("the recipients' organisations, nobody else"),
    Tlp.AMBER: lazy_gettext("the recipients' organisations and those below them"),
    Tlp.GREEN: lazy_gettext("the community: organisations of the tree and registered peers, not the public"),
    Tlp.CLEAR: lazy_gettext("everybody, no limit"),
}
STATES = {
    State.DRAFT: lazy_gettext("Draft"),
    State.ISSUED: lazy_gettext("In force"),
    State.SUPERSEDED: lazy_gettext("Replaced by a later version"),
    State.WITHDRAWN: lazy_gettext("Lifted"),
}
NOTICES = {
    Notice.ALERT: lazy_gettext("Warning"),
    Notice.UPDATE: lazy_gettext("Update"),
    Notice.CANCEL: lazy_gettext("All-clear"),
}
RUNGS = {
    receipts.Rung.DELIVERED: lazy_gettext("Delivered"),
    receipts.Rung.OPENED: lazy_gettext("Opened"),
    receipts.Rung.ACKNOWLEDGED: lazy_gettext("Acknowledged"),
}
REASONS = {
    "no-limit": lazy_gettext("no limit"),
    "not-public": lazy_gettext("not for the public"),
    "named-by-source": lazy_gettext("named as a recipient"),
    "own": lazy_gettext("own bulletin"),
    "own-organisation": lazy_gettext("own organisation"),
    "persons-only": lazy_gettext("for named persons only"),
    "community": lazy_gettext("member of the community"),
    "client": lazy_gettext("below the recipient"),
    "clients-only": lazy_gettext("not below the recipient"),
    "organisation-only": lazy_gettext("stays in the recipient's organisation"),
}


@blueprint.context_processor
def _words() -> dict[str, Any]:
    return {
        "colours": COLOURS, "tlps": list(Tlp), "tlp_of": Tlp.of, "tlp_meanings": TLP_MEANINGS, "states": STATES,
        "notices": NOTICES, "rungs": RUNGS, "rung_of": receipts.rung_of, "reasons": REASONS,
        "colour_of": lambda word: Colour(word) if word in set(Colour) else None, "technique": technique,
        "recipient_name": bulletins.recipient_name, "Tlp": Tlp,
    }  # fmt: skip


@blueprint.get("/")
def index() -> Any:
    """What came in and what went out."""
    received = bulletin_reading.listed(db(), actor(), received=True)
    return render_template(
        "bulletins/index.html",
        received=received,
        issued=bulletin_reading.listed(db(), actor(), received=False),
        sources=bulletin_reading.sources(db(), received),
        acknowledged=lambda row: sum(receipts.rung_of(entry) is receipts.Rung.ACKNOWLEDGED for entry in row.recipients),
        own_entry=lambda row: next(
            (entry for entry in row.recipients if entry.to_organisation_id == actor().organisation_id), None
        ),
    )


@blueprint.get("/<int:bulletin_id>")
def show(bulletin_id: int) -> Any:
    """One bulletin; opening it is noted."""
    _note(bulletin_id, "page")
    opened = bulletin_reading.read(db(), actor(), bulletin_id)
    bulletin = opened.bulletin
    return render_template(
        "bulletins/show.html",
        opened=opened,
        bulletin=bulletin,
        source=bulletin_reading.sources(db(), [bulletin])[bulletin.id],
        audience=bulletins.audience(db(), actor(), bulletin_id) if opened.mine else None,
        hits=sightings.hits(db(), actor(), bulletin),
        log=releases.of_object(db(), actor(), bulletin.stix_id) if opened.mine else [],
        newest=bulletin_reading.find_by_stix_id(db(), actor(), bulletin.stix_id),
        may_write=actor().may(Role.ANALYST),
    )


@blueprint.get("/of/<stix_id>")
def by_stix_id(stix_id: str) -> Any:
    """The newest version of a bulletin, by the identifier that findings and other consoles know."""
    found = bulletin_reading.find_by_stix_id(db(), actor(), stix_id)
    if found is None:
        raise NotFoundError
    return redirect(url_for("bulletins.show", bulletin_id=found.id))


@blueprint.get("/<int:bulletin_id>/stix.json")
def export(bulletin_id: int) -> Any:
    """A copy as a STIX 2.1 bundle."""
    _note(bulletin_id, "export")
    with console().store.transaction() as session:  # the first export makes the organisation's identity
        bundle = bulletin_reading.export(session, actor(), bulletin_id, now())
    return _file(bundle, f"bulletin-{bulletin_id}.json")


@blueprint.get("/<int:bulletin_id>/sightings.json")
def export_sightings(bulletin_id: int) -> Any:
    """What the own sensors saw of it, as a STIX 2.1 bundle."""
    with console().store.transaction() as session:
        bundle = sightings.export(session, actor(), bulletin_id, now())
    return _file(bundle, f"sightings-{bulletin_id}.json")


def _file(bundle: dict[str, Any], name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(
        json.dumps(bundle, ensure_ascii=True, indent=1), mimetype="application/stix+json;version=2.1", headers=headers
    )


def _note(bulletin_id: int, channel: str) -> None:
    with console().store.transaction() as session:
        bulletin_reading.note(session, actor(), bulletin_id, now(), channel)
    commit()  # ends what this request has read so far, so that it sees what was noted


@blueprint.post("/<int:bulletin_id>/acknowledge")
@role_required(Role.ANALYST)
def acknowledge(bulletin_id: int) -> Any:
    """The organisation has taken note."""
    if bulletin_reading.acknowledge(db(), actor(), bulletin_id, now()):
        flash(gettext("Acknowledged."))
    else:
        flash(gettext("Somebody acknowledged it before you."))
    return redirect(url_for("bulletins.show", bulletin_id=bulletin_id), 303)


@blueprint.get("/new")
@role_required(Role.ANALYST)
def new() -> Any:
    """The form, filled from a finding where one is named."""
    finding_id = request.args.get("finding", type=int)
    if finding_id is None:
        return _form(Content(), [], None, None)
    finding, content, offered = bulletins.from_finding(db(), actor(), finding_id)
    return _form(content, [offer.match for offer in offered], finding, None)


@blueprint.post("/new")
@role_required(Role.ANALYST)
def create() -> Any:
    """Keep a draft; issuing it is a step of its own."""
    finding_id = request.form.get("finding", type=int)
    finding, choices = None, []
    if finding_id is not None:
        finding, _, offered = bulletins.from_finding(db(), actor(), finding_id)
        choices = [offer.match for offer in offered]
    content = Content()
    try:
        content = _read_form(choices)
        made = bulletins.draft(db(), actor(), content, now(), finding_id)
    except InvalidError as error:
        return _refused(error, content, choices, finding, None)
    return redirect(url_for("bulletins.show", bulletin_id=made.id), 303)


@blueprint.get("/<int:bulletin_id>/edit")
@role_required(Role.ANALYST)
def edit(bulletin_id: int) -> Any:
    """The form, filled from the version before."""
    bulletin = bulletins.load_own(db(), actor(), bulletin_id)
    content = bulletins.content_of(db(), bulletin)
    return _form(content, content.matches, None, bulletin)


@blueprint.post("/<int:bulletin_id>/edit")
@role_required(Role.ANALYST)
def change(bulletin_id: int) -> Any:
    """Replace a draft, or begin the next version of what was issued."""
    bulletin = bulletins.load_own(db(), actor(), bulletin_id)
    choices = bulletins.matches_of(db(), bulletin)
    content = Content()
    try:
        content = _read_form(choices)
        made = bulletins.revise(db(), actor(), bulletin_id, content, now())
    except InvalidError as error:
        return _refused(error, content, choices, None, bulletin_id)
    return redirect(url_for("bulletins.show", bulletin_id=made.id), 303)


@blueprint.post("/<int:bulletin_id>/issue")
@role_required(Role.ANALYST)
def issue(bulletin_id: int) -> Any:
    """Send it out."""
    bulletins.issue(db(), actor(), bulletin_id, now())
    flash(gettext("The bulletin was issued."))
    return redirect(url_for("bulletins.show", bulletin_id=bulletin_id), 303)


@blueprint.post("/<int:bulletin_id>/cancel")
@role_required(Role.ANALYST)
def cancel(bulletin_id: int) -> Any:
    """Lift it."""
    reason_en, reason_zh = (request.form.get(name, "").strip() for name in ("reason_en", "reason_zh"))
    last = bulletins.cancel(db(), actor(), bulletin_id, reason_en, reason_zh, now())
    flash(gettext("The bulletin was lifted; its recipients are told so."))
    return redirect(url_for("bulletins.show", bulletin_id=last.id), 303)


@blueprint.post("/<int:bulletin_id>/discard")
@role_required(Role.ANALYST)
def discard(bulletin_id: int) -> Any:
    """Throw a draft away."""
    bulletins.discard(db(), actor(), bulletin_id, now())
    flash(gettext("The draft was thrown away."))
    return redirect(url_for("bulletins.index"), 303)


def _form(content: Content, choices: Iterable[Match], finding: Finding | None, bulletin: Bulletin | None) -> Any:
    organisations, peers = bulletins.possible_recipients(db(), actor())
    return render_template(
        "bulletins/form.html",
        content=content,
        choices=list(dict.fromkeys([*choices, *content.matches])),
        finding=finding,
        bulletin=bulletin,
        organisations=organisations,
        peers=peers,
        is_private=publishing.is_private,
    )


def _refused(
    error: InvalidError, content: Content, choices: list[Match], finding: Finding | None, bulletin_id: int | None
) -> Any:
    """The form again with what was typed in and what is wrong with it."""
    rollback()
    flash(gettext(error.message, **error.values), "error")
    bulletin = bulletins.load_own(db(), actor(), bulletin_id) if bulletin_id is not None else None
    if finding is not None:
        finding = bulletins.from_finding(db(), actor(), finding.id)[0]
    return _form(content, choices, finding, bulletin), 400


def _read_form(choices: list[Match]) -> Content:
    """The content of the form. Raises InvalidError."""
    form = request.form
    chosen = set(form.getlist("match"))
    try:
        tlp, colour = Tlp.of(form.get("tlp", "")), Colour(form.get("colour", ""))
    except ValueError as error:
        raise InvalidError("Choose a TLP label and a colour.") from error
    techniques = list(dict.fromkeys(re.split(r"[\s,;，、]+", form.get("techniques", "").strip().upper())))
    techniques = [one for one in techniques if one]
    if len(techniques) > 50 or not all(TECHNIQUE.fullmatch(one) for one in techniques):
        raise InvalidError("A technique's id looks like T0858.")
    texts = {
        name: form.get(name, "").replace("\r\n", "\n")
        for name in ("title_en", "title_zh", "body_en", "body_zh", "advice_en", "advice_zh")
    }
    return Content(
        **texts,
        tlp=tlp,
        colour=colour,
        drill="drill" in form,
        techniques=techniques,
        matches=[match for match in choices if match.text in chosen] + _addresses(form.get("addresses", "")),
        organisations=_ids("organisation"),
        peers=_ids("peer"),
    )


def _addresses(text: str) -> list[Match]:
    lines = text.split()
    if len(lines) > MAX_ADDRESSES:
        raise InvalidError("There are too many addresses.")
    found = []
    for line in lines:
        try:
            found.append(address_match(line))
        except NotUsableError as error:
            raise InvalidError("Sensors cannot look for this address: %(text)s", text=line[:60]) from error
    return found


def _ids(name: str) -> list[int]:
    texts = request.form.getlist(name)
    if not all(text.isascii() and text.isdigit() and len(text) <= 18 for text in texts):
        raise InvalidError("The form was not complete.")
    return [int(text) for text in texts]
