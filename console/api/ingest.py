"""The sensors' API."""

from __future__ import annotations

from flask import Blueprint

blueprint = Blueprint("ingest", __name__, url_prefix="/api/v1")
