"""What an index looks like: strict mapping, settings, names. Each console's indices stand under its own prefix.

`<prefix>-<kind>-<generation>-<month>` holds the documents of a kind whose rows arrived in that month, under the alias
`<prefix>-<kind>`, which is what searches ask. Strict: a field that is not in the mapping is a fault that shows, not a
new field. Nothing makes an index but us (`allow_auto_create`): a document for an index that somebody deleted is
refused, not put into a new one that no search sees.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from console.store.search.kinds import Kind, span

ROW, VERSION = "fenghuo.row", "fenghuo.version"  # id of the row in the truth; id in the outbox, 0 of what was filled in
TOMBSTONES = "1h"  # how long the version of a deleted document is known: as long as a bulk request may be late


def mapping(kind: Kind, installation: str) -> dict[str, Any]:
    """The mapping of an index of this kind; `installation` says whose it is."""
    meant = kind.mapping()
    internal = {ROW: {"type": "long"}, VERSION: {"type": "long"}}
    return meant | {"_meta": {"installation": installation}, "properties": meant["properties"] | internal}


def template(prefix: str, kind: Kind, installation: str) -> dict[str, Any]:
    """The composable index template."""
    made = mapping(kind, installation)
    return {
        "index_patterns": [f"{alias(prefix, kind.name)}-*"],
        "priority": 300,
        "allow_auto_create": False,
        "template": {
            "settings": {
                "index.number_of_shards": 1,
                "index.auto_expand_replicas": "0-1",  # none on a single node, one as soon as there is a second
                "index.gc_deletes": TOMBSTONES,
                "index.mapping.total_fields.limit": 2 * len(made["properties"]),
            },
            "mappings": made,
        },
        "_meta": {"installation": installation},
    }


def alias(prefix: str, kind: str) -> str:
    """What searches ask for documents of a kind."""
    return f"{prefix}-{kind}"


def part_name(prefix: str, kind: str, generation: int, period: str) -> str:
    """Name of one index."""
    return f"{alias(prefix, kind)}-{generation}" + (f"-{period.replace('-', '.')}" if period else "")


def lifecycle(days: int) -> dict[str, Any]:
    """The policy for a cluster that knows such: whole indices go, counted from the begin of their month."""
    return {"phases": {"hot": {"actions": {}}, "delete": {"min_age": f"{days + 31}d", "actions": {"delete": {}}}}}


def lifecycle_settings(name: str, period: str) -> dict[str, Any]:
    """Settings that put an index under the policy, its age counted from the begin of its month."""
    begin, _ = span(period)
    return {"index.lifecycle.name": name, "index.lifecycle.origination_date": int(begin.timestamp() * 1000)}


def expired(period: str, days: int, now: datetime) -> bool:
    """Whether the whole month is older than the days that documents are kept; never where days is 0."""
    return bool(days and period) and (now - span(period)[1]).days >= days
