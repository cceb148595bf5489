"""Record dtypes that compiled code and plain Python read alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def record(fields: Sequence[tuple[Any, ...]]) -> np.dtype[np.void]:
    """A structured dtype whose elements have attributes (`row.count`), in numba and without it, aligned as C would."""
    return np.dtype((np.record, np.dtype(list(fields), align=True)))
