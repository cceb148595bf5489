"""Two real nodes behind TLS and a login: who may feed them, and what happens when they are killed."""

from __future__ import annotations

import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from index_kit import Fed, fed_by
from support.programs import environment, free_port, until

from console.store.search.cluster import State
from console.store.search.findings import FINDINGS
from console.store.search.verify import verify
from tools import elasticsearch_node
from tools.elasticsearch_node import Node

PASSWORD = "long-enough-for-a-test"
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")


@dataclass
class Nodes:
    """A node that leads and one that only keeps data. authority: PEM file of who signed their certificate."""

    leader: Node
    keeper: Node
    urls: str
    authority: Path

    def client(self) -> Elasticsearch:
        context = ssl.create_default_context(cafile=str(self.authority))
        return Elasticsearch(self.urls.split(",")[0], basic_auth=("elastic", PASSWORD), ssl_context=context)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    if why := elasticsearch_node.why_not():
        pytest.skip(f"no Elasticsearch node: {why}")
    folder = tmp_path_factory.mktemp("nodes")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "node.key", "-out", "node.pem"],
        check=True, capture_output=True, cwd=folder,
    )  # fmt: skip
    files = {name: (folder / name).read_bytes() for name in ("node.key", "node.pem")}
    transport, ports = free_port(), (free_port(), free_port())
    common = {
        "xpack.security.enabled": "true",
        "xpack.security.http.ssl.enabled": "true",
        "xpack.security.http.ssl.key": "node.key",
        "xpack.security.http.ssl.certificate": "node.pem",
        "xpack.security.transport.ssl.enabled": "true",
        "xpack.security.transport.ssl.key": "node.key",
        "xpack.security.transport.ssl.certificate": "node.pem",
        "xpack.security.transport.ssl.certificate_authorities": "node.pem",
        "discovery.type": "",
        "cluster.name": f"test-{transport}",
    }
    leader = Node(
        common
        | {
            "node.name": "leader",
            "http.port": str(ports[0]),
            "transport.port": str(transport),
            "cluster.initial_master_nodes": "leader",
        },
        files=files,
        password=PASSWORD,
    )
    keeper = Node(
        common
        | {
            "node.name": "keeper",
            "http.port": str(ports[1]),
            "node.roles": "[data]",
            "discovery.seed_hosts": f"127.0.0.1:{transport}",
        },
        files=files,
        password=PASSWORD,
    )
    made = Nodes(leader, keeper, ",".join(f"https://127.0.0.1:{port}" for port in ports), folder / "node.pem")
    try:
        leader.start()
        keeper.start()
        with made.client() as client:
            until(lambda: client.cluster.health()["number_of_nodes"] == 2, "both nodes are one cluster")
        yield made
    finally:
        keeper.stop()
        leader.stop()


@pytest.fixture
def login(nodes: Nodes) -> dict[str, Any]:
    from pydantic import SecretStr

    return {
        "elasticsearch_ca_file": str(nodes.authority),
        "elasticsearch_username": "elastic",
        "elasticsearch_password": SecretStr(PASSWORD),
    }


@pytest.fixture
def fed(store, settings, clock, nodes, login) -> Iterator[Fed]:
    with fed_by(store, settings, clock, nodes.urls, **login) as made:
        yield made


def test_a_cluster_behind_tls_and_a_login_is_fed_by_those_who_may(fed, store, clock, nodes):
    from pydantic import SecretStr

    fed.send(3)
    fed.settle()
    assert fed.documents().keys() == fed.truth()
    (index,) = fed.indices()
    assert fed.cluster.client.cat.indices(index=index, format="json", h="rep")[0]["rep"] == "1"  # a copy on each node
    for wrong, said in (
        ({"elasticsearch_password": SecretStr("wrong")}, "authenticat"),
        ({"elasticsearch_username": ""}, "authenticat"),
        ({"elasticsearch_ca_file": ""}, "TLS"),
        ({"elasticsearch_api_key": SecretStr("d3Jvbmc6d3Jvbmc=")}, ""),
    ):
        fed.indexer.release()
        stranger = Fed(store, fed.settings.model_copy(update=wrong), clock)
        fed.send(1)
        assert not stranger.indexer.step()
        state, note = fed.state()
        assert state == State.REFUSED, wrong
        assert said in note
        assert PASSWORD not in note
        stranger.indexer.release()
        stranger.cluster.close()
    fed.settle()
    assert fed.documents().keys() == fed.truth()


def test_a_cluster_killed_while_thousands_of_documents_go_in_has_them_all_afterwards(fed, nodes, clock):
    fed.settle()
    ids = [number for _ in range(6) for number in fed.send(400)]
    indexer = environment(
        **{
            name: value.get_secret_value() if hasattr(value, "get_secret_value") else value
            for name, value in fed.settings
        }
    )
    fed.indexer.release()
    process = subprocess.Popen([sys.executable, "-m", "console.store.search.worker"], env=indexer)
    try:
        until(lambda: len(fed.waiting()) < len(ids), "documents go in", 60)
        nodes.leader.kill()
        more = fed.send(200)
        time.sleep(0.5)
        process.send_signal(signal.SIGKILL)  # and the indexer too
        process.wait()
        nodes.leader.start()
        process = subprocess.Popen([sys.executable, "-m", "console.store.search.worker"], env=indexer)
        until(lambda: not fed.waiting(), "everything is in the index")
    finally:
        process.terminate()
        process.wait(30)
    assert len(fed.truth()) == len(ids) + len(more)
    report = verify(fed.store, fed.cluster, FINDINGS, clock)
    assert (report.truth, report.index, report.faults, report.refused) == (len(ids) + len(more),) * 2 + ([], 0)


def test_one_of_two_nodes_is_killed_and_the_other_goes_on(fed, nodes):
    fed.send(50)
    fed.settle()
    with nodes.client() as client:
        client.cluster.health(wait_for_status="green", timeout="60s")
    nodes.keeper.kill()
    fed.send(50)
    until(lambda: fed.indexer.step() or not fed.waiting(), "the other node takes the documents")
    assert fed.documents().keys() == fed.truth()
