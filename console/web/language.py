"""Which language, time zone and theme a page is shown in."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import cast

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from flask import Flask, has_request_context, request, session
from flask_babel import Babel, get_locale
from flask_login import current_user

from console.settings import Settings
from console.web.context import console

LOCALES = {"zh": "中文", "en": "English"}
THEMES = ("auto", "light", "dark")
TRANSLATIONS = Path(__file__).parent.parent / "translations"


def init_app(app: Flask, settings: Settings) -> None:
    """Install translations; compile them where that was not done yet."""
    compile_translations()
    app.config["BABEL_TRANSLATION_DIRECTORIES"] = str(TRANSLATIONS)
    Babel(
        app,
        default_locale="en",
        default_timezone=settings.timezone,
        locale_selector=_choose_locale,
        timezone_selector=lambda: settings.timezone,
    )


def _choose_locale() -> str:
    """The user's choice, else this browser's, else what the browser prefers, else the installation's."""
    if not has_request_context():
        return console().settings.locale
    chosen = session.get("locale") or getattr(current_user, "locale", None)
    if chosen in LOCALES:
        return cast(str, chosen)
    return request.accept_languages.best_match(list(LOCALES)) or console().settings.locale


def locale() -> str:
    """Language of this request: a key of LOCALES."""
    found = get_locale()
    return "zh" if found is not None and found.language == "zh" else "en"


def theme() -> str:
    """Theme that this browser has chosen: one of THEMES."""
    chosen = session.get("theme") if has_request_context() else None
    return chosen if chosen in THEMES else "auto"


def compile_translations(folder: Path = TRANSLATIONS) -> None:
    """Write each catalogue's .mo where it is missing or older than its .po; readers never see half a file."""
    for source in folder.glob("*/LC_MESSAGES/*.po"):
        target = source.with_suffix(".mo")
        if target.exists() and target.stat().st_mtime >= source.stat().st_mtime:
            continue
        with source.open("rb") as file:
            catalogue = read_po(file, locale=source.parent.parent.name)
        compiled = io.BytesIO()
        write_mo(compiled, catalogue)
        descriptor, fresh = tempfile.mkstemp(dir=source.parent)
        with os.fdopen(descriptor, "wb") as out:
            out.write(compiled.getvalue())
        os.chmod(fresh, 0o644)
        os.replace(fresh, target)
