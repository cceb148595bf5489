"""What a real server does with requests before their bodies are read, and how places are shared."""

from __future__ import annotations

import json
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import waitress
from records import EPOCH, record

from console import gate as gate_module
from console.api.turns import WAITS_S, Turns
from console.gate import LOOKUPS, Gate, guard
from console.run import _asker
from console.services import sensors


class Asked:
    """The store's answer to which keys are valid, and how often it was asked."""

    def __init__(self, *valid: str) -> None:
        self.valid, self.times = set(valid), 0

    def __call__(self, key: str) -> bool:
        self.times += 1
        return key in self.valid


@pytest.fixture
def port(app) -> Iterator[int]:
    """The application behind a real server with its gate."""
    server = waitress.create_server(app, host="127.0.0.1", port=0, threads=2, cleanup_interval=1)
    guard(server, Gate(_asker(app.extensions["fenghuo"].store)))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield server.effective_port
    server.close()
    thread.join(5)


def ask(port: int, *parts: bytes, headers: str = "", length: int | None = None, name: str = "findings") -> bytes:
    """Send a request in parts; what came back until the server closed."""
    body = b"".join(parts)
    with socket.create_connection(("127.0.0.1", port), 10) as link:
        size = len(body) if length is None else length
        head = (
            f"POST /api/v1/{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {size}\r\n{headers}\r\n"
        )
        link.sendall(head.encode())
        for part in parts:
            link.sendall(part)
        got = b""
        while piece := link.recv(65536):
            got += piece
        return got


def bearer(key: str) -> str:
    return f"Authorization: Bearer {key}\r\n"


def test_a_sensor_with_its_key_comes_in(port, tree):
    body = json.dumps({"epoch": EPOCH, "findings": [record(1)]}).encode()
    assert b'"stored":1' in ask(port, body, headers=bearer(tree.plant_key)).replace(b" ", b"")


@pytest.mark.parametrize(
    "headers", ["", bearer("fhs_" + "x" * 43), "Authorization: Basic eDp5\r\n", bearer("y" * 5000)]
)
def test_without_a_key_the_answer_comes_and_nothing_of_the_body_is_kept(port, app, headers, monkeypatch):
    def never(*_args):
        raise AssertionError("the application was asked")

    monkeypatch.setattr(app, "wsgi_app", never)
    answer = ask(port, *[b"x" * 65536] * 32, headers=headers)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"www-authenticate: bearer" in answer.lower()
    assert b'"error"' in answer


def test_a_revoked_key_is_refused_although_it_was_remembered(port, tree, db, clock):
    body = json.dumps({"epoch": EPOCH, "findings": []}).encode()
    assert ask(port, body, headers=bearer(tree.plant_key)).startswith(b"HTTP/1.1 200 ")
    sensors.revoke_key(db, tree.plant, tree.plant_sensor_id, clock())
    db.commit()
    assert ask(port, body, headers=bearer(tree.plant_key)).startswith(b"HTTP/1.1 401 ")


def test_a_compressed_body_is_refused_before_anybody_unpacks_it(port, tree):
    bomb = zlib.compress(b"0" * 10_000_000)
    headers = bearer(tree.plant_key) + "Content-Encoding: deflate\r\n"
    assert ask(port, bomb, headers=headers).startswith(b"HTTP/1.1 415 ")


@pytest.mark.parametrize(
    ("name", "length"), [("findings", 9 << 20), ("heartbeat", 1 << 20), ("key", 1 << 15), ("enrol", 1 << 15)]
)
def test_a_body_that_says_it_is_too_long_is_refused_unread(port, tree, name, length):
    headers = bearer(tree.plant_key) + "Expect: 100-continue\r\n"
    assert ask(port, headers=headers, length=length, name=name).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_drips_is_cut_off_and_others_are_served_meanwhile(port, tree, monkeypatch):
    monkeypatch.setattr(gate_module, "PATIENCE_S", 0.5)
    head = f"POST /api/v1/findings HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n{bearer(tree.plant_key)}\r\n"

    def drip() -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            slow.sendall(b" ")
            time.sleep(0.2)

    with socket.create_connection(("127.0.0.1", port), 10) as slow:
        slow.sendall(head.encode())
        body = json.dumps({"epoch": EPOCH, "findings": [record(1)]}).encode()
        assert ask(port, body, headers=bearer(tree.plant_key)).startswith(b"HTTP/1.1 200 ")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            drip()


def test_pages_pass_the_gate(port):
    with socket.create_connection(("127.0.0.1", port), 10) as link:
        link.sendall(b"GET /login HTTP/1.0\r\n\r\n")
        assert link.recv(20).startswith(b"HTTP/1.0 200")


def test_unknown_keys_cost_a_bounded_number_of_questions_and_known_ones_none():
    now = [100.0]
    asked = Asked("good")
    gate = Gate(asked, clock=lambda: now[0])

    def code(key: str, address: str = "10.0.0.1") -> int:
        refusal = gate.refusal("/api/v1/findings", {"AUTHORIZATION": f"Bearer {key}"}, 10, address)
        return refusal.code if refusal else 200

    assert code("good") == 200
    codes = [code(f"guess-{number}") for number in range(5000)]
    assert asked.times <= LOOKUPS + 1
    assert set(codes) == {401, 429}
    assert code("good") == 200
    asked.valid.add("new")
    assert code("new", "10.0.0.2") == 200, "another address has a budget of its own"
    assert code("new") == 200
    now[0] += 1
    assert code("guess") == 401


def test_one_sensor_may_use_every_place_while_nobody_waits():
    turns = Turns(4)
    with ExitStack() as held:
        assert [held.enter_context(turns.turn(1, 1)) for _ in range(5)] == [True] * 4 + [False]
    with turns.turn(1, 1) as granted:
        assert granted


def test_whoever_was_told_to_wait_is_served_before_the_noisy_one_gets_more():
    now = [0.0]
    turns = Turns(4, clock=lambda: now[0])
    noisy = [turns.turn(1, 1) for _ in range(4)]
    assert all(turn.__enter__() for turn in noisy)
    with turns.turn(1, 2) as granted:
        assert not granted
    for turn in noisy[:2]:  # two of its batches are done; it wants to send the next ones
        turn.__exit__(None, None, None)
    with turns.turn(1, 1) as granted:
        assert not granted
    with turns.turn(1, 2) as granted:
        assert granted
    for turn in noisy[2:]:
        turn.__exit__(None, None, None)


def test_an_organisation_with_many_sensors_does_not_crowd_out_another():
    turns = Turns(4)
    with ExitStack() as held:
        assert all(held.enter_context(turns.turn(1, number)) for number in range(4))
        with turns.turn(2, 100) as granted:
            assert not granted
    with ExitStack() as held:
        assert held.enter_context(turns.turn(1, 1))
        assert held.enter_context(turns.turn(1, 2))
        assert not held.enter_context(turns.turn(1, 3)), "its organisation has its share"
        assert held.enter_context(turns.turn(2, 100))


def test_who_never_comes_back_stops_nobody_for_long():
    now = [0.0]
    turns = Turns(2, clock=lambda: now[0])
    with ExitStack() as held:
        assert all(held.enter_context(turns.turn(1, 1)) for _ in range(2))
        held.enter_context(turns.turn(1, 2))
    with ExitStack() as held:
        assert held.enter_context(turns.turn(1, 1))
        assert not held.enter_context(turns.turn(1, 1))
        now[0] += WAITS_S + 1
        assert held.enter_context(turns.turn(1, 1))
