"""TAXII 2.1 client: reads another console's collection, and trusts nothing that it answers.

Source: TAXII Version 2.1, OASIS Standard (10 June 2021). Every dimension has a bound: bytes of an answer and of a pull,
pages, objects, seconds, nesting. Credentials go to the one address that was typed in: no redirect is followed, and an
API root on another host is refused. Compressed answers are refused, for their size says nothing.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from console.notify.cutoff import Cutoff
from console.notify.egress import ForbiddenAddressError, resolve
from console.sharing.hostile import BadContentError, read_json, timestamp
from console.sharing.taxii_server import MEDIA_TYPE

URL_LIMIT = 1000  # characters
PAGE_SIZE = 100  # objects asked for at a time: one page is one transaction


class PullError(Exception):
    """The pull ended early. The text is one English sentence for people; it quotes nothing that came from outside."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What one pull may cost. What is left over is taken by the next one."""

    page_bytes: int = 16 * 1024 * 1024
    total_bytes: int = 128 * 1024 * 1024
    pages: int = 1000
    objects: int = 50_000
    seconds: float = 120.0
    step_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """One page. date_added_last: X-TAXII-Date-Added-Last as given, "" where it is missing or no time."""

    objects: list[Any]
    date_added_last: str


@dataclass(slots=True)
class TaxiiClient:
    """One pull from one server with one set of credentials.

    url: of the discovery resource or of an API root. allow_private: also private and loopback addresses, and plain http
    (consoles in the operator's own network).
    """

    url: str
    username: str
    password: str
    allow_private: bool = False
    budget: Budget = field(default_factory=Budget)
    _spent_bytes: int = 0
    _until: float = 0.0

    def __post_init__(self) -> None:
        """The clock of the budget runs from now."""
        self._until = time.monotonic() + self.budget.seconds

    def collection_url(self, wanted: str) -> str:
        """Address of the collection `wanted` ("" for the first that may be read). Raises PullError."""
        root = self._api_root()
        answer, _ = self._get(root.join("collections/"))
        listed = answer.get("collections")
        for entry in listed if isinstance(listed, list) else []:
            uid = entry.get("id") if isinstance(entry, dict) else None
            if not isinstance(uid, str) or not _is_name(uid) or entry.get("can_read") is not True:
                continue
            if wanted in ("", uid):
                return str(root.join(f"collections/{uid}/"))
        raise PullError("The server has no such collection that these credentials may read.")

    def _api_root(self) -> httpx.URL:
        url = parse_url(self.url, allow_private=self.allow_private)
        answer, _ = self._get(url)
        roots = answer.get("api_roots")
        if not isinstance(roots, list):  # not a discovery resource: then it is an API root itself
            return url
        default = answer.get("default")
        chosen = default if isinstance(default, str) else next((r for r in roots if isinstance(r, str)), "")
        try:
            root = url.join(chosen if chosen.endswith("/") else chosen + "/")
        except (httpx.InvalidURL, UnicodeError) as error:
            raise PullError("The server names an API root that is not an address.") from error
        if (root.scheme, root.host, root.port) != (url.scheme, url.host, url.port):
            raise PullError("The server names an API root on another host.")
        return root

    def pages(self, collection_url: str, added_after: str) -> Iterator[Fetched]:
        """Pages of a collection after a date added ("" from the beginning). Raises PullError; pages given stay good."""
        parameters = {"limit": str(PAGE_SIZE), "match[version]": "all"}
        if added_after:
            parameters["added_after"] = added_after
        url = httpx.URL(collection_url).join("objects/")
        tokens: set[str] = set()
        objects = 0
        for _ in range(self.budget.pages):
            answer, headers = self._get(url.copy_with(params=parameters))
            found = answer.get("objects", [])
            if not isinstance(found, list):
                raise PullError("The server's answer is not a TAXII envelope.")
            objects += len(found)
            if objects > self.budget.objects:
                raise PullError("The server sends more objects than one pull takes.")
            yield Fetched(found, _time_or_nothing(headers.get("X-TAXII-Date-Added-Last")))
            if answer.get("more") is not True:
                return
            token = answer.get("next")
            if not isinstance(token, str) or not token or len(token) > 4000:
                raise PullError("The server says that there is more, but not where.")
            if token in tokens or not found:
                raise PullError("The server's pages lead in a circle.")
            tokens.add(token)
            parameters["next"] = token
        raise PullError("The server has more pages than one pull takes.")

    def _get(self, url: httpx.URL) -> tuple[dict[str, Any], Mapping[str, str]]:
        left = self._until - time.monotonic()
        if left <= 0:
            raise PullError("The pull took too long.")
        with Cutoff(left) as cutoff:
            try:
                raw, headers = self._fetch(url, cutoff)
            except ForbiddenAddressError as error:
                raise PullError("The address is not a public one; a setting allows others.") from error
            except (httpx.HTTPError, httpx.StreamError, OSError) as error:
                if cutoff.expired:
                    raise PullError("The pull took too long.") from error
                raise PullError("The server cannot be reached.") from error
        try:
            answer = read_json(raw)
        except BadContentError as error:
            raise PullError("The server's answer is not JSON within bounds.") from error
        if not isinstance(answer, dict):
            raise PullError("The server's answer is not a TAXII resource.")
        return answer, headers

    def _fetch(self, url: httpx.URL, cutoff: Cutoff) -> tuple[bytes, Mapping[str, str]]:
        port = url.port or (443 if url.scheme == "https" else 80)
        addresses = resolve(url.raw_host.decode("ascii"), port, allow_private=self.allow_private)
        for address in addresses[:-1]:
            try:
                return self._fetch_from(address, url, cutoff)
            except (httpx.ConnectError, httpx.ConnectTimeout):  # nothing was sent yet: the next address may answer
                continue
        return self._fetch_from(addresses[-1], url, cutoff)

    def _fetch_from(self, address: str, url: httpx.URL, cutoff: Cutoff) -> tuple[bytes, Mapping[str, str]]:
        headers = {
            "Host": url.netloc.decode("ascii"),
            "Accept": MEDIA_TYPE,
            "Accept-Encoding": "identity",
            "User-Agent": "Fenghuo",
        }

        def watch(event: str, info: Mapping[str, Any]) -> None:
            if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
                sock = info["return_value"].get_extra_info("socket")
                cutoff.watch(sock if isinstance(sock, socket.socket) else None)

        # The connection goes to the address that was checked; the certificate is judged by the name. trust_env=False:
        # neither a proxy nor a .netrc of this machine has a say.
        with (
            httpx.Client(timeout=self.budget.step_s, follow_redirects=False, trust_env=False) as client,
            client.stream(
                "GET",
                url.copy_with(host=address),
                headers=headers,
                auth=httpx.BasicAuth(self.username, self.password),
                extensions={"sni_hostname": url.raw_host.decode("ascii"), "trace": watch},
            ) as response,
        ):
            _judge(response)
            return self._read(response), response.headers

    def _read(self, response: httpx.Response) -> bytes:
        kept = bytearray()
        for chunk in response.iter_raw():
            kept += chunk
            self._spent_bytes += len(chunk)
            if len(kept) > self.budget.page_bytes or self._spent_bytes > self.budget.total_bytes:
                raise PullError("The server sends more bytes than one pull takes.")
            if time.monotonic() > self._until:
                raise PullError("The pull took too long.")
        return bytes(kept)


