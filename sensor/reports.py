"""Reports beside the findings: the inventory, in pieces that the console takes, each asked for until it is taken."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx

from sensor.text import printable

MAX_RECORDS = 200  # of one request, as the console takes them
MAX_BYTES = 4 * 1024 * 1024
ATTEMPTS = 5
LONGEST_PAUSE_S = 30.0
TIMEOUT_S = 30.0


class ReportError(Exception):
    """The console would not take a report; one clear line."""


def send_assets(url: str, key: str, assets: Sequence[Mapping[str, Any]]) -> list[str]:
    """Report assets; gives what the console rejected, a line each. ReportError where it takes nothing."""
    rejected: list[str] = []
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    try:
        with httpx.Client(headers=headers, timeout=TIMEOUT_S, trust_env=False) as client:
            for piece in _pieces(assets):
                said = _posted(client, f"{url.rstrip('/')}/api/v1/assets", piece)
                rejected += [printable(str(it))[:300] for it in said.get("rejected", [])]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ReportError(f"the console at {printable(url)} cannot be reached: {printable(str(error))}") from None
    return rejected


def _pieces(assets: Sequence[Mapping[str, Any]]) -> Iterator[bytes]:
    piece: list[str] = []
    size = 0
    for asset in assets:
        line = json.dumps(asset, ensure_ascii=False)
        if piece and (len(piece) >= MAX_RECORDS or size + len(line.encode()) > MAX_BYTES):
            yield f'{{"assets": [{",".join(piece)}]}}'.encode()
            piece, size = [], 0
        piece.append(line)
        size += len(line.encode())
    if piece:
        yield f'{{"assets": [{",".join(piece)}]}}'.encode()


def _posted(client: httpx.Client, url: str, body: bytes) -> dict[str, Any]:
    """The answer to one piece; while the console is busy it is asked again."""
    for attempt in range(ATTEMPTS):
        answer = client.post(url, content=body)
        if answer.status_code not in (429, 503) or attempt + 1 == ATTEMPTS:
            break
        wait = answer.headers.get("Retry-After", "")
        time.sleep(min(float(wait) if wait.isdecimal() else 2.0**attempt, LONGEST_PAUSE_S))
    if answer.status_code == 401:
        raise ReportError("the console does not know this key")
    if answer.status_code != 200:
        raise ReportError(f"the console answers {answer.status_code}: {printable(answer.text)[:200]}")
    said = answer.json()
    return said if isinstance(said, dict) else {}
