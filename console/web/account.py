"""The user's own account, and for administrators the users of the organisation."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_login import current_user

from console.services import organisations, users
from console.services.actor import Role
from console.services.errors import InvalidError
from console.web.context import actor, db, now, role_required
from console.web.errors import refused
from console.web.security import limiter

blueprint = Blueprint("account", __name__, url_prefix="/account")


def _page(made: str = "", password: str = "") -> Any:
    return render_template(
        "account/page.html",
        organisation=organisations.own(db(), actor()),
        members=users.members(db(), actor()) if actor().may(Role.ADMINISTRATOR) else [],
        login=current_user.login,
        made=made,
        password=password,
    )


@blueprint.get("/")
def page() -> Any:
    """Who is logged in, and a form to change the password."""
    return _page()


@blueprint.post("/password")
@limiter.limit("10/minute", key_func=lambda: f"password:{actor().user_id}")
def change_password() -> Any:
    """Change the own password."""
    form = request.form
    try:
        if form.get("new", "") != form.get("again", ""):
            raise InvalidError("The new password was not typed the same twice.")
        users.change_password(db(), actor(), form.get("old", ""), form.get("new", ""), current_user.token, now())
    except InvalidError as error:
        return refused(error, _page)
    flash(_("The password is changed. Other browsers are logged out."))
    return redirect(url_for("account.page"))


@blueprint.post("/users")
@role_required(Role.ADMINISTRATOR)
def add_user() -> Any:
    """A new user of the organisation; the answer is the only page that ever shows the password."""
    form, password = request.form, users.new_password()
    login, name, role = form.get("login", ""), form.get("name", ""), form.get("role", "")
    try:
        if role not in list(Role):
            raise InvalidError("There is no such role.")
        own = organisations.own(db(), actor())
        made = users.create_user(db(), own, login, name, Role(role), password, now(), by=actor())
    except InvalidError as error:
        return refused(error, _page)
    return _page(made.login, password)


@blueprint.post("/users/<int:user_id>/disable")
@role_required(Role.ADMINISTRATOR)
def disable_user(user_id: int) -> Any:
    """Lock a user out."""
    try:
        user = users.disable_user(db(), actor(), user_id, now())
    except InvalidError as error:
        return refused(error, _page)
    flash(_("%(name)s cannot log in any more.", name=user.login))
    return redirect(url_for("account.page"))
