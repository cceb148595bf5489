"""Indicators that an organisation's sensors look for."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session


def indicators_for(session: Session, organisation_id: int) -> dict[str, Any]:
    """{"version": names this set, "items": [{"id", "type", "value", "bulletin"}, ...]}."""
    return {"version": "0", "items": []}
