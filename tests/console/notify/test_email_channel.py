"""E-mail: what each answer of a real mail server leads to, and what hostile strings cannot do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.far_side import DROP_AFTER_DATA, MailServer

from console.notify.contract import DestinationError, Message, State
from console.notify.email import EmailChannel, SmtpSettings

MESSAGE = Message(
    key="0123456789abcdef0123456789abcdef",
    created_at=datetime(2026, 11, 22, 8, 0, tzinfo=UTC),
    destination={"address": "lin@plant.example"},
    subject="【烽火】高危事件 #1：控制器被停止",
    body="控制器被停止。\nA station stopped the controller.\n",
    thread="incident-1-1",
)


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as running:
        yield running


@pytest.fixture
def channel(server: MailServer) -> EmailChannel:
    return channel_to(server.port)


def channel_to(port: int, **changes: object) -> EmailChannel:
    plain = SmtpSettings("127.0.0.1", port, "none", "", "", "fenghuo@console.example", step_s=5, total_s=10)
    return EmailChannel(replace(plain, **changes))  # type: ignore[arg-type]


def test_proof_is_the_servers_own_text_with_its_queue_id(server: MailServer, channel: EmailChannel) -> None:
    result = channel.send(MESSAGE)
    assert (result.state, result.proof) == (State.SENT, "250 2.0.0 Ok: queued as 000001")


def test_chinese_subject_and_body_arrive_as_written(server: MailServer, channel: EmailChannel) -> None:
    channel.send(MESSAGE)
    mail = server.box.deliveries[0].mail
    assert mail["Subject"] == MESSAGE.subject
    assert mail.get_content().replace("\r\n", "\n") == MESSAGE.body
    assert mail["Message-ID"] == "<0123456789abcdef0123456789abcdef@console.example>"
    assert mail["Auto-Submitted"] == "auto-generated"


def test_a_repeated_attempt_is_the_same_mail_byte_for_byte(server: MailServer, channel: EmailChannel) -> None:
    channel.send(MESSAGE)
    channel.send(MESSAGE)
    first, second = server.box.deliveries
    assert first.content == second.content


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ("RCPT 550 5.1.1 no such mailbox", State.FAILED_FOR_GOOD),
        ("RCPT 450 4.2.0 greylisted", State.FAILED_FOR_NOW),
        ("RCPT 452 4.2.2 mailbox full", State.FAILED_FOR_NOW),
        ("554 5.7.1 refused as spam", State.FAILED_FOR_GOOD),
        ("451 4.3.0 try again", State.FAILED_FOR_NOW),
        (DROP_AFTER_DATA, State.FAILED_FOR_NOW),
    ],
)
def test_each_refusal_is_told_apart(server: MailServer, channel: EmailChannel, answer: str, state: State) -> None:
    server.box.script["lin@plant.example"] = [answer]
    result = channel.send(MESSAGE)
    assert result.state is state
    if answer.startswith("RCPT "):
        assert result.proof == f"recipient refused: {answer.removeprefix('RCPT ')}"


def test_one_refused_recipient_leaves_the_others_alone(server: MailServer, channel: EmailChannel) -> None:
    server.box.always["lin@plant.example"] = "RCPT 550 5.1.1 no such mailbox"
    assert channel.send(MESSAGE).state is State.FAILED_FOR_GOOD
    assert channel.send(replace(MESSAGE, destination={"address": "wang@plant.example"})).state is State.SENT


def test_a_server_without_starttls_gets_nothing_in_the_clear(server: MailServer) -> None:
    result = channel_to(server.port, security="starttls").send(MESSAGE)
    assert result.state is State.FAILED_FOR_NOW
    assert server.box.deliveries == []


def test_no_server_and_no_listener_are_failures_for_now() -> None:
    assert channel_to(1, host="").send(MESSAGE).state is State.FAILED_FOR_NOW
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        port = closed_soon.getsockname()[1]
    assert channel_to(port).send(MESSAGE).state is State.FAILED_FOR_NOW


def test_a_server_that_drips_for_ever_is_cut_off() -> None:
    stop = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while not stop.wait(0.05):
                try:
                    connection.sendall(b"220-still here\r\n")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=drip, args=(listener,), daemon=True).start()
        result = channel_to(listener.getsockname()[1], total_s=0.5).send(MESSAGE)
    stop.set()
    assert result.state is State.FAILED_FOR_NOW
    assert result.proof == "no answer within 0.5 s"


def test_a_hostile_subject_adds_no_header(server: MailServer, channel: EmailChannel) -> None:
    hostile = "stop\r\nBcc: thief@evil.example\r\n\r\n<script>alert(1)</script>\u2028\u202e\x00\ud800"
    result = channel.send(replace(MESSAGE, subject=hostile, body="line\r\n.\r\nMAIL FROM:<a@b>\r\n"))
    assert result.state is State.SENT
    mail = server.box.deliveries[0].mail
    assert mail["Bcc"] is None
    assert len(server.box.deliveries) == 1
    assert mail["Subject"].startswith("stop Bcc: thief@evil.example <script>")
    assert mail.get_content_type() == "text/plain"  # nothing interprets the mark-up


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300))
def test_any_subject_gives_exactly_our_headers(subject: str) -> None:
    from console.notify.email import compose

    text = compose(replace(MESSAGE, subject=subject), "fenghuo@console.example").as_bytes()
    head = text.partition(b"\r\n\r\n")[0].decode("ascii").split("\r\n")
    names = [line.partition(":")[0] for line in head if not line.startswith((" ", "\t"))]
    assert sorted(names) == sorted(
        ["From", "To", "Subject", "Date", "Message-ID", "References", "Auto-Submitted", "Content-Type",
         "Content-Transfer-Encoding", "MIME-Version"]
    )  # fmt: skip


@pytest.mark.parametrize(
    "address",
    ["", "lin", "@plant.example", "lin@", "a b@plant.example", "lin@plant.example\r\nRCPT TO:<x@y>", "a@b@c",
     "<lin@plant.example>", "lin@plant.example, wang@plant.example", '"a b"@plant.example', "lin@-bad-.example",
     "lin@plant..example", "l\u0131n@plant.example"],
)  # fmt: skip
def test_what_is_not_one_bare_address_is_refused(address: str) -> None:
    with pytest.raises(DestinationError):
        channel_to(25).validate({"address": address})


def test_an_international_domain_becomes_ascii() -> None:
    assert channel_to(25).validate({"address": " Lin@Bücher.Example "}) == {"address": "Lin@xn--bcher-kva.example"}
