"""E-mail by SMTP submission (RFC 5321, RFC 6409), over TLS from the start or by STARTTLS (RFC 3207, RFC 8314).

Each message has one recipient, because each carries its own acknowledgement link; so a refused recipient never takes
another one down. Proof is the server's reply to the end of the data: "250 2.0.0 Ok: queued as ...". SENT means that the
server took responsibility, not that a person has read it.
"""

from __future__ import annotations

import re
import smtplib
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any, Literal

from console.notify.clean import one_line
from console.notify.contract import DeliveryResult, DestinationError, DestinationField, Message, State
from console.notify.cutoff import Cutoff

SUBJECT_LIMIT = 200  # characters; mail programs show fewer
PROOF_LIMIT = 500
# RFC 5321 4.1.2 dot-string, and a domain of letters, digits and hyphens; quoted local parts are not worth their risk.
LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """The installation's way out.

    host, sender: "" when no mail server is set. security: "none" only for a relay on the same machine or for tests.
    sender: bare address of the envelope and of From. ca_file: trust this authority, "" for the system's.
    step_s: limit of each wait for the server; total_s: limit of a whole attempt.
    """

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    username: str
    password: str
    sender: str
    ca_file: str = ""
    step_s: float = 15.0
    total_s: float = 60.0


class _Watched:
    """Hands the current socket to the cutoff before each reply is awaited; STARTTLS swaps it in between."""

    sock: Any
    cutoff: Cutoff

    def getreply(self) -> tuple[int, bytes]:
        self.cutoff.watch(self.sock)
        return super().getreply()  # type: ignore[misc, no-any-return]


class _Plain(_Watched, smtplib.SMTP):
    def __init__(self, cutoff: Cutoff, **options: Any) -> None:
        self.cutoff = cutoff
        super().__init__(**options)


class _Tls(_Watched, smtplib.SMTP_SSL):
    def __init__(self, cutoff: Cutoff, **options: Any) -> None:
        self.cutoff = cutoff
        super().__init__(**options)


