"""Read the next frames while the last ones are worked on: indexing and inflating then run on another core."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from threading import Thread

from sensor.capture.frames import FrameBatch


class _Next(Thread):
    """Takes one batch from an iterator. A daemon: a pipe that gives nothing must not keep the program from ending."""

    def __init__(self, batches: Iterator[FrameBatch]) -> None:
        super().__init__(name="capture", daemon=True)
        self._batches = batches
        self._batch: FrameBatch | None = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._batch = next(self._batches, None)
        except BaseException as error:
            self._error = error

    def result(self) -> FrameBatch | None:
        """The batch, None at the end; raises what the iterator raised."""
        self.join()
        if self._error is not None:
            raise self._error
        return self._batch

    @property
    def ready(self) -> bool:
        """Whether there is a batch that `result` would give at once."""
        return not self.is_alive() and self._batch is not None


class ahead(Iterator[FrameBatch]):  # noqa: N801 (used as a function, like those of itertools)
    """The same batches in the same order, each read while its predecessor is worked on; one is held more at a time.

    For captures, not for a live ring, which takes the memory of a batch back when the next one is asked for.
    """

    def __init__(self, batches: Iterable[FrameBatch]) -> None:
        self._batches = iter(batches)
        self._following = _Next(self._batches)

    def __next__(self) -> FrameBatch:
        batch = self._following.result()
        if batch is None:
            raise StopIteration
        self._following = _Next(self._batches)
        return batch

    @property
    def ready(self) -> bool:
        """Whether the next batch has been read; it may be taken although its predecessors are still held."""
        return self._following.ready
