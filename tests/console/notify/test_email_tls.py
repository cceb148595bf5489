"""E-mail over TLS against a real server with a certificate made for the test."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword
from support.far_side import MailServer

from console.notify.contract import Message, State
from console.notify.email import EmailChannel, SmtpSettings

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")

MESSAGE = Message(
    key="0" * 32,
    created_at=datetime(2026, 11, 22, 8, 0, tzinfo=UTC),
    destination={"address": "lin@plant.example"},
    subject="test",
    body="test\n",
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key in the same file."""
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    key = file.with_suffix(".key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(file)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    file.write_text(file.read_text() + key.read_text())
    return file


@pytest.fixture
def context(certificate: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate)
    return made


def check_login(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"fenghuo", b"right")
    return AuthResult(success=right, handled=False)


@pytest.fixture
def starttls(context: ssl.SSLContext) -> Iterator[MailServer]:
    """Takes mail only after STARTTLS and a login."""
    with MailServer(
        tls_context=context, require_starttls=True, auth_required=True, authenticator=check_login
    ) as running:
        yield running


def channel(server: MailServer, security: Any, ca_file: Path | str, password: str = "right") -> EmailChannel:
    return EmailChannel(
        SmtpSettings("127.0.0.1", server.port, security, "fenghuo", password, "f@c.example", str(ca_file), 5, 10)
    )


def test_it_upgrades_logs_in_and_delivers(starttls: MailServer, certificate: Path) -> None:
    assert channel(starttls, "starttls", certificate).send(MESSAGE).state is State.SENT
    assert len(starttls.box.taken) == 1


def test_a_certificate_of_an_unknown_authority_gets_nothing(starttls: MailServer) -> None:
    result = channel(starttls, "starttls", "").send(MESSAGE)
    assert result.state is State.FAILED_FOR_NOW
    assert "CERTIFICATE_VERIFY_FAILED" in result.proof
    assert starttls.box.deliveries == []


def test_a_wrong_password_can_be_mended_and_so_fails_for_now_without_showing_it(
    starttls: MailServer, certificate: Path
) -> None:
    result = channel(starttls, "starttls", certificate, "wrong-password").send(MESSAGE)
    assert result.state is State.FAILED_FOR_NOW
    assert result.proof.startswith("535")
    assert "wrong-password" not in result.proof


def test_without_encryption_a_server_that_demands_it_gets_no_password(starttls: MailServer) -> None:
    result = channel(starttls, "none", "").send(MESSAGE)
    assert result.state is State.FAILED_FOR_NOW
    assert starttls.box.deliveries == []


def test_tls_from_the_start_delivers(context: ssl.SSLContext, certificate: Path) -> None:
    with MailServer(implicit_tls=context) as server:
        plain = SmtpSettings("127.0.0.1", server.port, "tls", "", "", "f@c.example", str(certificate), 5, 10)
        assert EmailChannel(plain).send(MESSAGE).state is State.SENT
        assert len(server.box.taken) == 1
