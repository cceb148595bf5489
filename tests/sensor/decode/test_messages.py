"""Whole messages: fragments of COTP put together, and what else than S7comm travels there."""

from __future__ import annotations

import struct

import pytest
from support.s7 import job
from support.wire import Talk, frames

from sensor.decode.decoder import Decoder
from sensor.decode.pdu import Anomaly, Protocol
from sensor.decode.stream_tables import HOLD_BYTES

STOP = job("29 0000000000 09 50 5f50524f4752414d")  # PLC stop, "P_PROGRAM"


def tpkt(user_data: bytes, *, last: bool = True) -> bytes:
    """A TPKT with one COTP DT; `last` is the end-of-TSDU mark."""
    return struct.pack("!BBHBBB", 3, 0, 7 + len(user_data), 2, 0xF0, 0x80 if last else 0) + user_data


def decoded(*payloads: bytes) -> tuple[list[tuple[int, int, int]], Decoder, list[bytes]]:
    """((frame, function, anomalies) of each event, the decoder, the PDUs)."""
    talk, decoder = Talk(dport=102), Decoder()
    rows, pdus = [], []
    for batch in decoder.decode([frames([talk.asks(payload) for payload in payloads])]):
        c = batch.columns
        rows += zip(c.frame.tolist(), c.function.tolist(), c.anomalies.tolist(), strict=True)
        pdus += [batch.pdu(row) for row in range(batch.size)]
    return rows, decoder, pdus


def test_a_pdu_in_one_dt_is_read_where_it_lies():
    rows, _, pdus = decoded(tpkt(STOP))
    assert rows == [(1, 0x29, 0)]
    assert pdus == [STOP]


@pytest.mark.parametrize("cut", [1, 2, 9, len(STOP) - 1])
def test_a_pdu_in_two_dt_fragments_is_one_event_on_the_last(cut):
    rows, _, pdus = decoded(tpkt(STOP[:cut], last=False), tpkt(STOP[cut:]))
    assert rows == [(2, 0x29, Anomaly.SPLIT)]
    assert pdus == [STOP]


def test_fragments_may_share_a_segment_and_the_next_pdu_is_whole_again():
    other = job("29 0000000000 09 50 5f50524f4752414d", reference=7)
    rows, _, _ = decoded(tpkt(STOP[:5], last=False) + tpkt(STOP[5:9], last=False) + tpkt(STOP[9:]) + tpkt(other))
    assert rows == [(1, 0x29, Anomaly.SPLIT), (1, 0x29, 0)]


def test_fragments_without_end_are_bounded_and_counted():
    piece = tpkt(bytes(1000), last=False)
    rows, decoder, _ = decoded(*[piece] * (HOLD_BYTES // 1000 + 2))
    assert rows == []
    assert decoder.counters()["assemblies_refused"] >= 1


def test_on_port_102_s7comm_plus_is_named_and_what_is_neither_it_nor_mms_is_counted():
    rows, decoder, pdus = decoded(tpkt(b"\x72\x01\x00\x04abcd"), tpkt(b"\xa8\x03\x80\x01\x01"))
    assert [row[0] for row in rows] == [1]
    assert pdus == [b"\x72\x01\x00\x04abcd"]
    assert decoder.view.behaviours.table[0].protocol == Protocol.S7COMM_PLUS
    assert decoder.counters()["other_cotp"] == 1


def test_connection_set_up_gives_no_event():
    connect = bytes.fromhex("0300001611e00000000100c0010ac1020100c2020102")
    assert decoded(connect, tpkt(STOP))[0] == [(2, 0x29, 0)]
