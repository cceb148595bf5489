"""Numbers out of a buffer: the compiled load reads what the plain one does, and never outside."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.compiled import njit
from sensor.decode import load

WIDTHS = {load.u16be: 2, load.u16le: 2, load.u32be: 4, load.u64be: 8}


def compiled(read):
    @njit(boundscheck=True)
    def call(buf, at):
        return read(buf, at)

    return call


COMPILED = {read: compiled(read) for read in WIDTHS}


@pytest.mark.parametrize("read", WIDTHS, ids=lambda read: read.__name__)
@given(data=st.binary(min_size=8, max_size=24), at=st.integers(0, 16))
def test_compiled_and_plain_agree(read, data, at):
    buffer = np.frombuffer(bytearray(data), np.uint8)
    if at + WIDTHS[read] <= len(data):
        octets = data[at : at + WIDTHS[read]]
        order = "little" if read is load.u16le else "big"
        expected = int.from_bytes(octets, order, signed=WIDTHS[read] == 8)
        assert COMPILED[read](buffer, at) == expected == read(buffer, at)


@pytest.mark.parametrize("read", WIDTHS, ids=lambda read: read.__name__)
@pytest.mark.parametrize("beyond", ["before", "partly", "after"])
def test_outside_of_the_buffer_is_an_index_error(read, beyond):
    buffer = np.zeros(8, np.uint8)
    at = {"before": -1, "partly": 8 - WIDTHS[read] + 1, "after": 8}[beyond]
    with pytest.raises(IndexError):
        COMPILED[read](buffer, at)
