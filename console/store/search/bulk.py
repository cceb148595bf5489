"""Bulk requests: operations in, what became of each out. Several requests are under way at a time.

Each operation carries its version, so that order does not matter: whatever comes late and old is refused by the index.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum, auto
from types import TracebackType
from typing import Any

from elastic_transport import TransportError
from elasticsearch import ApiError

from console.store.search.cluster import MAX_NOTE, Cluster, State, fault, reason
from sensor.failpoints import failpoint

MAX_OPERATIONS = 1000  # of one request
MAX_BYTES = 4 * 1024 * 1024  # of one request: beyond that larger requests gain nothing, and a node has its own limit
AT_A_TIME = 3  # requests under way: the node indexes one while the next one is made here
# Answers hold no more than what is read; the status of each keeps the order.
ANSWER = ["errors", "items.*.status", "items.*.error.type", "items.*.error.reason", "items.*.error.caused_by.reason"]
_CURRENT = re.compile(r"current version \[(\d+)\]")


class Fate(Enum):
    """What became of an operation."""

    DONE = auto()
    NEWER = auto()  # the index has a newer version
    NO_INDEX = auto()
    REFUSED = auto()  # it will never be taken as it is
    AGAIN = auto()  # the document failed, not the cluster: it may be tried some more times
    LATER = auto()  # the cluster cannot just now


@dataclass(frozen=True, slots=True)
class Operation:
    """Write a document (its JSON), or delete it (None)."""

    index: str
    document_id: str
    version: int
    body: bytes | None

    def lines(self) -> bytes:
        """As it stands in a bulk request."""
        verb = "delete" if self.body is None else "index"
        # ids are checked text of ours, yet json.dumps is what makes them safe
        head = (
            f'{{"{verb}":{{"_index":"{self.index}","_id":{json.dumps(self.document_id)},'
            f'"version":{self.version},"version_type":"external"}}}}\n'
        ).encode()
        return head if self.body is None else head + self.body + b"\n"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an operation. reason: of what was not done. current: version that the index has, of NEWER."""

    fate: Fate
    reason: str = ""
    current: int = 0
    state: State = State.OK


DONE = Result(Fate.DONE)


class Bulk:
    """A way to send operations; a context manager."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._pool = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="bulk")

    def __enter__(self) -> Bulk:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)

    def send(self, operations: Iterable[list[Operation]]) -> Iterator[list[Result]]:
        """The results of each list, in the order of the lists; at most AT_A_TIME of them are taken ahead."""
        under_way: deque[Future[list[Result]]] = deque()
        for wanted in operations:
            under_way.append(self._pool.submit(self._all_of, wanted))
            while len(under_way) >= AT_A_TIME + 1 or (under_way and under_way[0].done()):
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()

    def _all_of(self, operations: list[Operation]) -> list[Result]:
        results: list[Result] = []
        request: list[bytes] = []
        size = 0
        for operation in operations:
            lines = operation.lines()
            if request and (len(request) >= MAX_OPERATIONS or size + len(lines) > MAX_BYTES):
                results += self._request(request)
                request, size = [], 0
            request.append(lines)
            size += len(lines)
        return results + self._request(request)

    def _request(self, request: list[bytes]) -> list[Result]:
        """Never raises: what goes wrong with the request goes wrong with each of its operations."""
        if not request:
            return []
        failpoint("index.before_request")
        try:
            answer = self._cluster.client.perform_request(
                "POST",
                "/_bulk",
                params={"filter_path": ",".join(ANSWER)},
                headers={"content-type": "application/x-ndjson", "accept": "application/json"},
                body=b"".join(request),
            ).body
        except ApiError as error:
            if error.meta.status == 413 and len(request) > 1:
                half = len(request) // 2
                return self._request(request[:half]) + self._request(request[half:])
            if error.meta.status == 413:
                return [Result(Fate.REFUSED, "larger than the cluster takes")]
            if error.meta.status == 400 and len(request) > 1:  # one of them spoils the request: find it
                half = len(request) // 2
                return self._request(request[:half]) + self._request(request[half:])
            if error.meta.status == 400:
                return [Result(Fate.REFUSED, reason(error.body)[:MAX_NOTE])]
            found = fault(error)
            return [Result(Fate.LATER, str(found), state=found.state)] * len(request)
        except TransportError as error:
            found = fault(error)
            return [Result(Fate.LATER, str(found), state=found.state)] * len(request)
        failpoint("index.after_reply")
        if not answer.get("errors"):
            return [DONE] * len(request)
        results = [judge(next(iter(item.values()))) for item in answer.get("items", ())]
        if len(results) != len(request):
            return [Result(Fate.LATER, "the cluster answered for other documents", state=State.FAULT)] * len(request)
        return results


def judge(item: dict[str, Any]) -> Result:
    """One item of an answer."""
    status, error = item.get("status", 500), item.get("error")
    if error is None:  # 404: to be deleted, and not there
        return DONE
    text = reason(item)[:MAX_NOTE]
    kind = error.get("type") if isinstance(error, dict) else ""
    if status == 409:
        current = _CURRENT.search(text)
        return Result(Fate.NEWER, text, int(current[1]) if current else 0)
    if kind == "index_not_found_exception":
        return Result(Fate.NO_INDEX, text)
    if kind == "cluster_block_exception":
        return Result(Fate.LATER, text, state=State.READ_ONLY)
    if status in (429, 503):
        return Result(Fate.LATER, text, state=State.BUSY)
    if status in (401, 403):
        return Result(Fate.LATER, text, state=State.REFUSED)
    return Result(Fate.REFUSED if 400 <= status < 500 else Fate.AGAIN, text)
