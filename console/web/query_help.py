"""The page that says how to write a query: examples, rules, names of types, in the reader's language."""

from __future__ import annotations

from flask_babel import gettext as _

from console.store.search.fields import SearchType
from console.store.search.query.conditions import MAX_WILDCARDS
from console.store.search.query.lexer import MAX_QUERY
from console.store.search.query.parser import MAX_CONDITIONS, MAX_DEPTH


def examples() -> list[tuple[str, str]]:
    """(query, what it finds)."""
    return [
        ("stop controller", _("both words, anywhere")),
        ('"controller stopped"', _("the words side by side")),
        ("写入", _("any part of a Chinese text")),
        ("download*", _("words that begin so; ? stands for one character")),
        ("network.protocol:modbus", _("the whole value of a field, upper or lower case")),
        ("rule.id:operation.*", _("a value that fits: * any characters, ? one")),
        ("source.ip:10.0.0.0/8", _("addresses of a network")),
        ("ip:10.0.0.9", _("an address at either end")),
        ("severity >= high", _("at least this severity")),
        ("destination.port:[1 TO 1023]", _("numbers from, to; { } leave the limit out, * is no limit")),
        ("@timestamp >= now-24h", _("the last day; s m h d w, and now/d for today")),
        ("@timestamp:2026-11-22", _("a whole day, in the time zone of these pages")),
        ("protocol:(modbus OR s7comm)", _("one of several values")),
        ("severity:critical -state:false", _("the one without the other; NOT and ! say the same")),
        ("(stop OR download) AND sensor:line-1", _("brackets keep together; AND goes before OR")),
        ("modbus.function_code:*", _("the field has any value")),
    ]


def rules() -> list[str]:
    """What the examples do not say."""
    return [
        _("Case and width of letters make no difference. Words are letters and digits; other signs part them."),
        _('To search for the words and, or, not themselves, put them in quotes: "and".'),
        _("A backslash before a sign takes its meaning away."),
        _("A condition on a field that a finding does not have is not met, so its negation is."),
        _("Of fields with several values one has to fit."),
        _("Values longer than about 200 characters are compared by their beginning."),
        _(
            "At most %(characters)s characters, %(conditions)s conditions, %(brackets)s brackets inside each other, "
            "%(wildcards)s wildcards in a value.",
            characters=MAX_QUERY,
            conditions=MAX_CONDITIONS,
            brackets=MAX_DEPTH,
            wildcards=MAX_WILDCARDS,
        ),
    ]


def types() -> dict[SearchType, str]:
    """Names of the types of fields."""
    return {
        "date": _("time"),
        "long": _("whole number"),
        "double": _("number"),
        "boolean": _("yes or no"),
        "ip": _("IP address"),
        "keyword": _("value"),
        "text": _("words"),
        "level": _("value with an order"),
    }
