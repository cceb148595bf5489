"""TAXII 2.1 server: peer consoles read an organisation's collection.

Source: TAXII Version 2.1, OASIS Standard (10 June 2021). The standard wants HTTPS: put a proxy that ends TLS in front
of a console that others reach (`trusted_proxy`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, current_app, request, url_for
from flask_limiter.util import get_remote_address
from itsdangerous import URLSafeSerializer
from werkzeug.exceptions import HTTPException, NotAcceptable, NotFound, UnsupportedMediaType

from console.services import collections, organisations, peers
from console.services.actor import the_console
from console.services.errors import ServiceError
from console.sharing import taxii_server
from console.sharing.taxii_server import MEDIA_TYPE, STIX_MEDIA_TYPE, BadQueryError, Page, Query
from console.store.models import Collection, Peer
from console.web.context import console, db, now, public
from console.web.security import csrf, limiter

blueprint = Blueprint("taxii", __name__, url_prefix="/taxii2")
csrf.exempt(blueprint)  # no cookie is read here: credentials come with each request

COLLECTION = "/<root>/collections/<uid>/"


class Unauthorised(HTTPException):
    """No credentials, wrong ones, or revoked ones; nobody can tell which."""

    code = 401
    description = "The credentials of a registered peer are needed."


def _caller() -> str:
    name = request.authorization.username if request.authorization else None
    return f"{get_remote_address()}:{hashlib.sha256((name or '').encode()).hexdigest()}"


def _refused(response: Response) -> bool:
    return response.status_code == 401


limiter.limit("30/minute", key_func=_caller, deduct_when=_refused)(blueprint)


def _peer() -> Peer:
    """Who asks; then, whether the answer can be in the form that is asked for (3.1)."""
    given = request.authorization
    peer = None
    if given is not None and given.type == "basic":
        peer = peers.authenticate(db(), given.username or "", given.password or "")
    if peer is None:
        raise Unauthorised
    if not taxii_server.accepts_taxii(request.headers.get("Accept", "")):
        raise NotAcceptable(f"This server answers in {MEDIA_TYPE}.")
    return peer


def _answer(body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(body), status, {**(headers or {}), "Content-Type": MEDIA_TYPE})


@blueprint.errorhandler(HTTPException)
def _http_error(error: HTTPException) -> Any:
    code = error.code or 500
    headers = {"WWW-Authenticate": 'Basic realm="taxii", charset="UTF-8"'} if code == 401 else {}
    headers |= {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
    return _answer({"title": error.description or error.name, "http_status": str(code)}, code, headers)


@blueprint.errorhandler(ServiceError)
def _service_error(error: ServiceError) -> Any:
    return _answer({"title": "Not found", "http_status": str(error.status)}, error.status)


@blueprint.errorhandler(BadQueryError)
def _bad_query(error: BadQueryError) -> Any:
    return _answer({"title": str(error), "http_status": "400"}, 400)


@blueprint.get("/")
@public
def discovery() -> Any:
    """4.1: this server and the peer's API root."""
    peer = _peer()
    organisation = organisations.own(db(), the_console(peer.organisation_id))
    root = collections.root_of(db(), peer)
    location = url_for("taxii.api_root", root=root.identity, _external=True)
    return _answer({"title": f"{organisation.name} (Fenghuo)", "default": location, "api_roots": [location]})


@blueprint.get("/<root>/")
@public
def api_root(root: str) -> Any:
    """4.2: what the API root speaks."""
    peer = _peer()
    collections.collection_of(db(), peer, root)
    title = organisations.own(db(), the_console(peer.organisation_id)).name
    limit = current_app.config["MAX_CONTENT_LENGTH"]
    return _answer({"title": title, "versions": [MEDIA_TYPE], "max_content_length": limit})


@blueprint.get("/<root>/status/<status_id>/")
@public
def status(root: str, status_id: str) -> Any:
    """4.3: nothing is taken in through TAXII, so there is no status to report."""
    collections.collection_of(db(), _peer(), root)
    raise NotFound("There is no such status.")


