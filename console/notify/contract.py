"""What a channel is: fields as data, a check of a destination, and a send that must prove itself.

Adding a channel is one file that implements `Channel` and one line in `console/notify/channels.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol


class State(StrEnum):
    """Delivery states as promises. What happens next follows from the state alone; no reply is never success."""

    PENDING = "pending"  # written with the incident; no attempt has begun
    SENDING = "sending"  # a worker holds it; the far side may or may not have it already
    SENT = "sent"  # the far side said that it has it (SMTP 250 text, HTTP 2xx); a person may not have seen it
    DELIVERED = "delivered"  # a person proved that it arrived (its own acknowledgement link was used)
    FAILED_FOR_NOW = "failed for now"  # refused or unanswered in a way that may pass; tried again until the deadline
    FAILED_FOR_GOOD = "failed for good"  # the far side will never take it (no such mailbox, 404); never tried again
    EXPIRED = "expired"  # the deadline came, or the reason for it went away, before anybody took it

    @property
    def waiting(self) -> bool:
        """An attempt is still to come."""
        return self in (State.PENDING, State.FAILED_FOR_NOW)

    @property
    def final(self) -> bool:
        """Nothing will be sent for it any more."""
        return self in (State.SENT, State.DELIVERED, State.FAILED_FOR_GOOD, State.EXPIRED)


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """The answer to one attempt.

    state: SENT, FAILED_FOR_NOW or FAILED_FOR_GOOD.
    proof: what the far side said, as text for people (reply code and text, queue id, body hash), or what went wrong.
    retry_after_s: the far side's own wish for the next attempt, seconds; None without one.
    """

    state: State
    proof: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one destination. Identical on every attempt, so that the far side can recognise a repetition.

    key: idempotency key, 32 hex digits; the e-mail's Message-ID and the webhook's Idempotency-Key.
    thread: messages about one matter share it, "" without one.
    subject, body: plain text in the recipient's language; cleaned (console/notify/message.py).
    data: the same for machines, JSON types only.
    """

    key: str
    created_at: datetime
    destination: Mapping[str, str]
    subject: str
    body: str
    data: Mapping[str, Any] = field(default_factory=dict)
    thread: str = ""
    drill: bool = False


@dataclass(frozen=True, slots=True)
class DestinationField:
    """One field of a channel's destination; the form renders itself from these.

    label, hint: English message ids, translated by the page.
    kind: HTML input type.
    generated: never typed in; made with the address and shown once.
    """

    name: str
    label: str
    hint: str = ""
    kind: str = "text"
    generated: bool = False


class DestinationError(ValueError):
    """A destination that this channel can never send to. `reason` is an English message id."""

    def __init__(self, field_name: str, reason: str) -> None:
        super().__init__(f"{field_name}: {reason}")
        self.field_name = field_name
        self.reason = reason


class Channel(Protocol):
    """A way to reach people or programs. One instance serves several threads."""

    name: str
    label: str
    fields: tuple[DestinationField, ...]

    def validate(self, destination: Mapping[str, str]) -> dict[str, str]:
        """The destination in canonical form, generated fields filled in. Raises DestinationError."""
        ...

    def display(self, destination: Mapping[str, str]) -> str:
        """The destination for people's eyes, without secrets."""
        ...

    def lane(self, destination: Mapping[str, str]) -> str:
        """Messages of one lane are sent one after another, so that one dead receiver holds one sender at most."""
        ...

    def send(self, message: Message) -> DeliveryResult:
        """One attempt, bounded in time. Raises nothing that it can answer for: trouble is a result."""
        ...
