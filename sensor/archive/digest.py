"""What makes a behaviour the same in every run: a digest of its fields."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def behaviour_digest(fields: Mapping[str, Any]) -> str:
    """32 hex digits over the fields of a behaviour, whatever their order."""
    text = json.dumps(fields, sort_keys=True, default=str, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
