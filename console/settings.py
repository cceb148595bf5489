"""Settings of the console: one frozen record, read once from the environment (FENGHUO_*)."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

SECRET_FILE = "secret_key"  # noqa: S105  (a file name)


class Settings(BaseSettings):
    """Each field is one environment variable: FENGHUO_ and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="FENGHUO_", frozen=True, extra="ignore")

    data_dir: Path = Field(default=Path("var"), description="folder of the database and of the secret key")
    database_url: str = Field(default="", description="SQLAlchemy URL; empty: SQLite in the data folder")
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8600, ge=0, le=65535, description="TCP port to listen on")
    public_url: str = Field(
        default="", description="how people reach the console, for links in messages; empty: host and port"
    )
    threads: int = Field(default=12, ge=2, le=256, description="requests served at a time")
    ingest_at_once: int = Field(
        default=4, ge=1, le=64, description="batches of findings taken at a time; others get 429"
    )
    ingest_processes: int = Field(
        default=2, ge=0, le=32, description="processes that take batches in; 0: the console does it itself"
    )
    trusted_proxy: str = Field(
        default="", description="address of a reverse proxy whose X-Forwarded-* headers are believed"
    )
    secure_cookies: bool = Field(default=False, description="send cookies over HTTPS only; set it behind HTTPS")
    locale: str = Field(
        default="zh", pattern="^(zh|en)$", description="language where neither user nor browser has chosen"
    )
    timezone: str = Field(default="Asia/Shanghai", description="time zone in which pages show times (IANA name)")
    smtp_host: str = Field(
        default="", description="mail server that takes messages; empty: e-mail waits until one is set"
    )
    smtp_port: int = Field(default=587, ge=1, le=65535, description="its TCP port")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="how the way to it is encrypted"
    )
    smtp_username: str = Field(default="", description="login at the mail server; empty: none")
    smtp_password: SecretStr = Field(default=SecretStr(""), description="its password")
    smtp_sender: str = Field(default="", description="bare e-mail address that messages come from")
    smtp_ca_file: str = Field(default="", description="PEM file of the authority to trust for it; empty: the system's")
    elasticsearch_url: str = Field(
        default="", description="nodes of the search cluster, by commas; empty: the index that is built in"
    )
    elasticsearch_prefix: str = Field(
        default="fenghuo",
        pattern="^[a-z][a-z0-9_]{0,40}$",
        description="first word of the names of this console's indices there",
    )
    elasticsearch_ca_file: str = Field(
        default="", description="PEM file of the authority to trust for it; empty: the system's"
    )
    elasticsearch_api_key: SecretStr = Field(default=SecretStr(""), description="API key for it; empty: none")
    elasticsearch_username: str = Field(default="", description="login there, where no API key is set; empty: none")
    elasticsearch_password: SecretStr = Field(default=SecretStr(""), description="password of that login")
    elasticsearch_timeout: float = Field(default=20.0, gt=0, le=300, description="seconds until it must have answered")
    elasticsearch_days: int = Field(
        default=0, ge=0, le=36500, description="months older than this many days leave the index; 0: none does"
    )
    peer_private: bool = Field(default=False, description="pull from consoles at private addresses, also by plain http")
    webhook_private: bool = Field(default=False, description="webhooks may reach private addresses, and use plain http")
    audit_checkpoint_file: str = Field(
        default="", description="where checkpoints of the audit log go, best on another machine; empty: the data folder"
    )
    session_hours: int = Field(default=12, ge=1, le=168, description="a login ends after this many hours")

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError("not a time zone by its IANA name") from None
        return name

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the store."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / 'console.db'}"

    @property
    def base_url(self) -> str:
        """The console's address for people, without a slash at the end."""
        return self.public_url.rstrip("/") or f"http://{self.host}:{self.port}"


def secret_key(settings: Settings) -> str:
    """The key that signs cookies and links: made at the first call for this installation, its owner alone reads it."""
    path = settings.data_dir / SECRET_FILE
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        descriptor, fresh = tempfile.mkstemp(dir=settings.data_dir)  # mode 0600
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another process was first: its key counts
            os.link(fresh, path)
        os.unlink(fresh)
    return path.read_text().strip()
