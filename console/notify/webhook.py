"""Webhook: the message as JSON by HTTP POST, signed, to an address that an organisation typed in.

Signature: header `Fenghuo-Signature: t=<unix seconds>,v1=<hex>`, where v1 is HMAC-SHA256 under the destination's secret
over "<t>." and the body's bytes. A receiver checks it, refuses an old t, and drops an `Idempotency-Key` it has seen.
Only a 2xx answer is success: no redirect is followed, silence is not success, and the proof keeps the status and the
hash of the answer's body.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from console.notify.clean import one_line
from console.notify.contract import DeliveryResult, DestinationError, DestinationField, Message, State
from console.notify.cutoff import Cutoff
from console.notify.egress import ForbiddenAddressError, resolve

ANSWER_LIMIT_BYTES = 64 * 1024  # read and hashed; more says nothing about delivery
URL_LIMIT = 2000  # characters
HOST = re.compile(r"[A-Za-z0-9_.-]{1,253}")
MAY_PASS = {408, 409, 423, 425, 429}  # client errors that a later attempt can overcome; 5xx as well


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """allow_private: also private and loopback addresses, and plain http (a receiver in the operator's own network).

    step_s: limit of connecting and of each wait; total_s: limit of a whole attempt.
    """

    allow_private: bool = False
    step_s: float = 5.0
    total_s: float = 20.0


class WebhookChannel:
    """Sends a Message as signed JSON. Destination: {"url": "https://...", "secret": "<64 hex digits>"}."""

    name = "webhook"
    label = "Webhook"
    fields: tuple[DestinationField, ...] = (
        DestinationField("url", "Address (URL)", "https://example.org/hooks/fenghuo", kind="url"),
        DestinationField("secret", "Signing secret", generated=True),
    )

    def __init__(self, settings: WebhookSettings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._context = httpx.create_ssl_context(trust_env=False)  # once: it reads all authorities

    def validate(self, destination: Mapping[str, str]) -> dict[str, str]:
        """A URL that may be connected to as far as its text shows; a secret is made where there is none."""
        url = self._parse(destination.get("url", "").strip())
        return {"url": str(url), "secret": destination.get("secret") or secrets.token_hex(32)}

    def _parse(self, text: str) -> httpx.URL:
        allowed = {"https", "http"} if self._settings.allow_private else {"https"}
        try:
            url = httpx.URL(text)
        except (httpx.InvalidURL, UnicodeError):
            raise DestinationError("url", "This is not a web address.") from None
        host = url.raw_host.decode("ascii")
        named = HOST.fullmatch(host) or ":" in host  # an IPv6 address was parsed already
        if len(text) > URL_LIMIT or url.scheme not in allowed or not named or not 0 < (url.port or 443) <= 65535:
            raise DestinationError("url", "A webhook's address begins with https:// and names a host.")
        if url.userinfo:
            raise DestinationError("url", "A webhook's address carries no user name or password.")
        return url.copy_with(fragment=None)

    def display(self, destination: Mapping[str, str]) -> str:
        """The address without its query, where services put keys."""
        return str(httpx.URL(destination["url"]).copy_with(query=None))

    def lane(self, destination: Mapping[str, str]) -> str:
        """One host is one lane: a dead receiver holds one sender, whatever its addresses."""
        return httpx.URL(destination["url"]).host

    def send(self, message: Message) -> DeliveryResult:
        """POST the message; see Channel.send."""
        with Cutoff(self._settings.total_s) as cutoff:
            try:
                return self._post(self._parse(message.destination["url"]), message, cutoff)
            except ForbiddenAddressError as refusal:
                return _result(State.FAILED_FOR_GOOD, str(refusal))
            except DestinationError as refusal:  # the operator's settings changed since the address was stored
                return _result(State.FAILED_FOR_GOOD, refusal.reason)
            except (httpx.HTTPError, httpx.StreamError, OSError) as trouble:
                if cutoff.expired:
                    return _result(State.FAILED_FOR_NOW, f"no answer within {self._settings.total_s:g} s")
                return _result(State.FAILED_FOR_NOW, f"{type(trouble).__name__}: {trouble}")

    def _post(self, url: httpx.URL, message: Message, cutoff: Cutoff) -> DeliveryResult:
        port = url.port or (443 if url.scheme == "https" else 80)
        addresses = resolve(url.raw_host.decode("ascii"), port, allow_private=self._settings.allow_private)
        body = json.dumps(dict(message.data), ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode()
        headers = {
            "Host": url.netloc.decode("ascii"),
            "Content-Type": "application/json",
            "User-Agent": "Fenghuo",
            "Idempotency-Key": message.key,
            "Fenghuo-Signature": signature(message.destination["secret"], int(self._clock()), body),
        }
        for address in addresses[:-1]:
            try:
                return self._post_to(address, url, body, headers, cutoff)
            except (httpx.ConnectError, httpx.ConnectTimeout):  # nothing was sent yet: the next address may answer
                continue
        return self._post_to(addresses[-1], url, body, headers, cutoff)

    def _post_to(
        self, address: str, url: httpx.URL, body: bytes, headers: dict[str, str], cutoff: Cutoff
    ) -> DeliveryResult:
        def watch(event: str, info: Mapping[str, Any]) -> None:
            if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
                sock = info["return_value"].get_extra_info("socket")
                cutoff.watch(sock if isinstance(sock, socket.socket) else None)

        # The connection goes to the checked address; the certificate is still judged by the name (sni_hostname).
        # trust_env=False: a proxy from the environment would resolve the name again, behind the guard.
        extensions = {"sni_hostname": url.raw_host.decode("ascii"), "trace": watch}
        with (
            httpx.Client(
                verify=self._context, timeout=self._settings.step_s, follow_redirects=False, trust_env=False
            ) as client,
            client.stream(
                "POST", url.copy_with(host=address), content=body, headers=headers, extensions=extensions
            ) as response,
        ):
            return _judge(response, self._clock())


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """Value of the Fenghuo-Signature header; see the top of this file."""
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def _judge(response: httpx.Response, now: float) -> DeliveryResult:
    status = response.status_code
    if response.is_success:
        digest, size = hashlib.sha256(), 0
        for chunk in response.iter_raw():  # raw: a compressed answer is never unpacked
            digest.update(chunk[: ANSWER_LIMIT_BYTES - size])
            size += len(chunk)
            if size >= ANSWER_LIMIT_BYTES:
                size = ANSWER_LIMIT_BYTES
                break
        return _result(State.SENT, f"HTTP {status}, {size} bytes, sha256 {digest.hexdigest()}")
    said = f"HTTP {status} {response.reason_phrase}"
    if status in MAY_PASS or status >= 500:
        wish = _retry_after(response.headers.get("Retry-After", ""), now)
        return DeliveryResult(State.FAILED_FOR_NOW, one_line(said, 500), wish)
    if response.is_redirect:
        said += " (redirects are not followed)"
    return _result(State.FAILED_FOR_GOOD, said)


def _retry_after(text: str, now: float) -> float | None:
    """RFC 9110 10.2.3: seconds or a date. Nonsense is no wish."""
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - now, 0.0)
    except (ValueError, TypeError, OverflowError):
        return None


def _result(state: State, proof: str) -> DeliveryResult:
    return DeliveryResult(state, one_line(proof, 500))
