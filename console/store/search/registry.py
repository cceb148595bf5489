"""The kinds of documents that are indexed: a kind is a file, a line here and its tables in triggers.py."""

from __future__ import annotations

from console.store.search.assets import ASSET, ASSETS
from console.store.search.behaviours import BEHAVIOUR, BEHAVIOURS
from console.store.search.findings import FINDINGS
from console.store.search.kinds import Kind
from console.store.search.states import State
from console.store.search.summaries import SUMMARIES, SUMMARY

KINDS: tuple[Kind, ...] = (FINDINGS, ASSETS, BEHAVIOURS, SUMMARIES)
STATES: tuple[State, ...] = (ASSET, BEHAVIOUR, SUMMARY)  # those of them that are looked through by their rows