def parse_url(text: str, *, allow_private: bool) -> httpx.URL:
    """The address of a server, with a slash at its end. Raises PullError."""
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise PullError("This is not a web address.") from error
    if len(text) > URL_LIMIT or not url.host or url.scheme not in (("https", "http") if allow_private else ("https",)):
        raise PullError("The address begins with https:// and names a host.")
    if url.userinfo:
        raise PullError("The address carries no user name or password; they have their own fields.")
    path = url.path if url.path.endswith("/") else url.path + "/"
    return url.copy_with(fragment=None, query=None, path=path)


def _judge(response: httpx.Response) -> None:
    status = response.status_code
    if response.is_redirect:
        raise PullError("The server redirects elsewhere; redirects are not followed.")
    if status in (401, 403):
        raise PullError("The server refuses these credentials.")
    if status != 200:
        raise PullError("The server answers with an error.")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise PullError("The server compresses its answer though it was asked not to.")
    if not response.headers.get("Content-Type", "").lower().replace(" ", "").startswith("application/taxii+json"):
        raise PullError("There is no TAXII 2.1 server at this address.")


def _is_name(text: str) -> bool:
    return 1 <= len(text) <= 36 and all(char.isascii() and (char.isalnum() or char == "-") for char in text)


def _time_or_nothing(text: str | None) -> str:
    try:
        timestamp(text)
    except BadContentError:
        return ""
    return text or ""
