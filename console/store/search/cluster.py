"""The way to the Elasticsearch cluster of the settings: connection, faults in our words, indices and aliases."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from elastic_transport import ConnectionError as Disconnected
from elastic_transport import ConnectionTimeout, TlsError, TransportError
from elasticsearch import ApiError, Elasticsearch, NotFoundError

from console.settings import Settings
from console.store.search import templates
from console.store.search.kinds import Kind

P = ParamSpec("P")
R = TypeVar("R")
MAX_NOTE = 500  # characters of what a cluster says that are kept


class State(StrEnum):
    """How the index stands, as the status page tells it."""

    OK = "ok"
    FILLING = "filling"
    UNREACHABLE = "unreachable"  # no node answers
    REFUSED = "refused"  # login or rights are wrong, or the indices are another console's
    READ_ONLY = "read-only"  # the cluster takes no documents: a disk is nearly full
    BUSY = "busy"  # it asks for patience
    FAULT = "fault"


class ClusterError(Exception):
    """The cluster does not do what was asked; the text says why. All of it may be tried again later."""

    def __init__(self, state: State, text: str) -> None:
        super().__init__(text[:MAX_NOTE])
        self.state = state


def fault(error: ApiError | TransportError) -> ClusterError:
    """An exception of the client in our words."""
    if isinstance(error, ApiError):
        status, text = error.meta.status, reason(error.body) or str(error)
        if status == 403 and "cluster_block_exception" in str(error.body):
            return ClusterError(State.READ_ONLY, text)
        if status in (401, 403):
            return ClusterError(State.REFUSED, text)
        return ClusterError(State.BUSY if status in (429, 503) else State.FAULT, text)
    if isinstance(error, TlsError):
        return ClusterError(State.REFUSED, f"TLS: {error.message}")
    if isinstance(error, (Disconnected, ConnectionTimeout)):
        return ClusterError(State.UNREACHABLE, error.message)
    return ClusterError(State.FAULT, str(error))


def reason(body: Any) -> str:
    """The reason in an error answer, with the type before it."""
    error = body.get("error") if isinstance(body, dict) else body
    if isinstance(error, dict):
        cause = error.get("caused_by")
        inner = f": {cause.get('reason')}" if isinstance(cause, dict) and cause.get("reason") else ""
        return f"{error.get('type')}: {error.get('reason')}{inner}"
    return str(error or "")


def _ours(call: Callable[P, R]) -> Callable[P, R]:
    """Let a method raise nothing of the client's but ClusterError."""

    @wraps(call)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except (ApiError, TransportError) as error:
            raise fault(error) from None

    return called


@dataclass(frozen=True, slots=True)
class Health:
    """What the cluster says of itself. status: green, yellow or red."""

    status: str
    nodes: int
    version: str


