"""What the sharing tests are made with: small objects, a collection to put them into, peers that ask."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid5

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from console.services import peers
from console.services.actor import Actor
from console.sharing import collection
from console.sharing.collection import NewObject
from console.sharing.tlp import DEFINITION_IDS, Held, Tlp
from console.store.engine import Store
from console.store.models import Collection, Peer

ACCEPT = "application/taxii+json;version=2.1"
SPACE = UUID("5c0b3d5e-7a5e-4c49-9d0e-1e5a6f0c7b11")
MODIFIED = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def stix_indicator(number: int, tlp: Tlp = Tlp.GREEN, modified: datetime = MODIFIED, **more) -> dict:
    """A small valid indicator; the same number gives the same id."""
    time = modified.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": f"indicator--{uuid5(SPACE, str(number))}",
        "created": "2026-11-01T12:00:00.000Z",
        "modified": time,
        "name": f"number {number}",
        "pattern": f"[ipv4-addr:value = '203.0.113.{number % 250 + 1}']",
        "pattern_type": "stix",
        "valid_from": "2026-11-01T12:00:00Z",
        "object_marking_refs": [DEFINITION_IDS[tlp]],
    } | more


def new_object(stix: dict, tlp: Tlp = Tlp.GREEN, held: Held = Held.AS_SOURCE, **more) -> NewObject:
    """A STIX object as the collection takes it."""
    version = datetime.fromisoformat(stix["modified"]) if "modified" in stix else None
    return NewObject(stix["id"], stix["type"], version, "2.1", tlp, held, json.dumps(stix), **more)


def fill(session: Session, actor: Actor, now: datetime, *new: NewObject) -> Collection:
    """Put objects into an organisation's collection."""
    shared = collection.ensure(session, actor.organisation_id, now)
    collection.add(session, shared, new, now)
    return shared


@dataclass
class Taxii:
    """A peer of the plant that asks by the test client."""

    client: FlaskClient
    username: str
    password: str
    root: str
    uid: str
    peer_id: int

    @property
    def authorization(self) -> str:
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    @property
    def objects(self) -> str:
        return f"/taxii2/{self.root}/collections/{self.uid}/objects/"

    @property
    def manifest(self) -> str:
        return f"/taxii2/{self.root}/collections/{self.uid}/manifest/"

    def get(self, path: str, accept: str = ACCEPT, **parameters):
        query = {name.replace("__", "[") + "]" if "__" in name else name: value for name, value in parameters.items()}
        headers = {"Authorization": self.authorization, "Accept": accept}
        return self.client.get(path, query_string=query, headers=headers)

    def ids(self, path: str | None = None, **parameters) -> list[str]:
        answer = self.get(path or self.objects, **parameters)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return [thing["id"] for thing in answer.get_json(force=True).get("objects", [])]


def register(app: Flask, store: Store, actor: Actor, relation: str, name: str = "City console") -> Taxii:
    """A peer of an actor's organisation."""
    clock = app.extensions["fenghuo"].clock
    with store.transaction() as session:
        peer, password = peers.register(session, actor, name, relation, clock())
        shared = collection.ensure(session, actor.organisation_id, clock())
        return Taxii(app.test_client(), peer.username, password, shared.identity, shared.uid, peer.id)


def peer_row(session: Session, taxii: Taxii) -> Peer:
    """The row of a registered peer."""
    found = session.get(Peer, taxii.peer_id)
    assert found is not None
    return found
