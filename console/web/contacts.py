"""Contacts, the order in which they are called, and when findings open incidents by themselves."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext

from console.notify.channels import channels
from console.services import contacts, escalation, incident_policy
from console.services.actor import Role
from console.services.errors import InvalidError
from console.web.context import actor, console, db, now, role_required, rollback

blueprint = Blueprint("contacts", __name__, url_prefix="/contacts")


@blueprint.get("/")
def index() -> Any:
    """Everything on one page: who, in which order, from which severity on."""
    return _page()


def _page(secret: tuple[int, dict[str, str]] | None = None) -> Any:
    """secret: id of an address made just now and its generated fields, which are never shown again."""
    policy = contacts.policy_of(db(), actor())
    return render_template(
        "contacts/index.html",
        contacts=contacts.contacts(db(), actor()),
        steps=policy.steps if policy else [],
        rounds=policy.rounds if policy else 3,
        incident_policy=incident_policy.policy_of(db(), actor()),
        channels=channels(console().settings),
        last=contacts.last_notifications(db(), actor()),
        worker_runs=escalation.worker_runs(db(), now()),
        secret=secret,
        may_change=actor().may(Role.ADMINISTRATOR),
    )


@blueprint.post("/")
@role_required(Role.ADMINISTRATOR)
def add_contact() -> Any:
    """A new contact with its first address."""
    made = channels(console().settings).get(request.form.get("channel", ""))
    try:
        if made is None:
            raise InvalidError("Choose a channel.")
        contact = contacts.add_contact(
            db(), actor(), request.form.get("name", ""), request.form.get("locale", ""), now()
        )
        return _new_address(contact.id, made)
    except InvalidError as error:
        return _refused(error)


@blueprint.post("/<int:contact_id>/addresses")
@role_required(Role.ADMINISTRATOR)
def add_address(contact_id: int) -> Any:
    """A further way to reach a contact."""
    channel = channels(console().settings).get(request.form.get("channel", ""))
    try:
        if channel is None:
            raise InvalidError("Choose a channel.")
        return _new_address(contact_id, channel)
    except InvalidError as error:
        return _refused(error)


def _new_address(contact_id: int, channel: Any) -> Any:
    fields = {field.name: request.form.get(f"{channel.name}.{field.name}", "") for field in channel.fields}
    address = contacts.add_address(db(), actor(), contact_id, channel, fields, now())
    made = {field.name: address.destination[field.name] for field in channel.fields if field.generated}
    flash(gettext("The address was added. Send a test message to it."))
    return _page((address.id, made)) if made else _back()


@blueprint.post("/<int:contact_id>/remove")
@role_required(Role.ADMINISTRATOR)
def remove_contact(contact_id: int) -> Any:
    """Tell a contact nothing more."""
    contacts.remove_contact(db(), actor(), contact_id, now())
    flash(gettext("The contact was removed."))
    return _back()


@blueprint.post("/addresses/<int:address_id>/remove")
@role_required(Role.ADMINISTRATOR)
def remove_address(address_id: int) -> Any:
    """Use an address no more."""
    contacts.remove_address(db(), actor(), address_id, now())
    flash(gettext("The address was removed."))
    return _back()


@blueprint.post("/addresses/<int:address_id>/test")
@role_required(Role.ADMINISTRATOR)
def send_test(address_id: int) -> Any:
    """A test message, marked as a drill."""
    contacts.send_test(db(), actor(), address_id, now())
    flash(gettext("A test message is on its way. Its state stands beside the address."))
    return _back()


@blueprint.post("/escalation")
@role_required(Role.ADMINISTRATOR)
def set_escalation() -> Any:
    """The steps in their order; rows without an address are left out."""
    addresses = request.form.getlist("address_id")
    waits = request.form.getlist("wait_minutes")
    rounds = request.form.get("rounds", type=int)
    try:
        if len(addresses) != len(waits) or rounds is None:
            raise InvalidError("The form was not complete.")
        steps = [
            contacts.Step(_number(address), _number(wait))
            for address, wait in zip(addresses, waits, strict=True)
            if address
        ]
        contacts.set_escalation(db(), actor(), steps, rounds, now())
    except InvalidError as error:
        return _refused(error)
    flash(gettext("The escalation was saved."))
    return _back()


@blueprint.post("/policy")
@role_required(Role.ADMINISTRATOR)
def set_policy() -> Any:
    """When findings open incidents."""
    opens_at = request.form.get("opens_at", "")
    try:
        incident_policy.set_policy(
            db(), actor(), _number(opens_at) if opens_at else None, _number(request.form.get("join_hours", "")), now()
        )
    except InvalidError as error:
        return _refused(error)
    flash(gettext("The policy was saved."))
    return _back()


def _number(text: str) -> int:
    """A whole number of a form. Raises InvalidError."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidError("This is not a whole number: %(text)s", text=text[:40])
    return int(text)


def _refused(error: InvalidError) -> Any:
    """Back to the page with what was wrong; nothing was changed."""
    rollback()
    flash(gettext(error.message, **error.values), "error")
    return _back()


def _back() -> Any:
    return redirect(url_for("contacts.index"), 303)