class Cluster:
    """The cluster of the settings. Nothing is asked of it before it is needed: it may be down."""

    def __init__(self, settings: Settings) -> None:
        """ValueError where the settings make no sense."""
        hosts = [host.strip() for host in settings.elasticsearch_url.split(",") if host.strip()]
        password, key = settings.elasticsearch_password.get_secret_value(), settings.elasticsearch_api_key
        options: dict[str, Any] = {}
        if settings.elasticsearch_ca_file and any(host.startswith("https:") for host in hosts):
            try:
                options["ssl_context"] = ssl.create_default_context(cafile=settings.elasticsearch_ca_file)
            except (OSError, ssl.SSLError) as error:
                raise ValueError(f"FENGHUO_ELASTICSEARCH_CA_FILE cannot be used: {error}") from None
        if key.get_secret_value():
            options["api_key"] = key.get_secret_value()
        elif settings.elasticsearch_username:
            options["basic_auth"] = (settings.elasticsearch_username, password)
        self.client = Elasticsearch(
            hosts,
            request_timeout=settings.elasticsearch_timeout,
            max_retries=len(hosts) - 1,  # another node is asked at once; who calls tries again later
            retry_on_timeout=False,
            retry_on_status=(),
            **options,
        )
        self.prefix, self.days = settings.elasticsearch_prefix, settings.elasticsearch_days

    def close(self) -> None:
        """Give the connections back."""
        self.client.close()

    @_ours
    def health(self) -> Health:
        """Of the whole cluster."""
        said = self.client.cluster.health()
        version = self.client.nodes.info(filter_path=["nodes.*.version"]).body.get("nodes", {})
        versions = sorted({str(node.get("version")) for node in version.values()})
        return Health(str(said["status"]), int(said["number_of_nodes"]), ", ".join(versions))

    @_ours
    def put_template(self, kind: Kind, installation: str) -> None:
        """Make the template of a kind what it should be. State.REFUSED where it is another console's."""
        name = templates.alias(self.prefix, kind.name)
        try:
            there = self.client.indices.get_index_template(name=name)["index_templates"][0]["index_template"]
        except NotFoundError:
            there = {}
        owner = there.get("_meta", {}).get("installation")
        if there and owner != installation:
            raise ClusterError(
                State.REFUSED,
                f"the template {name} belongs to another console: set FENGHUO_ELASTICSEARCH_PREFIX, or run "
                "`fenghuo console index rebuild --take-over` where that console is no more",
            )
        self.client.indices.put_index_template(name=name, **templates.template(self.prefix, kind, installation))
        if self.days and self.knows_lifecycles():
            self.client.ilm.put_lifecycle(name=name, policy=templates.lifecycle(self.days))

    @_ours
    def forget_template(self, kind: str) -> None:
        """Take a template away, whosever it is."""
        self.client.options(ignore_status=404).indices.delete_index_template(name=templates.alias(self.prefix, kind))

    def knows_lifecycles(self) -> bool:
        """Whether this cluster deletes indices by a policy."""
        try:
            return bool(self.client.ilm.get_status().body.get("operation_mode"))
        except ApiError:
            return False

    @_ours
    def indices(self, kind: str) -> dict[str, tuple[str, str]]:
        """Indices of a kind: name to uuid and the installation that made it."""
        found = self.client.indices.get(
            index=f"{templates.alias(self.prefix, kind)}-*",
            filter_path=["*.settings.index.uuid", "*.mappings._meta"],
            expand_wildcards="all",
            features=["settings", "mappings"],
        )
        return {
            name: (
                str(said["settings"]["index"]["uuid"]),
                str(said.get("mappings", {}).get("_meta", {}).get("installation")),
            )
            for name, said in found.items()
        }

    @_ours
    def make(self, kind: str, name: str, period: str, seen: bool) -> str:
        """Make an index from its template; gives its uuid. seen: by searches, that is under the alias."""
        settings = {}
        if self.days and period and self.knows_lifecycles():
            settings = templates.lifecycle_settings(templates.alias(self.prefix, kind), period)
        aliases: dict[str, Any] = {templates.alias(self.prefix, kind): {}} if seen else {}
        try:
            self.client.indices.create(index=name, settings=settings, aliases=aliases)
        except ApiError as error:
            if "resource_already_exists_exception" not in str(error.body):
                raise
        return str(self.client.indices.get_settings(index=name)[name]["settings"]["index"]["uuid"])

    @_ours
    def show(self, kind: str, names: Iterable[str]) -> None:
        """Let the alias of a kind mean these indices and no others, in one step."""
        meant = templates.alias(self.prefix, kind)
        wanted = set(names)
        there = set(self.client.options(ignore_status=404).indices.get_alias(name=meant).body)
        if "error" in there:
            there = set()
        actions: list[dict[str, Any]] = [{"add": {"index": name, "alias": meant}} for name in sorted(wanted - there)]
        actions += [{"remove": {"index": name, "alias": meant}} for name in sorted(there - wanted)]
        if actions:
            self.client.indices.update_aliases(actions=actions)

    @_ours
    def delete(self, name: str) -> None:
        """Delete an index, if it is there."""
        self.client.options(ignore_status=404).indices.delete(index=name)

    @_ours
    def refresh(self, kind: str) -> None:
        """Let searches see everything that was written."""
        self.client.indices.refresh(index=f"{templates.alias(self.prefix, kind)}-*")

    @_ours
    def newest_version(self, kind: str) -> int:
        """The highest version of a document of a kind, 0 where there is none."""
        index = f"{templates.alias(self.prefix, kind)}-*"
        self.client.indices.refresh(index=index)
        said = self.client.search(index=index, size=0, aggs={"newest": {"max": {"field": templates.VERSION}}})
        return int(said.get("aggregations", {}).get("newest", {}).get("value") or 0)
