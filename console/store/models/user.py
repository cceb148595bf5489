"""Users of the console and the sessions in which they are logged in."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from console.store.base import OrgOwned


class User(OrgOwned):
    """A person who may log in.

    login: lower case, unique in the console; role: a value of console.services.actor.Role;
    password_hash: argon2id in its PHC string; locale: "zh" or "en", None until chosen.
    """

    __tablename__ = "user_account"

    login: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(String(200))
    locale: Mapped[str | None] = mapped_column(String(8))
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    last_login_at: Mapped[datetime | None]


class LoginSession(OrgOwned):
    """One browser in which a user is logged in. Deleting the row logs it out, whoever holds the cookie.

    token_hash: SHA-256 of the random token in the signed cookie, hex.
    """

    __tablename__ = "login_session"

    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id"), index=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]

    user: Mapped[User] = relationship()
