"""Reading ahead changes nothing but when frames are read."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from sensor.capture.ahead import ahead
from sensor.capture.frames import FrameBatch


def batch(number: int) -> FrameBatch:
    none = np.zeros(0, np.int64)
    small = np.zeros(0, np.int32)
    return FrameBatch(np.zeros(0, np.uint8), none, none, small, small, small, number)


def test_the_batches_come_in_order_and_none_is_missing() -> None:
    given = [batch(number) for number in range(20)]
    assert [it.first for it in ahead(given)] == list(range(20))
    assert list(ahead([])) == []


def test_the_next_batch_is_read_while_one_is_worked_on_and_never_two() -> None:
    read: list[int] = []
    second = threading.Event()

    def source() -> Iterator[FrameBatch]:
        for number in range(4):
            read.append(number)
            if number == 1:
                second.set()
            yield batch(number)

    reader = ahead(source())
    assert next(reader).first == 0
    assert second.wait(10)
    assert read == [0, 1]
    assert next(reader).first == 1


def test_what_the_source_raises_comes_after_the_batches_before_it() -> None:
    def source() -> Iterator[FrameBatch]:
        yield batch(1)
        raise OSError("gone")

    reader = ahead(source())
    assert next(reader).first == 1
    with pytest.raises(OSError, match="gone"):
        next(reader)


def test_a_source_that_gives_nothing_more_does_not_keep_the_consumer_from_leaving() -> None:
    released = threading.Event()

    def source() -> Iterator[FrameBatch]:
        yield batch(1)
        released.wait(30)

    reader = ahead(source())
    assert isinstance(reader, Iterator)
    assert next(reader).first == 1
    waiting = [it for it in threading.enumerate() if it.name == "capture"]
    assert waiting
    assert all(it.daemon for it in waiting)
    released.set()