@blueprint.get("/<root>/collections/")
@public
def all_collections(root: str) -> Any:
    """5.1."""
    found = collections.collection_of(db(), _peer(), root)
    return _answer({"collections": [_describe(found)]})


@blueprint.get(COLLECTION)
@public
def one_collection(root: str, uid: str) -> Any:
    """5.2."""
    return _answer(_describe(collections.collection_of(db(), _peer(), root, uid)))


def _describe(found: Collection) -> dict[str, Any]:
    return {
        "id": found.uid,
        "title": "Bulletins",
        "description": "Warning bulletins with their indicators, as far as their TLP labels let you have them.",
        "can_read": True,
        "can_write": False,
        "media_types": [STIX_MEDIA_TYPE],
    }


@blueprint.get(f"{COLLECTION}manifest/")
@public
def manifest(root: str, uid: str) -> Any:
    """5.3."""
    return _page(root, uid, lambda page: {"objects": [taxii_server.manifest_record(row) for row in page.objects]})


@blueprint.get(f"{COLLECTION}objects/")
@public
def objects(root: str, uid: str) -> Any:
    """5.4."""
    return _page(root, uid, lambda page: {"objects": [json.loads(row.body) for row in page.objects]})


@blueprint.get(f"{COLLECTION}objects/<stix_id>/")
@public
def one_object(root: str, uid: str, stix_id: str) -> Any:
    """5.6."""
    return _page(root, uid, lambda page: {"objects": [json.loads(row.body) for row in page.objects]}, stix_id)


@blueprint.get(f"{COLLECTION}objects/<stix_id>/versions/")
@public
def versions(root: str, uid: str, stix_id: str) -> Any:
    """5.8."""
    return _page(root, uid, lambda page: {"versions": [row.version for row in page.objects]}, stix_id, versions=False)


@blueprint.post(f"{COLLECTION}objects/")
@public
def add_objects(root: str, uid: str) -> Any:
    """5.5: the collection cannot be written."""
    collections.collection_of(db(), _peer(), root, uid)
    if not taxii_server.accepts_taxii(request.headers.get("Content-Type", "")):
        raise UnsupportedMediaType(f"Objects are sent as {MEDIA_TYPE}.")
    return _read_only()


@blueprint.delete(f"{COLLECTION}objects/<stix_id>/")
@public
def delete_object(root: str, uid: str, stix_id: str) -> Any:
    """5.7: the collection cannot be written."""
    collections.collection_of(db(), _peer(), root, uid)
    return _read_only()


def _read_only() -> Response:
    return _answer({"title": "This collection cannot be written (can_write is false).", "http_status": "403"}, 403)


def _page(
    root: str,
    uid: str,
    envelope: Callable[[Page], dict[str, list[Any]]],
    stix_id: str | None = None,
    versions: bool = True,
) -> Response:
    """One page of a listing: read, logged, and only then sent. Empty lists are not sent (2)."""
    peer = _peer()
    collection = collections.collection_of(db(), peer, root, uid)
    query = taxii_server.parse_query(request.args.to_dict(flat=False), with_versions=versions)
    if stix_id is not None:
        query = taxii_server.only(query, stix_id)
        if not collections.knows(db(), peer, collection, stix_id):
            raise NotFound("There is no such object.")
    signer = URLSafeSerializer(current_app.config["SECRET_KEY"], salt="taxii-next")
    page = collections.read(db(), peer, collection, query, signer)
    page = _log(peer, collection, query, page)
    body: dict[str, Any] = {name: values for name, values in envelope(page).items() if values}
    if body:
        body["more"] = page.more
    if page.more:
        body["next"] = page.next
    return _answer(body, headers=page.headers)


def _log(peer: Peer, collection: Collection, query: Query, page: Page) -> Page:
    """A read request writes too, in a transaction of its own."""
    with console().store.transaction() as session:
        return collections.write_down(session, peer, collection, query, page, now())
