"""Acknowledgement links: whoever holds the message may acknowledge, without logging in, until the link ends.

The token is signed, names one notification and its contact, and carries its own end. It is made when the message is
sent and never stored, so a copy of the database acknowledges nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from itsdangerous import BadData, URLSafeSerializer

LIFE = timedelta(days=7)


class BadLinkError(Exception):
    """The token was not made by this console, was changed, or has ended."""


@dataclass(frozen=True, slots=True)
class LinkClaim:
    """What a genuine token says."""

    notification_id: int
    contact_id: int


class Links:
    """Makes and reads tokens; `base_url` is the console's address for people, without a slash at the end."""

    def __init__(self, secret_key: str, base_url: str) -> None:
        self._serializer = URLSafeSerializer(secret_key, salt="fenghuo.acknowledge")
        self._base_url = base_url

    def acknowledge(self, notification_id: int, contact_id: int, created_at: datetime) -> str:
        """The link for one message; the same on every attempt, for it ends LIFE after the message was written."""
        ends = int((created_at + LIFE).timestamp())
        token = self._serializer.dumps([notification_id, contact_id, ends])
        return f"{self._base_url}/acknowledge/{token if isinstance(token, str) else token.decode()}"

    def incident(self, incident_id: int) -> str:
        """The incident's page, for those who have a login."""
        return f"{self._base_url}/incidents/{incident_id}"

    def read(self, token: str, now: datetime) -> LinkClaim:
        """What a token from outside says. Raises BadLinkError."""
        try:
            notification_id, contact_id, ends = self._serializer.loads(token)
        except (BadData, ValueError, TypeError) as error:
            raise BadLinkError from error
        if now.timestamp() >= ends:
            raise BadLinkError
        return LinkClaim(notification_id, contact_id)
