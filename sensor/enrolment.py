"""Getting a key that the console knows, and changing it: each one request.

The key is made here and never travels: the console is told its hash. It is on disk before the console hears of it, so a
lost answer can be asked for again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

from sensor.sensor_key import KeyFileError, SensorKey, described, new_key, write_key
from sensor.text import printable
from sensor.uplink import TIMEOUTS, UplinkError, checked_address

MAX_REPLY_BYTES = 65_536
PENDING = ".enrolling"  # beside the key file while nobody knows whether the console has heard of the key


def enrol(url: str, token: str, path: Path) -> str:
    """Make a key in the file `path` that the console knows; gives the sensor's name there.

    UplinkError, KeyFileError.
    """
    if path.exists():
        raise KeyFileError(f"{path} is there already: to change the key use `fenghuo sensor rotate-key`")
    pending = path.with_name(path.name + PENDING)
    key = pending.read_text("ascii").strip() if pending.exists() else new_key()
    write_key(pending, key)
    digest, hint = described(key)
    reply = _ask(checked_address(url), "enrol", {"token": token.strip(), "key_hash": digest, "key_hint": hint}, None)
    write_key(path, key)
    pending.unlink(missing_ok=True)
    return printable(str(reply.get("sensor", "")))


def rotate(url: str, path: Path) -> None:
    """Give the file `path` a new key that the console accepts from now on. UplinkError, KeyFileError."""
    key = SensorKey.of_file(path)
    address = checked_address(url)
    try:
        key.change(lambda digest, hint: _ask(address, "key", {"key_hash": digest, "key_hint": hint}, key))
    except UplinkError as error:
        if error.permanent:
            key.forget_next()
        raise


def _ask(url: str, name: str, body: dict[str, Any], auth: httpx.Auth | None) -> dict[str, Any]:
    """The JSON object that the console answers; UplinkError for every other answer and for none."""
    try:
        with (
            httpx.Client(timeout=TIMEOUTS, trust_env=False) as client,
            client.stream("POST", f"{url}/api/v1/{name}", json=body, auth=auth) as response,
        ):
            content = b""
            for chunk in response.iter_raw():
                content += chunk
                if len(content) > MAX_REPLY_BYTES:
                    raise UplinkError(f"{url} answers without end", "is it a Fenghuo console?", permanent=True)
    except httpx.TransportError as error:
        raise UplinkError(f"{url} cannot be reached ({error})", "is the console running at this address?") from error
    try:
        reply = json.loads(content)
    except (ValueError, RecursionError):
        reply = None
    if response.status_code != 200 or not isinstance(reply, dict):
        why = str(reply.get("error", ""))[:200] if isinstance(reply, dict) else ""
        told = f"{url} refuses ({response.status_code}{': ' if why else ''}{why})"
        raise UplinkError(told, permanent=response.status_code not in (429, 500, 502, 503, 504))
    return reply
