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


def ahead(batches: Iterable[FrameBatch]) -> Iterator[FrameBatch]:
    """The same batches in the same order, each read while its predecessor is worked on; one is held more at a time.

    For captures, not for a live ring, which takes the memory of a batch back when the next one is asked for.
    """
    iterator = iter(batches)
    following = _Next(iterator)
    while (batch := following.result()) is not None:
        following = _Next(iterator)
        yield batch
