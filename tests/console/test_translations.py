"""Every text that people may read stands in Chinese too."""

from __future__ import annotations

import ast
import string
from collections import Counter
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from console.web.language import TRANSLATIONS, compile_translations

CONSOLE = TRANSLATIONS.parent
METHODS = [("**/templates/**.html", "jinja2"), ("**.py", "python")]
KEYWORDS = {
    "_": None,
    "gettext": None,
    "lazy_gettext": None,
    "ngettext": (1, 2),
    # services say no with an English msgid, which the web layer translates
    "InvalidError": None,
    "ConflictError": None,
    "QueryError": None,
    "NotFoundError": None,
    "ForbiddenError": None,
    "PullError": None,
    # a channel describes its form by msgids
    "DestinationField": (2,),
    "DestinationError": (2,),
}


def messages_in_source() -> dict[str, str]:
    """msgid (of plurals the first) to the place where it stands."""
    found = {}
    for file, line, message, _comments, _context in extract_from_dir(CONSOLE, METHODS, keywords=KEYWORDS):
        msgid = message[0] if isinstance(message, tuple) else message
        found.setdefault(msgid, f"console/{file}:{line}")
    return found


@pytest.fixture(scope="module")
def catalogue() -> Catalog:
    with (TRANSLATIONS / "zh" / "LC_MESSAGES" / "messages.po").open("rb") as file:
        return read_po(file, locale="zh", abort_invalid=True)


def test_every_text_in_the_source_has_a_chinese_one(catalogue):
    missing = []
    for msgid, place in sorted(messages_in_source().items(), key=lambda item: item[1]):
        entry = catalogue.get(msgid)
        text = entry and (entry.string if isinstance(entry.string, str) else "".join(entry.string))
        if not text or entry.fuzzy:
            missing.append(f"{place}: {msgid}")
    assert not missing, "\n".join(missing)


def test_no_chinese_text_outlives_its_source(catalogue):
    known = messages_in_source()
    stale = [m.id for m in catalogue if m.id and (m.id if isinstance(m.id, str) else m.id[0]) not in known]
    assert not stale


def test_translations_take_the_same_values_as_their_source(catalogue):
    def names(text: str) -> set[str]:
        return {part.split(")")[0] for part in text.split("%(")[1:]}

    wrong = []
    for message in catalogue:
        source = message.id if isinstance(message.id, str) else message.id[0]
        for text in [message.string] if isinstance(message.string, str) else message.string:
            if source and names(text) != names(source):
                wrong.append(source)
    assert not wrong


def test_texts_with_letters_are_not_written_into_templates_untranslated():
    from html.parser import HTMLParser

    import jinja2

    class Texts(HTMLParser):
        found: list[str] = []  # noqa: RUF012
        skip = 0

        def handle_starttag(self, tag, attrs):
            self.skip += tag in ("code", "pre", "kbd", "svg")

        def handle_endtag(self, tag):
            self.skip -= tag in ("code", "pre", "kbd", "svg")

        def handle_data(self, data):
            if not self.skip and any(c in string.ascii_letters for c in data):
                self.found.append(data.strip())

    environment = jinja2.Environment(extensions=["jinja2.ext.i18n"])  # only to cut it into pieces
    allowed = {"English", "ATT&CK ↗", "HTTP", "STIX", "TAXII", "TLP"}
    wrong = {}
    for file in sorted((CONSOLE / "web" / "templates").rglob("*.html")):
        parser = Texts()
        parser.found = []
        parser.feed("".join(value for _, kind, value in environment.lex(file.read_text()) if kind == "data"))
        if found := set(parser.found) - allowed:
            wrong[str(file.relative_to(CONSOLE))] = found
    assert not wrong


def test_no_text_is_translated_twice():
    blocks = (TRANSLATIONS / "zh" / "LC_MESSAGES" / "messages.po").read_text("utf-8").split("\n\n")
    texts = [
        "\n".join(line for line in block.splitlines() if not line.startswith("#")).split("\nmsgstr")[0]
        for block in blocks
    ]
    assert [text for text, times in Counter(texts).items() if times > 1] == []


def test_a_missing_or_old_catalogue_is_compiled(tmp_path):
    folder = tmp_path / "zh" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    source, target = folder / "messages.po", folder / "messages.mo"
    source.write_text('msgid "Findings"\nmsgstr "发现"\n')
    compile_translations(tmp_path)
    assert "发现".encode() in target.read_bytes()
    first = target.stat().st_mtime_ns
    compile_translations(tmp_path)
    assert target.stat().st_mtime_ns == first
    source.write_text('msgid "Findings"\nmsgstr "告警发现"\n')
    import os

    os.utime(source, ns=(first + 10**9, first + 10**9))
    compile_translations(tmp_path)
    assert "告警发现".encode() in target.read_bytes()


def test_severity_words_of_rules_are_not_msgids():
    # what a sensor sends is never looked up in the catalogue: gettext of a hostile string is a hostile string
    for file in Path(CONSOLE).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("_", "lazy_gettext"):
                assert isinstance(node.args[0], ast.Constant), f"{file}:{node.lineno}"