class EmailChannel:
    """Sends a Message as one plain-text e-mail. Destination: {"address": "name@example.org"}."""

    name = "email"
    label = "E-mail"
    fields: tuple[DestinationField, ...] = (
        DestinationField("address", "E-mail address", "duty@example.org", kind="email"),
    )

    def __init__(self, settings: SmtpSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._made_context: ssl.SSLContext | None = None

    def validate(self, destination: Mapping[str, str]) -> dict[str, str]:
        """Canonical address: lower-case ASCII domain. Raises DestinationError."""
        return {"address": canonical_address(destination.get("address", ""))}

    def display(self, destination: Mapping[str, str]) -> str:
        """The address."""
        return destination["address"]

    def lane(self, destination: Mapping[str, str]) -> str:
        """One mailbox is one lane: one slow or refused recipient does not hold others."""
        return destination["address"].lower()

    def send(self, message: Message) -> DeliveryResult:
        """Hand the message to the mail server; see Channel.send."""
        if not self._settings.host or not self._settings.sender:
            return DeliveryResult(
                State.FAILED_FOR_NOW, "no mail server is set (FENGHUO_SMTP_HOST, FENGHUO_SMTP_SENDER)"
            )
        with Cutoff(self._settings.total_s) as cutoff:
            try:
                return self._submit(message, cutoff)
            except smtplib.SMTPResponseException as refusal:
                # Greeting, EHLO, STARTTLS or AUTH: a fault between us and our server, which people can mend in time.
                return _failed_for_now(_reply(refusal.smtp_code, refusal.smtp_error))
            except (smtplib.SMTPException, OSError) as trouble:
                if cutoff.expired:
                    return _failed_for_now(f"no answer within {self._settings.total_s:g} s")
                return _failed_for_now(f"{type(trouble).__name__}: {trouble}")

    def _context(self) -> ssl.SSLContext:
        """Made once: reading the system's authorities takes longer than a whole delivery."""
        with self._lock:
            if self._made_context is None:
                self._made_context = ssl.create_default_context(cafile=self._settings.ca_file or None)
            return self._made_context

    def _submit(self, message: Message, cutoff: Cutoff) -> DeliveryResult:
        settings = self._settings
        domain = settings.sender.rpartition("@")[2]
        context = self._context() if settings.security != "none" else None
        options: dict[str, Any] = {
            "host": settings.host,
            "port": settings.port,
            "local_hostname": domain,
            "timeout": settings.step_s,
        }
        client: smtplib.SMTP
        client = _Tls(cutoff, context=context, **options) if settings.security == "tls" else _Plain(cutoff, **options)
        try:
            client.ehlo_or_helo_if_needed()
            if settings.security == "starttls":
                client.starttls(context=context)  # raises where the server does not offer it: never in the clear
                client.ehlo()
            if settings.username:
                client.login(settings.username, settings.password)
            return _transaction(client, settings.sender, message)
        finally:
            client.close()  # after the reply nothing is left to agree on, and QUIT would be one more wait


def _transaction(client: smtplib.SMTP, sender: str, message: Message) -> DeliveryResult:
    """MAIL, RCPT, DATA: each refusal told apart by its code (RFC 5321 4.2.1: 4yz may pass, 5yz will not)."""
    recipient = message.destination["address"]
    code, text = client.mail(sender)
    if code != 250:
        return _failed_for_now(f"sender refused: {_reply(code, text)}")  # our own configuration, not the recipient
    code, text = client.rcpt(recipient)
    if code not in (250, 251):
        return _judged(code, f"recipient refused: {_reply(code, text)}")
    code, text = client.data(compose(message, sender).as_bytes(policy=SMTP))
    if code != 250:
        return _judged(code, f"message refused: {_reply(code, text)}")
    return DeliveryResult(State.SENT, _reply(code, text))


def _judged(code: int, proof: str) -> DeliveryResult:
    return DeliveryResult(State.FAILED_FOR_GOOD if 500 <= code < 600 else State.FAILED_FOR_NOW, proof)


def _failed_for_now(proof: str) -> DeliveryResult:
    return DeliveryResult(State.FAILED_FOR_NOW, one_line(proof, PROOF_LIMIT))


def _reply(code: int, text: bytes | str) -> str:
    said = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return one_line(f"{code} {said}", PROOF_LIMIT)


def compose(message: Message, sender: str) -> EmailMessage:
    """The e-mail, the same bytes on every attempt but for its MIME boundaries, of which it has none."""
    local, _, domain = sender.rpartition("@")
    mail = EmailMessage(policy=SMTP)
    mail["From"] = Address("Fenghuo 烽火", local, domain)
    to_local, _, to_domain = message.destination["address"].rpartition("@")
    mail["To"] = Address("", to_local, to_domain)
    mail["Subject"] = one_line(message.subject, SUBJECT_LIMIT)
    mail["Date"] = format_datetime(message.created_at)
    mail["Message-ID"] = f"<{message.key}@{domain}>"
    if message.thread:
        mail["References"] = f"<{message.thread}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office replies
    if message.drill:
        mail["Fenghuo-Drill"] = "yes"
    mail.set_content(message.body)
    return mail


def canonical_address(text: str) -> str:
    """A bare mail address with a lower-case ASCII domain. Raises DestinationError."""
    local, at, domain = text.strip().rpartition("@")
    if not at or not local or not domain:
        raise DestinationError("address", "An e-mail address has the form name@example.org.")
    try:
        domain = domain.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise DestinationError("address", "The part after the @ is not a domain name.") from None
    if not LOCAL_PART.fullmatch(local) or len(local) > 64:
        raise DestinationError("address", "The part before the @ has characters that mail servers refuse.")
    if not DOMAIN.fullmatch(domain) or len(domain) > 253:
        raise DestinationError("address", "The part after the @ is not a domain name.")
    return f"{local}@{domain}"
