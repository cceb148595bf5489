"""The kinds of documents that are indexed: a kind is a file, a line here and its tables in triggers.py."""

from __future__ import annotations

from console.store.search.assets import ASSETS
from console.store.search.findings import FINDINGS
from console.store.search.kinds import Kind

KINDS: tuple[Kind, ...] = (FINDINGS, ASSETS)
