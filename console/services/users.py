"""Users: passwords, logins, roles."""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata
from datetime import datetime, timedelta
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, select
from sqlalchemy.orm import Session, joinedload

from console.services import audit
from console.services.actor import Actor, Role, load, scoped
from console.services.errors import InvalidError, NotFoundError
from console.store.models import LoginSession, Organisation, User

MIN_PASSWORD, MAX_PASSWORD = 12, 128  # characters; the upper bound keeps hashing cheap
COMMAND_LINE = "command line"  # who acts where nobody is logged in: whoever has the console's machine
LOGIN = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that is misread from paper

hasher = PasswordHasher()  # argon2id with the library's current parameters (RFC 9106, low-memory profile)


def new_password() -> str:
    """A password made on the spot: 20 random characters in groups, about 99 bits."""
    groups = ("".join(secrets.choice(ALPHABET) for _ in range(5)) for _ in range(4))
    return "-".join(groups)


def _normal(password: str) -> str:
    """The same characters typed on different keyboards are the same password (NIST SP 800-63B, 5.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def _checked(password: str, login: str) -> str:
    password = _normal(password)
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise InvalidError("A password has %(min)s to %(max)s characters.", min=MIN_PASSWORD, max=MAX_PASSWORD)
    if login in password.lower() or len(set(password)) < 5:
        raise InvalidError("This password is easy to guess.")
    return password


def create_user(
    session: Session,
    organisation: Organisation,
    login: str,
    name: str,
    role: Role,
    password: str,
    now: datetime,
    by: Actor | str = COMMAND_LINE,
) -> User:
    """A new user, made `by` whom; InvalidError when the login is malformed or taken, or the password is weak."""
    login = login.strip().lower()
    if not LOGIN.fullmatch(login):
        raise InvalidError("A login has 1 to 64 of the characters a-z, 0-9, dot, dash, underscore and @.")
    if session.scalar(select(User.id).where(User.login == login)) is not None:
        raise InvalidError("This login is taken.")
    user = User(
        organisation_id=organisation.id,
        login=login,
        name=name.strip()[:200] or login,
        role=role.value,
        password_hash=hasher.hash(_checked(password, login)),
        created_at=now,
    )
    session.add(user)
    session.flush()
    details = {"login": login, "name": user.name, "role": role.value}
    audit.record(session, by, organisation.id, "user.created", f"user:{user.id}", details, now)
    return user


def members(session: Session, actor: Actor) -> list[User]:
    """Users of the actor's organisation, by login."""
    return list(session.scalars(scoped(actor, User).order_by(User.login)))


def disable_user(session: Session, actor: Actor, user_id: int, now: datetime) -> User:
    """Lock a user out at once, wherever they are logged in. Nobody can lock themselves out."""
    actor.require(Role.ADMINISTRATOR)
    user = load(session, actor, User, user_id)
    if user.id == actor.user_id:
        raise InvalidError("You cannot disable yourself.")
    user.disabled_at = user.disabled_at or now
    session.execute(delete(LoginSession).where(LoginSession.user_id == user.id))
    audit.record(session, actor, actor.organisation_id, "user.disabled", f"user:{user.id}", {"login": user.login}, now)
    return user


@cache
def _nobody() -> str:
    return hasher.hash(secrets.token_hex())


def authenticate(session: Session, login: str, password: str) -> int | None:
    """Id of the user with this login and password, otherwise None; takes as long for a login that does not exist."""
    user = session.scalar(select(User).where(User.login == login.strip().lower()[:64]))
    try:
        hasher.verify(user.password_hash if user else _nobody(), _normal(password[: 4 * MAX_PASSWORD]))
    except (VerificationError, InvalidHashError):
        return None
    return user.id if user is not None and user.disabled_at is None else None


def _token_hash(token: str) -> str:
    # A fast hash is right: the token has 256 random bits, there is nothing to guess.
    return hashlib.sha256(token.encode()).hexdigest()


def open_session(session: Session, user_id: int, now: datetime, hours: int, address: str = "") -> str:
    """Log the user in from an address; gives the token that the browser keeps. Sessions that ended are swept away."""
    user = session.get_one(User, user_id)
    token = secrets.token_urlsafe(32)
    session.execute(delete(LoginSession).where(LoginSession.expires_at <= now))
    session.add(
        LoginSession(
            organisation_id=user.organisation_id,
            user_id=user.id,
            token_hash=_token_hash(token),
            created_at=now,
            expires_at=now + timedelta(hours=hours),
        )
    )
    user.last_login_at = now
    session.flush()
    by = actor_of(user)
    audit.record(session, by, user.organisation_id, "login.succeeded", f"user:{user.id}", {"address": address}, now)
    return token


def find_session(session: Session, token: str, now: datetime) -> LoginSession | None:
    """The login session of a token while it lasts and its user may log in."""
    found = session.scalar(
        select(LoginSession)
        .where(LoginSession.token_hash == _token_hash(token), LoginSession.expires_at > now)
        .options(joinedload(LoginSession.user))
    )
    return found if found is not None and found.user.disabled_at is None else None


def close_session(session: Session, token: str, now: datetime) -> None:
    """Log out: the token is worth nothing from now on."""
    found = find_session(session, token, now)
    if found is not None:
        by = actor_of(found.user)
        audit.record(session, by, by.organisation_id, "login.ended", f"user:{by.user_id}", {}, now)
    session.execute(delete(LoginSession).where(LoginSession.token_hash == _token_hash(token)))


def actor_of(user: User) -> Actor:
    """The user as the one who acts."""
    return Actor(user.id, user.name, user.organisation_id, Role(user.role))


def change_password(session: Session, actor: Actor, old: str, new: str, token: str, now: datetime) -> None:
    """Change the actor's own password; every other browser is logged out. InvalidError when `old` is wrong."""
    assert actor.user_id is not None
    user = load(session, actor, User, actor.user_id)
    try:
        hasher.verify(user.password_hash, _normal(old))
    except (VerificationError, InvalidHashError):
        raise InvalidError("The old password is wrong.") from None
    user.password_hash = hasher.hash(_checked(new, user.login))
    others = LoginSession.token_hash != _token_hash(token)
    session.execute(delete(LoginSession).where(LoginSession.user_id == user.id, others))
    audit.record(session, actor, actor.organisation_id, "user.password_changed", f"user:{user.id}", {}, now)


def reset_password(session: Session, login: str, new: str, now: datetime) -> User:
    """Set a password from the command line of the console's own machine; every browser of that user is logged out."""
    user = session.scalar(select(User).where(User.login == login.strip().lower()))
    if user is None:
        raise NotFoundError("There is no user %(name)s.", name=login)
    user.password_hash = hasher.hash(_checked(new, user.login))
    session.execute(delete(LoginSession).where(LoginSession.user_id == user.id))
    audit.record(session, COMMAND_LINE, user.organisation_id, "user.password_reset", f"user:{user.id}", {}, now)
    return user


def set_locale(session: Session, actor: Actor, locale: str) -> None:
    """Remember the language that the actor reads."""
    assert actor.user_id is not None
    load(session, actor, User, actor.user_id).locale = locale
