"""Webhook: only a 2xx is success, the body is signed, and no organisation steers the console into a private network."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from support.far_side import DROP, SLOW, HookServer

from console.notify import egress
from console.notify.contract import DestinationError, Message, State
from console.notify.webhook import WebhookChannel, WebhookSettings

SECRET = "5" * 64


@pytest.fixture
def hook() -> Iterator[HookServer]:
    with HookServer() as running:
        yield running


@pytest.fixture
def channel() -> WebhookChannel:
    return WebhookChannel(WebhookSettings(allow_private=True, step_s=2, total_s=5), clock=lambda: 1_795_334_400.0)


def message_to(url: str) -> Message:
    return Message(
        key="0123456789abcdef0123456789abcdef",
        created_at=datetime(2026, 11, 22, 8, 0, tzinfo=UTC),
        destination={"url": url, "secret": SECRET},
        subject="incident",
        body="",
        data={"type": "incident", "title_zh": "控制器被停止", "nested": {"b": 1, "a": [1, 2]}},
    )


def test_the_receiver_can_check_who_sent_it_and_whether_it_saw_it_before(
    hook: HookServer, channel: WebhookChannel
) -> None:
    channel.send(message_to(hook.url))
    call = hook.calls[0]
    assert call.signed_with(SECRET)
    assert not call.signed_with("6" * 64)
    assert call.headers["idempotency-key"] == "0123456789abcdef0123456789abcdef"
    assert json.loads(call.body)["title_zh"] == "控制器被停止"
    assert call.headers["host"] == f"127.0.0.1:{hook.port}"


def test_proof_is_the_status_and_the_hash_of_the_answer(hook: HookServer, channel: WebhookChannel) -> None:
    result = channel.send(message_to(hook.url))
    digest = hashlib.sha256(b"thanks").hexdigest()
    assert (result.state, result.proof) == (State.SENT, f"HTTP 200, 6 bytes, sha256 {digest}")


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (204, State.SENT),
        (500, State.FAILED_FOR_NOW),
        (503, State.FAILED_FOR_NOW),
        (429, State.FAILED_FOR_NOW),
        (408, State.FAILED_FOR_NOW),
        (400, State.FAILED_FOR_GOOD),
        (401, State.FAILED_FOR_GOOD),
        (404, State.FAILED_FOR_GOOD),
        (410, State.FAILED_FOR_GOOD),
        (DROP, State.FAILED_FOR_NOW),
    ],
)
def test_each_answer_is_judged_by_its_status(
    hook: HookServer, channel: WebhookChannel, answer: Any, state: State
) -> None:
    hook.script = [answer if answer != 204 else (204, {}, b"")]
    assert channel.send(message_to(hook.url)).state is state


def test_a_redirect_is_not_followed_and_not_success(hook: HookServer, channel: WebhookChannel) -> None:
    hook.script = [(302, {"Location": f"http://127.0.0.1:{hook.port}/elsewhere"}, b"")]
    result = channel.send(message_to(hook.url))
    assert result.state is State.FAILED_FOR_GOOD
    assert [call.path for call in hook.calls] == ["/hook"]


def test_the_receivers_wish_for_a_pause_is_passed_on(hook: HookServer, channel: WebhookChannel) -> None:
    hook.script = [(503, {"Retry-After": "120"}, b""), (429, {"Retry-After": "Sun, 22 Nov 2026 08:01:00 GMT"}, b"")]
    assert channel.send(message_to(hook.url)).retry_after_s == 120
    assert channel.send(message_to(hook.url)).retry_after_s == 60
    hook.script = [(503, {"Retry-After": "-1; soon"}, b"")]
    assert channel.send(message_to(hook.url)).retry_after_s is None


def test_a_receiver_that_drips_its_answer_is_cut_off(hook: HookServer) -> None:
    hook.script = [SLOW]
    impatient = WebhookChannel(WebhookSettings(allow_private=True, step_s=2, total_s=0.4))
    result = impatient.send(message_to(hook.url))
    assert result.state is State.FAILED_FOR_NOW
    assert result.proof == "no answer within 0.4 s"


def test_an_endless_answer_is_read_only_so_far(hook: HookServer, channel: WebhookChannel) -> None:
    hook.script = [(200, {}, b"x" * 1_000_000)]
    assert "65536 bytes" in channel.send(message_to(hook.url)).proof


FORBIDDEN = [
    "https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f.1/", "https://0/", "https://[::1]/",
    "https://localhost/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:10.0.0.1]/", "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/", "https://10.0.0.1/", "https://172.16.0.1/", "https://192.168.1.1/",
    "https://169.254.169.254/latest/meta-data", "https://[fe80::1]/", "https://[fd00::1]/", "https://100.64.0.1/",
    "https://224.0.0.1/", "https://255.255.255.255/", "https://[::]/", "https://[::127.0.0.1]/", "https://[ff02::1]/",
    "https://[fec0::1]/", "https://198.18.0.1/", "https://240.0.0.1/",
]  # fmt: skip


@pytest.mark.parametrize("url", FORBIDDEN)
def test_private_addresses_are_refused_in_every_spelling(url: str) -> None:
    strict = WebhookChannel(WebhookSettings())
    result = strict.send(message_to(url))
    assert result.state is State.FAILED_FOR_GOOD, result.proof
    assert "not a public address" in result.proof


def test_nothing_connects_to_a_refused_address(hook: HookServer) -> None:
    strict = WebhookChannel(WebhookSettings())
    assert strict.send(message_to(f"https://127.0.0.1:{hook.port}/hook")).state is State.FAILED_FOR_GOOD
    assert strict.send(message_to(hook.url)).state is State.FAILED_FOR_GOOD  # plain http
    assert hook.calls == []


def test_a_name_is_resolved_once_and_the_checked_address_is_used(
    hook: HookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that answers differently the second time changes nothing (DNS rebinding)."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host in ("hook.example", b"hook.example"):
            asked.append("name")
            host = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return real(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    channel = WebhookChannel(WebhookSettings(allow_private=True))
    assert channel.send(message_to(f"http://hook.example:{hook.port}/hook")).state is State.SENT
    assert asked == ["name"]
    assert hook.calls[0].headers["host"] == f"hook.example:{hook.port}"


def test_a_name_with_one_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 443)) for ip in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: answers)
    with pytest.raises(egress.ForbiddenAddressError):
        egress.resolve("mixed.example", 443, allow_private=False)
    answers.pop()
    assert egress.resolve("mixed.example", 443, allow_private=False) == ["93.184.216.34"]


def test_where_the_first_address_does_not_answer_the_next_one_is_tried(
    hook: HookServer, channel: WebhookChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, hook.port)) for ip in ("127.0.0.9", "127.0.0.1")]
    monkeypatch.setattr(egress.socket, "getaddrinfo", lambda *args, **kwargs: answers)
    assert egress.resolve("two.example", hook.port, allow_private=True) == ["127.0.0.9", "127.0.0.1"]
    monkeypatch.undo()
    monkeypatch.setattr("console.notify.webhook.resolve", lambda *args, **kwargs: ["127.0.0.9", "127.0.0.1"])
    assert channel.send(message_to(f"http://two.example:{hook.port}/hook")).state is State.SENT


def test_a_proxy_in_the_environment_is_not_used(hook: HookServer, channel: WebhookChannel, monkeypatch: Any) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert channel.send(message_to(hook.url)).state is State.SENT


@pytest.mark.parametrize(
    "url",
    ["", "hook", "http://example.org/", "ftp://example.org/", "file:///etc/passwd", "https://", "https:///x",
     "https://user:password@example.org/", "https://example.org:99999/", "https://exa mple.org/",
     "https://example.org/\r\nX: y", "https://example.org/" + "a" * 3000],
)  # fmt: skip
def test_what_is_not_an_https_address_is_refused(url: str) -> None:
    with pytest.raises(DestinationError):
        WebhookChannel(WebhookSettings()).validate({"url": url})


def test_a_new_address_gets_a_secret_of_its_own_that_is_never_shown_again() -> None:
    strict = WebhookChannel(WebhookSettings())
    first, second = (strict.validate({"url": "https://example.org/hook?key=k"}) for _ in range(2))
    assert len(first["secret"]) == 64
    assert first["secret"] != second["secret"]
    assert strict.display(first) == "https://example.org/hook"


def test_the_same_message_has_the_same_body_on_every_attempt(hook: HookServer, channel: WebhookChannel) -> None:
    message = message_to(hook.url)
    channel.send(message)
    channel.send(replace(message, data=dict(reversed(list(message.data.items())))))
    assert hook.calls[0].body == hook.calls[1].body


def test_a_name_that_cannot_exist_is_a_failure_and_not_a_fault(channel: WebhookChannel) -> None:
    assert channel.send(message_to("https://" + "a" * 64 + ".example/")).state is State.FAILED_FOR_NOW
