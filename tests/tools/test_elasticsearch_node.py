"""The Elasticsearch node that tests use: where it is fetched from, which Java it takes, that it is a real one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from tools import elasticsearch_node
from tools.elasticsearch_node import CENTRAL, NodeError

ROOT = Path(__file__).resolve().parents[2]


def test_the_node_takes_documents_and_finds_them(elasticsearch_url: str) -> None:
    client = Elasticsearch(elasticsearch_url)
    mapping = {"properties": {"modbus.function_code": {"type": "long"}, "network.protocol": {"type": "keyword"}}}
    client.indices.create(index="node-itself", mappings=mapping)
    try:
        for number in (3, 5, 16):
            document = {"modbus.function_code": number, "network.protocol": "modbus"}
            client.index(index="node-itself", document=document, refresh=True)
        answer = client.search(index="node-itself", query={"query_string": {"query": "modbus.function_code:(5 OR 16)"}})
        assert sorted(hit["_source"]["modbus.function_code"] for hit in answer["hits"]["hits"]) == [5, 16]
    finally:
        client.indices.delete(index="node-itself")


def test_a_second_test_of_the_run_gets_the_same_node(elasticsearch_url: str, request: pytest.FixtureRequest) -> None:
    assert request.getfixturevalue("elasticsearch_url") == elasticsearch_url
    assert Elasticsearch(elasticsearch_url).cluster.health()["number_of_nodes"] == 1


def test_the_node_ends_with_the_process_that_wanted_it(tmp_path: Path) -> None:
    if why := elasticsearch_node.why_not():
        pytest.skip(f"no Elasticsearch node: {why}")
    said = tmp_path / "url"
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as wanting:
        command = [sys.executable, "-m", "tools.elasticsearch_node", "serve", str(said), str(wanting.pid)]
        with subprocess.Popen(command, cwd=ROOT) as keeper:
            children = Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children")
            while not (node := children.read_text().split()):
                time.sleep(0.1)
            folder = Path(f"/proc/{node[0]}/cwd").readlink()
            wanting.kill()
            assert keeper.wait(60) == 0
    assert said.read_text() == "error: who wanted the node has ended"
    assert folder.name.startswith("fenghuo-elasticsearch-")
    assert not folder.exists()


def test_the_mirror_that_maven_is_configured_with_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert elasticsearch_node.repository() == CENTRAL
    (tmp_path / ".m2").mkdir()
    settings = (
        '<settings xmlns="http://maven.apache.org/SETTINGS/1.0.0"><mirrors>'
        "<mirror><mirrorOf>snapshots</mirrorOf><url>https://elsewhere.example/</url></mirror>"
        "<mirror><mirrorOf>*</mirrorOf><url>https://mirror.example/maven/</url></mirror></mirrors></settings>"
    )
    (tmp_path / ".m2" / "settings.xml").write_text(settings)
    assert elasticsearch_node.repository() == "https://mirror.example/maven"


def test_another_file_under_the_same_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = tmp_path / elasticsearch_node.PATH
    served.parent.mkdir(parents=True)
    served.write_bytes(b"not the node")
    monkeypatch.setattr(elasticsearch_node, "repository", lambda: tmp_path.as_uri())
    with pytest.raises(NodeError, match="SHA-256"):
        elasticsearch_node.fetch(tmp_path / "node.zip")
    assert not (tmp_path / "node.zip").exists()


def test_a_java_runtime_that_is_too_old_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version, name in (("17.0.15", "old"), ("21.0.5", "new")):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin" / "java").touch()
        (tmp_path / name / "release").write_text(f'JAVA_VERSION="{version}"\n')
    monkeypatch.setenv("ES_JAVA_HOME", str(tmp_path / "new"))
    assert elasticsearch_node.java_home() == tmp_path / "new"
    monkeypatch.setenv("ES_JAVA_HOME", str(tmp_path / "old"))
    assert elasticsearch_node.java_home() != tmp_path / "old"
    assert os.environ["ES_JAVA_HOME"] == str(tmp_path / "old")
