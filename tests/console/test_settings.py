"""Settings: one record, from the environment, and documented."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from console.settings import Settings

DOCS = Path(__file__).parents[2] / "docs" / "console.md"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_stands_in_the_documentation_as_it_is(name):
    field = Settings.model_fields[name]
    default = "" if isinstance(field.default, SecretStr) else str(field.default)
    shown = f"`{default}`" if default else ""
    assert f"| `FENGHUO_{name.upper()}` | {field.description} | {shown} |" in DOCS.read_text()


def test_settings_come_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("FENGHUO_PORT", "9100")
    monkeypatch.setenv("FENGHUO_DATA_DIR", str(tmp_path))
    settings = Settings()
    assert settings.base_url == "http://127.0.0.1:9100"
    assert settings.store_url == f"sqlite:///{tmp_path / 'console.db'}"


def test_another_database_is_one_setting():
    assert Settings(database_url="postgresql+psycopg://fenghuo@db/fenghuo").store_url.startswith("postgresql")


def test_links_in_messages_lead_where_people_reach_the_console():
    assert Settings(public_url="https://fenghuo.example/").base_url == "https://fenghuo.example"


@pytest.mark.parametrize("wrong", [{"port": 70000}, {"locale": "fr"}, {"threads": 0}, {"session_hours": 0}])
def test_a_setting_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValidationError):
        Settings(**wrong)


def test_settings_do_not_change_while_the_console_runs():
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


def test_a_time_zone_that_does_not_exist_is_refused_at_the_start():
    with pytest.raises(ValidationError, match="time zone"):
        Settings(timezone="Mars/Olympus")
