"""Conversations that are new, each given once, although rows of the table are used again."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sensor.view import View

Rows = npt.NDArray[np.int64]
RECYCLED_PAUSE_NS = 10**9  # between two walks over all rows, once rows are used again


class FreshTalks:
    """Rows of the conversation table that were not given yet."""

    def __init__(self) -> None:
        self._begun = 0  # conversations of the run given so far; their numbers stand below
        self._looked_ns = 0

    def rows(self, view: View, now_ns: int) -> Rows:
        """Rows of conversations begun since the last call."""
        begun = view.begun
        if begun == self._begun:
            return np.zeros(0, np.int64)
        table = view.conversations
        if not view.recycled:
            rows = np.arange(self._begun, len(table), dtype=np.int64)
        elif 0 <= now_ns - self._looked_ns < RECYCLED_PAUSE_NS:
            return np.zeros(0, np.int64)
        else:
            self._looked_ns = now_ns
            rows = np.flatnonzero((table["number"] >= self._begun) & (table["free"] == 0))
        self._begun = begun
        return rows


class Settling:
    """Conversations that are judged a while after they began, `most` at a time; further ones are left out."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rows: Rows = np.zeros(0, np.int64)
        self._numbers: Rows = np.zeros(0, np.int64)

    def add(self, view: View, rows: Rows) -> None:
        """Let these rows of the conversation table wait; in the order in which they began."""
        rows = rows[: max(self._most - len(self._rows), 0)]
        self._rows = np.concatenate([self._rows, rows])
        self._numbers = np.concatenate([self._numbers, view.conversations["number"][rows]])

    def settled(self, view: View, begun_ns: int, *, final: bool) -> Rows:
        """Those that began at `begun_ns` or before, all where `final`; each once, if its row is still its own."""
        first_ns = view.conversations["first_ns"]
        if not len(self._rows) or not (final or first_ns[self._rows[0]] <= begun_ns):
            return np.zeros(0, np.int64)
        ripe = final | (first_ns[self._rows] <= begun_ns)
        same = view.conversations["number"][self._rows] == self._numbers  # otherwise it stands for another by now
        rows: Rows = self._rows[ripe & same]
        self._rows, self._numbers = self._rows[~ripe], self._numbers[~ripe]
        return rows


class Called(NamedTuple):
    """Conversations seen from the end that asks: arrays of the same length, hosts as rows of the host table."""

    asker: npt.NDArray[np.int32]
    asked: npt.NDArray[np.int32]
    asker_port: npt.NDArray[np.int32]
    port: npt.NDArray[np.int32]  # of the asked end
    silent: npt.NDArray[np.bool_]  # no payload came from the asked end


def called(talks: npt.NDArray[np.void]) -> Called:
    """Who asks whom in rows of the conversation table."""
    of_b: Any = talks["server"] == 1
    return Called(
        asker=np.where(of_b, talks["a_host"], talks["b_host"]),
        asked=np.where(of_b, talks["b_host"], talks["a_host"]),
        asker_port=np.where(of_b, talks["a_port"], talks["b_port"]),
        port=np.where(of_b, talks["b_port"], talks["a_port"]),
        silent=np.where(of_b, talks["frames_b"], talks["frames_a"]) == 0,
    )
