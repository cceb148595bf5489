"""Questions to the cluster: only while it has what the store has, and never for longer than people wait."""

from __future__ import annotations

import time
from typing import Any

from elastic_transport import TransportError
from elasticsearch import ApiError
from sqlalchemy.orm import Session

from console.settings import Settings
from console.store.search import feed as feeding
from console.store.search import templates
from console.store.search.cluster import Cluster, State, fault
from console.store.search.contract import SearchAwayError

PATIENCE_S = 5.0  # for one answer
REST_S = 10.0  # after a question without an answer, nobody else waits for one


class Asking:
    """Sends searches to the alias of one kind. One for all requests of the console."""

    def __init__(self, settings: Settings, kind: str) -> None:
        self._cluster = Cluster(settings.model_copy(update={"elasticsearch_timeout": PATIENCE_S}))
        self._kind, self._alias = kind, templates.alias(settings.elasticsearch_prefix, kind)
        self._again_at = 0.0
        self._why = ""

    def behind(self, session: Session) -> str:
        """Why the cluster's answers would not be the store's; "" where they are."""
        feed = feeding.feed_of(session, self._kind)
        if feed is None or feed.live is None:
            return "the index is being filled for the first time"
        if feed.state not in (State.OK, State.FILLING):
            return feed.note or feed.state
        if any(part.filled_to is not None for part in feeding.parts_of(session, self._kind, (feed.live,))):
            return "an index was lost and is being filled again"
        return ""

    def ask(self, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a search; SearchAwayError where there is none."""
        if time.monotonic() < self._again_at:
            raise SearchAwayError(self._why)
        try:
            return dict(self._cluster.client.search(index=self._alias, body=body).body)
        except (ApiError, TransportError) as error:
            self._why = str(fault(error))
            if not isinstance(error, ApiError) or error.meta.status in (401, 403, 429, 503):
                self._again_at = time.monotonic() + REST_S
            raise SearchAwayError(self._why) from None
