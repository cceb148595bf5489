"""The fuzzer: a share of what `make fuzz` runs, and proof that it sees what it is there to see."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from sensor.decode.decoder import Decoder
from sensor.decode.pdu import Protocol
from tools import fuzz

MUTANTS = int(os.environ.get("FENGHUO_FUZZ_MUTANTS", "40000"))  # of each protocol


@pytest.mark.parametrize("protocol", fuzz.PORTS)
def test_mutants_of_every_protocol_neither_raise_nor_hang_nor_grow(protocol: Protocol) -> None:
    ran = fuzz.run(protocol, seed=20261122, seconds=0, messages=MUTANTS)
    assert ran.messages >= MUTANTS
    assert ran.events > MUTANTS // 50, "hardly a mutant was taken for a message: the mutations are too wild"


def test_the_same_seed_makes_the_same_mutants_and_another_does_not() -> None:
    one, again, other = (fuzz.Mutants(Protocol.MODBUS, seed).batch(0, 200) for seed in (7, 7, 8))
    assert one.data.tobytes() == again.data.tobytes()
    assert one.data.tobytes() != other.data.tobytes()


def test_an_exception_in_the_decoder_is_found_and_named_with_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: Any) -> Any:
        raise IndexError("index is out of bounds")

    monkeypatch.setattr("sensor.decode.exchange.settle", broken)
    with pytest.raises(fuzz.FoundError, match=r"modbus, seed 3, batch 0: IndexError: index is out of bounds") as found:
        fuzz.run(Protocol.MODBUS, seed=3, seconds=0, messages=1)
    assert found.value.batch.size == fuzz.BATCH


def test_an_event_that_points_outside_its_buffer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = fuzz.Mutants(Protocol.MODBUS, 3).batch(0, 200)
    decoder = Decoder(seed=1)
    part = next(iter(decoder.decode([batch])))
    part.columns.pdu_length[0] = 1 << 30
    with pytest.raises(fuzz.FoundError, match="outside its buffer"):
        fuzz._check(decoder, part, np.random.default_rng(1), batch)


def test_the_slowest_message_of_a_batch_is_timed_alone() -> None:
    batch = fuzz.Mutants(Protocol.S7COMM, 3).batch(0, 64)
    assert 0 < fuzz.slowest(batch, 64) < fuzz.SLOWEST_S
