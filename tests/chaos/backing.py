"""The stores that a world may stand on besides SQLite: real ones, which die and come back like its other programs."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch
from sqlalchemy import create_engine
from support.programs import free_port

from tools import elasticsearch_node, postgresql_server

SQLITE, POSTGRESQL = "sqlite", "postgresql"
# What a write has cost does not matter here, but that what was committed is there again after an immediate shutdown.
OPTIONS = ("-c", "fsync=off", "-c", "shared_buffers=64MB", "-c", "max_wal_size=256MB")


@dataclass(frozen=True, slots=True)
class Backing:
    """database: None for SQLite. url: of a search cluster, "" for none. node: that cluster, where it may be killed."""

    database: postgresql_server.Server | None = None
    url: str = ""
    node: elasticsearch_node.Node | None = None

    def settings(self) -> dict[str, str]:
        """Settings of a console that stands on it alone: a database and names of indices of its own."""
        name = f"chaos{secrets.token_hex(6)}"
        found = {"elasticsearch_url": self.url, "elasticsearch_prefix": name} if self.url else {}
        if self.database:
            engine = create_engine(self.database.url("postgres"), isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.exec_driver_sql(f"CREATE DATABASE {name}")
            engine.dispose()
            found["database_url"] = self.database.url(name)
        return found

    def forget(self, prefix: str) -> None:
        """Take the indices of one console away, as far as the cluster answers."""
        client = Elasticsearch(self.url, request_timeout=10)
        with contextlib.suppress(ApiError, TransportError):
            names = list(client.indices.get(index=f"{prefix}-*", expand_wildcards="all").body)
            for name in names:
                client.indices.delete(index=name)
            client.indices.delete_index_template(name=f"{prefix}-*")
        client.close()


OWN = "own"


def why_not(store: str, cluster: str) -> str:
    """Why such a world cannot be here; "" where it can."""
    missing = postgresql_server.why_not() if store == POSTGRESQL else ""
    return missing or (elasticsearch_node.why_not() if cluster == OWN else "")


@contextmanager
def backing(store: str, cluster: str) -> Iterator[Backing]:
    """Start what is wanted; it ends with the block. cluster: "", the address of one that runs, or OWN."""
    with ExitStack() as stack:
        database = node = None
        url = "" if cluster == OWN else cluster
        if store == POSTGRESQL:
            database = postgresql_server.Server(OPTIONS)
            stack.callback(database.stop)
            database.start()
        if cluster == OWN:
            port = free_port()  # the same after each start
            node = elasticsearch_node.Node({"http.port": str(port)})
            stack.callback(node.stop)
            url = node.start().url
        yield Backing(database, url, node)
