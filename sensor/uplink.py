"""Sending what stands in the spool to the console, and asking it what to look for.

The contract is in docs/architecture.md, "Sensor to console". A finding leaves the spool only when the console says that
it has everything up to it; whatever goes wrong before that, it is sent again, and the console knows it by its id.
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from sensor.failpoints import failpoint
from sensor.lanes import Lanes, Parcel
from sensor.sensor_key import KeyFileError, SensorKey
from sensor.spool import Spool, SpoolError
from sensor.spool_files import Record
from sensor.text import printable

log = logging.getLogger(__name__)

MAX_FINDINGS = 1000  # of one request, as the console takes them
MAX_BODY_BYTES = 8 * 1024 * 1024
ENVELOPE_BYTES = 1024  # more than the braces and commas around them need
MAX_REPLY_BYTES = 32 * 1024 * 1024  # a hundred thousand indicators; a console that sends more is none
MAX_WHY = 200  # characters of what a console says, in a message to people

HEARTBEAT_S = 10.0  # the console finds a sensor silent after three of them
KNOCK_S = 2.5  # between heartbeats while the console does not answer: it may be back, and grave findings may wait
IDLE_S = 0.2
LONGEST_LOOK_S = 1.0  # at what is on its way, before looking at the clock
MAX_AT_ONCE = 3  # requests on their way: one is read here, one travels, one is stored there
LAST_WORDS_S = 3.0  # for answers that are on their way at the end
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
LONGEST_RETRY_AFTER_S = 3600.0
TIMEOUTS = httpx.Timeout(30.0, connect=5.0)
GOODBYE = httpx.Timeout(2.0)
_chance = random.SystemRandom()


class UplinkError(Exception):
    """The console could not be asked, or would not take what was sent; one clear line as a string.

    why, advice: what is the matter, and what to do about it ("" where time will help). permanent: trying again is of no
    use before a person has done something. retry_after_s: how long the console asks to wait, None where it does not.
    """

    def __init__(self, why: str, advice: str = "", *, permanent: bool = False, retry_after_s: float | None = None):
        self.why = printable(why)
        self.advice = advice
        self.permanent = permanent
        self.retry_after_s = retry_after_s
        super().__init__(self.why + (f"; {advice}" if advice else ""))


@dataclass(frozen=True, slots=True)
class Config:
    """What the console wants of this sensor.

    version: changes whenever anything below does. sensor: the name under which it knows this sensor, "" where it does
    not say. indicators: objects with at least `id`, `type` and `value`, all else as the console sent it. bundle: files,
    signed, as the console sent them; None where it sent none.
    """

    version: str
    sensor: str
    indicators: tuple[Mapping[str, Any], ...]
    bundle: object = None


class Uplink:
    """One sensor's way to its console. Use it from one thread; the spool may be filled from others."""

    def __init__(
        self,
        url: str,
        key: str | SensorKey,
        spool: Spool,
        *,
        verify: ssl.SSLContext | bool = True,
        timeouts: httpx.Timeout = TIMEOUTS,
        jitter: Callable[[], float] = _chance.random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """url: the console's address, as people type it into a browser. key: this sensor's key.

        verify: how an https console is known; an SSLContext trusts a plant's own authority. jitter: random numbers from
        0 to 1. clock: seconds since 1970. UplinkError where address or key cannot be right.
        """
        self._url = checked_address(url)
        self._spool = spool
        self._jitter = jitter
        self._clock = clock
        self._timeouts = timeouts
        self._key = key if isinstance(key, SensorKey) else SensorKey(checked_key(key))
        checked_key(self._key.key)
        self._instance = secrets.token_hex(8)  # tells two processes with one key apart
        self._lanes = Lanes(spool)
        self._last_rejected: list[dict[str, Any]] = []
        self._window = 1  # requests that may be on their way
        self._stalled_at = spool.acknowledged - 1
        self._flying: dict[Future[dict[str, Any]], Parcel] = {}
        self._couriers = ThreadPoolExecutor(MAX_AT_ONCE, thread_name_prefix="uplink")
        self._most_bytes = MAX_BODY_BYTES - ENVELOPE_BYTES
        self._failures = 0
        self._trouble = ""
        self._heard = False  # in this turn the console has answered as it should
        self.sent = 0  # findings that the console has taken over, since the start
        self.sent_ahead = 0  # findings that overtook others
        self.rejected = 0  # of them, those that it would not store
        self.retries = 0
        self.skew_s: float | None = None  # by how much our clock is ahead of the console's, at the last heartbeat
        # A proxy or a netrc of the environment is not asked for, or a sensor's key could end up with either.
        self._client = httpx.Client(
            headers={"Accept-Encoding": "identity"},
            auth=self._key,
            verify=verify,
            timeout=timeouts,
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._couriers.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def send_batch(self) -> int:
        """Send one request; returns how many findings the console has taken over, 0 when none wait.

        UplinkError where it did not take them, SpoolError where the spool cannot be read or written.
        """
        parcel = self._lanes.take(MAX_FINDINGS, self._most_bytes)
        if parcel is None:
            return 0
        try:
            taken = self._taken(parcel, self._post(parcel))
        except TooLargeError:  # a proxy before the console may take less than the console itself
            self._back(parcel)
            self._shorten(parcel)
            return self.send_batch()
        except UplinkError:
            self._back(parcel)
            raise
        if self._lanes.unacknowledged == 0 or parcel.ahead or taken:
            if not parcel.ahead:
                self._lanes.again()
            return len(parcel.records) if parcel.ahead else taken
        return self._stalled(parcel)

    def _post(self, parcel: Parcel) -> dict[str, Any]:
        """What the console answers to a parcel. May be called from any thread."""
        lines = b",".join(record.line for record in parcel.records)
        failpoint("uplink.before_request")
        reply = self._ask("POST", "findings", b'{"epoch":%d,"findings":[%b]}' % (self._spool.epoch, lines))
        failpoint("uplink.after_reply")
        if type(reply.get("acknowledged")) is not int:
            raise UplinkError(f"{self._url} answered without saying what it has", "is it a Fenghuo console?")
        return reply

    def _taken(self, parcel: Parcel, reply: Mapping[str, Any]) -> int:
        """Note what the console has; gives how many findings it has taken over since the last answer."""
        before, self._heard = self._spool.acknowledged, True
        self._lanes.arrived(parcel, int(reply["acknowledged"]))
        failpoint("uplink.after_acknowledge")
        taken = self._spool.acknowledged - before
        self._last_rejected = self._note_rejected(reply)
        self.sent += taken
        self.sent_ahead += len(parcel.records) if parcel.ahead else 0
        self.rejected += len(self._last_rejected) if taken or parcel.ahead else 0
        return taken

    def _stalled(self, parcel: Parcel) -> int:
        """The console answers, and acknowledges nothing: once more from the beginning, and then it is an error."""
        if self._lanes.again():
            return self.send_batch()
        raise _not_taken(parcel.records, self._last_rejected)

    def _back(self, parcel: Parcel) -> None:
        self._lanes.failed(parcel)
        self._lanes.again()

    def _shorten(self, parcel: Parcel) -> None:
        """Send less at a time; TooLargeError where one finding alone is too long."""
        if len(parcel.records) == 1:
            raise TooLargeError(f"{self._url} takes no request as long as this sensor's (413)", permanent=True)
        self._most_bytes = sum(len(record.line) for record in parcel.records) // 2

    def heartbeat(self, counters: Mapping[str, Any], *, goodbye: bool = False) -> str:
        """Tell the console that this sensor is alive, with its counters; returns the version of its configuration.

        goodbye: the last one, for this sensor is about to stop as planned. Where the console asks for it, the key is
        changed.
        """
        own: dict[str, Any] = {
            "spool.depth": self._spool.depth,
            "spool.lost": self._spool.lost_count,
            "spool.shed": self._spool.shed,
            "spool.bytes": self._spool.used_bytes,
            "uplink.sent": self.sent,
            "uplink.sent_ahead": self.sent_ahead,
            "uplink.rejected": self.rejected,
            "uplink.retries": self.retries,
            "sensor.time": round(self._clock(), 3),
            "sensor.instance": self._instance,
            **({"sensor.goodbye": True} if goodbye else {}),
        }
        if self.skew_s is not None:
            own["clock.skew_s"] = round(self.skew_s, 3)
        body = json.dumps({"epoch": self._spool.epoch, "counters": {**counters, **own}}).encode()
        sent = self._clock()
        reply = self._ask("POST", "heartbeat", body)
        theirs = reply.get("time")
        if isinstance(theirs, int | float):
            self.skew_s = (sent + self._clock()) / 2 - theirs
        if reply.get("rotate_key") is True and not goodbye:
            self._change_key_as_asked()
        return str(reply.get("config_version", ""))

    def _change_key_as_asked(self) -> None:
        """What goes wrong is logged and told to nobody else: the key that is in use stays valid."""
        try:
            self._key.change(
                lambda digest, hint: self._ask(
                    "POST", "key", json.dumps({"key_hash": digest, "key_hint": hint}).encode()
                )
            )
            log.info("the key was changed, as the console asked")
        except UplinkError as error:
            if error.permanent:  # it will never be accepted: the next one is another
                self._key.forget_next()
            log.warning("the console asks for a new key and does not take it: %s", error)
        except KeyFileError as error:
            log.warning("the console asks for a new key: %s", error)

    def fetch_config(self) -> Config:
        """What the console wants of this sensor. Indicators that are none are left out, and logged."""
        reply = self._ask("GET", "config", None)
        listed = reply.get("indicators")
        if not isinstance(listed, list):
            raise UplinkError(f"{self._url} answered without indicators", "is it a Fenghuo console?")
        good = tuple(entry for entry in listed if _is_indicator(entry))
        if len(good) < len(listed):
            log.warning("%d of %d indicators from the console are malformed", len(listed) - len(good), len(listed))
        return Config(str(reply.get("version", "")), printable(str(reply.get("sensor", ""))), good, reply.get("bundle"))

    def report(self, what: str, body: bytes) -> dict[str, Any]:
        """Tell what stands ("assets", ...), as sensor/reports.py has it; what the console answers, or UplinkError.

        May be called from a thread of its own: no finding and no heartbeat waits for it.
        """
        return self._ask("POST", what, body)

    def drain(self, stop: threading.Event, give_up_s: float) -> None:
        """Send until nothing waits. UplinkError at once where only a person can help, or after `give_up_s` without
        progress; returns early when `stop` is set.
        """
        since = time.monotonic()
        while not stop.is_set():
            try:
                if self.send_batch() == 0:
                    return
                self._failures = 0
                since = time.monotonic()
            except UplinkError as error:
                pause = self._pause(error)
                if error.permanent or time.monotonic() + pause - since > give_up_s:
                    raise
                stop.wait(pause)

    def run(
        self,
        stop: threading.Event,
        counters: Callable[[], Mapping[str, Any] | None],
        on_config: Callable[[Config], None],
    ) -> None:
        """Send, beat and fetch configuration until `stop` is set. Trouble is logged once and never ends this.

        counters: asked before each heartbeat; None: no heartbeat now. on_config: called with the first configuration
        and with every new one.
        """
        version: str | None = None
        asked_to_wait = False
        next_beat = resume = time.monotonic()
        while not stop.is_set():
            trouble: UplinkError | SpoolError | None = None
            busy = self._heard = False
            sending = time.monotonic() >= resume
            try:
                if time.monotonic() >= next_beat:
                    next_beat = time.monotonic() + HEARTBEAT_S
                    told = counters()
                    if told is not None:
                        wanted = self.heartbeat(told)
                        self._heard = True
                        if not asked_to_wait:  # it is back: what is grave need not wait for the rest of a long pause
                            resume, sending = time.monotonic(), True
                        if wanted != version:
                            config = self.fetch_config()
                            on_config(config)
                            version = config.version
            except (UplinkError, SpoolError) as error:
                trouble = error
            try:
                busy = sending and self._send_several()  # also where the heartbeat failed: what was found comes first
            except (UplinkError, SpoolError) as error:
                trouble = error
            if trouble is not None or self._heard:  # an answer that is slow, or nothing to send, is neither
                self._tell(trouble)
            if trouble is not None:
                resume = time.monotonic() + self._pause(trouble)
                asked_to_wait = (
                    isinstance(trouble, SpoolError) or trouble.permanent or trouble.retry_after_s is not None
                )
                if not asked_to_wait:
                    next_beat = min(next_beat, time.monotonic() + KNOCK_S)
            if not busy:  # a pause in sending is none in beating: who waits is not silent
                rest = min(resume, next_beat) - time.monotonic() if not sending or trouble is not None else 0.0
                stop.wait(max(IDLE_S, rest))
        with contextlib.suppress(UplinkError, SpoolError):
            self._land_all(LAST_WORDS_S)
        self._say_goodbye(counters)

    def _say_goodbye(self, counters: Callable[[], Mapping[str, Any] | None]) -> None:
        """Once, and briefly: a console that cannot hear it will think that this sensor fell silent, and be right."""
        told = counters()
        if told is None:
            return
        self._client.timeout = GOODBYE
        try:
            self.heartbeat(told, goodbye=True)
        except (UplinkError, SpoolError) as error:
            log.info("the console could not be told that this sensor stops: %s", error)
        finally:
            self._client.timeout = self._timeouts

    def _send_several(self) -> bool:
        """Keep as many requests on their way as the console takes, and deal with what came back; False: nothing to do.

        While one request is stored by the console the next one is read, sent and checked.
        """
        while len(self._flying) < self._window:
            parcel = self._lanes.take(MAX_FINDINGS, self._most_bytes)
            if parcel is None:
                break
            self._flying[self._couriers.submit(self._post, parcel)] = parcel
        if not self._flying:
            return False
        landed, _ = wait(self._flying, LONGEST_LOOK_S, FIRST_COMPLETED)
        for future in landed:
            self._land(future)
        return True

    def _land(self, future: Future[dict[str, Any]]) -> None:
        """Deal with one answer; after trouble nothing is on its way any more."""
        parcel = self._flying.pop(future)
        try:
            self._taken(parcel, future.result())
        except TooLargeError:
            self._ground(parcel)
            self._shorten(parcel)
            return
        except (UplinkError, SpoolError):
            self._ground(parcel)
            raise
        self._window = min(self._window + 1, MAX_AT_ONCE)
        if self._flying:
            return
        if self._lanes.unacknowledged == 0 or self._spool.acknowledged > self._stalled_at:
            self._stalled_at = self._spool.acknowledged
            if self._lanes.unacknowledged:
                self._lanes.again()
        elif not parcel.ahead and not self._lanes.again():
            raise _not_taken(parcel.records, self._last_rejected)

    def _ground(self, parcel: Parcel) -> None:
        """After trouble: wait for the other requests, go back to what the console has not acknowledged."""
        self._window = 1
        self._lanes.failed(parcel)
        with contextlib.suppress(UplinkError, SpoolError):
            self._land_all()
        self._lanes.again()

    def _land_all(self, longest_s: float | None = None) -> None:
        """Wait for what is on its way, at most so long; what comes later is sent again."""
        trouble: UplinkError | SpoolError | None = None
        landed, _ = wait(self._flying, longest_s)
        for future in landed:
            parcel = self._flying[future]
            try:
                self._taken(parcel, future.result())
            except (UplinkError, SpoolError) as error:
                self._lanes.failed(parcel)
                trouble = error
        self._flying.clear()
        if trouble is not None:
            raise trouble

    def _tell(self, trouble: UplinkError | SpoolError | None) -> None:
        """Log trouble when it begins, changes and ends; not every second."""
        text = "" if trouble is None else str(trouble)
        if trouble is None:
            self._failures = 0
        if text != self._trouble:
            self._trouble = text
            log.log(logging.ERROR if text else logging.INFO, "%s", text or "the console can be reached again")

    def _pause(self, error: UplinkError | SpoolError) -> float:
        """How long to wait after an error, in seconds: longer each time, and never the same for two sensors."""
        self._failures += 1
        self.retries += 1
        if isinstance(error, UplinkError) and error.retry_after_s is not None:
            return error.retry_after_s + FIRST_PAUSE_S * self._jitter()
        longest = isinstance(error, SpoolError) or error.permanent or self._failures > 6
        pause = LONGEST_PAUSE_S if longest else FIRST_PAUSE_S * 2 ** (self._failures - 1)
        return pause * (0.5 + 0.5 * self._jitter())

    def _ask(self, method: str, name: str, body: bytes | None) -> dict[str, Any]:
        """The JSON object that the console answers; UplinkError for every other answer and for none."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            with self._client.stream(method, f"{self._url}/api/v1/{name}", content=body, headers=headers) as response:
                content = bytearray()
                for chunk in response.iter_raw():
                    content += chunk
                    if len(content) > MAX_REPLY_BYTES:
                        raise UplinkError(f"{self._url} answers without end", "is it a Fenghuo console?")
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        if response.status_code != 200:
            raise self._refusal(response, bytes(content))
        try:
            reply = json.loads(content)
        except (ValueError, RecursionError):
            reply = None
        if not isinstance(reply, dict):
            raise UplinkError(f"{self._url} answered something that is no JSON object", "is it a Fenghuo console?")
        return reply

    def _unreachable(self, error: httpx.TransportError) -> UplinkError:
        if isinstance(error, httpx.TimeoutException):
            return UplinkError(f"{self._url} did not answer in time")
        text = str(error)
        if "CERTIFICATE_VERIFY_FAILED" in text:
            advice = "let this sensor trust the authority that signed the console's certificate"
            return UplinkError(f"the certificate of {self._url} is not trusted", advice, permanent=True)
        reason = text.removeprefix("[Errno ").partition("] ")[2] or text or type(error).__name__
        return UplinkError(f"{self._url} cannot be reached ({reason})", "is the console running at this address?")

    def _refusal(self, response: httpx.Response, content: bytes) -> UplinkError:
        """What an answer other than 200 means."""
        status = response.status_code
        if status == 413:
            return TooLargeError(f"{self._url} takes no request as long as this sensor's (413)", permanent=True)
        if status in (401, 403):
            advice = "make a key for this sensor in the console, and start the sensor with it"
            return UplinkError(f"{self._url} does not accept this sensor's key ({status})", advice, permanent=True)
        if status in (429, 503):
            return UplinkError(f"{self._url} is busy ({status})", retry_after_s=self._retry_after(response))
        if response.is_redirect:
            place = response.headers.get("Location", "")[:MAX_WHY]
            return UplinkError(f"{self._url} sends on to {place}", "give the sensor that address", permanent=True)
        if status in (404, 405):
            return UplinkError(f"no Fenghuo console answers at {self._url} ({status})", "check it", permanent=True)
        if status >= 500:
            return UplinkError(f"{self._url} failed ({status})", retry_after_s=self._retry_after(response))
        why = f"{self._url} refuses what this sensor sends ({status}{_reason(content)})"
        return UplinkError(why, "are console and sensor of the same version?", permanent=True)

    def _retry_after(self, response: httpx.Response) -> float | None:
        """Seconds of a Retry-After header (RFC 9110, 10.2.3), in either of its forms; None where there is none."""
        value = response.headers.get("Retry-After", "").strip()
        if value.isascii() and value.isdigit():
            return min(float(value[:9]), LONGEST_RETRY_AFTER_S)
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        left = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - self._clock()
        return min(max(left, 0.0), LONGEST_RETRY_AFTER_S)

    def _note_rejected(self, reply: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The findings that the console would not store; each is logged, for it is lost to people's eyes otherwise."""
        rejected = reply.get("rejected")
        entries = [entry for entry in rejected if isinstance(entry, dict)] if isinstance(rejected, list) else []
        for entry in entries:
            name, reason = str(entry.get("finding.id", ""))[:MAX_WHY], str(entry.get("reason", ""))[:MAX_WHY]
            log.error("the console rejects finding %s: %s", printable(name), printable(reason))
        return entries


class TooLargeError(UplinkError):
    """The request was too long."""


def _not_taken(records: list[Record], rejected: list[dict[str, Any]]) -> UplinkError:
    reason = str(rejected[0].get("reason", ""))[:MAX_WHY] if rejected else "it does not say why"
    return UplinkError(
        f"the console takes none of {len(records)} findings from number {records[0].sequence} on ({reason})",
        "is this the key of another sensor?",
        permanent=True,
    )


def _reason(content: bytes) -> str:
    """What the body of a refusal says, as ": text", as far as it says anything."""
    try:
        error = json.loads(content[:65536])["error"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return ""
    return f": {error[:MAX_WHY]}" if isinstance(error, str) else ""


def _is_indicator(entry: Any) -> bool:
    return isinstance(entry, dict) and "id" in entry and isinstance(entry.get("type"), str) and "value" in entry


def checked_address(url: str) -> str:
    """The address as it is used; UplinkError where it cannot be one of a console."""
    advice = "give it as http://HOST:PORT or https://HOST"
    try:
        parsed = httpx.URL(url.strip())
    except httpx.InvalidURL:
        raise UplinkError(f"{url!r} is not the address of a console", advice, permanent=True) from None
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment or parsed.userinfo:
        raise UplinkError(f"{url!r} is not the address of a console", advice, permanent=True)
    return str(parsed).rstrip("/")


def checked_key(key: str) -> str:
    """A sensor's key without white space around it; UplinkError where this can be none."""
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise UplinkError("this is not a sensor key", "copy it again from the console", permanent=True)
    return key
