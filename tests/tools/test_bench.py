"""The trace that is measured: real Modbus polling, frame by frame right."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sensor.capture.source import open_capture
from sensor.decode.decoder import Decoder
from sensor.decode.pdu import Kind, Outcome
from tools import bench

PACKETS = 4 * bench.CONNECTIONS * bench.POINTS


def ones_complement(data: bytes) -> int:
    """RFC 1071, octet by octet; 0xFFFF over data that hold their own right checksum."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_every_message_is_decoded_and_every_request_answered() -> None:
    _, batch = bench.polling(PACKETS)
    decoder = Decoder()
    events = list(decoder.decode([batch]))
    kind = np.concatenate([it.columns.kind for it in events])
    outcome = np.concatenate([it.columns.outcome for it in events])
    anomalies = np.concatenate([it.columns.anomalies for it in events])
    assert (kind == Kind.REQUEST).sum() == (kind == Kind.RESPONSE).sum() == PACKETS // 2
    assert (outcome[kind == Kind.RESPONSE] == Outcome.ANSWERED).all()
    assert not anomalies.any()
    assert len(decoder.view.behaviours) == 2 * bench.CONNECTIONS * bench.POINTS


def test_checksums_and_lengths_of_the_frames_are_right() -> None:
    trace, batch = bench.polling(200)
    for offset, size in zip(batch.offset.tolist(), batch.captured.tolist(), strict=True):
        frame = trace[offset : offset + size].tobytes()
        ip, tcp = frame[14:34], frame[34:]
        assert int.from_bytes(ip[2:4], "big") == size - 14
        assert ones_complement(ip) == 0xFFFF
        pseudo = ip[12:20] + b"\0\6" + len(tcp).to_bytes(2, "big")
        assert ones_complement(pseudo + tcp) == 0xFFFF


def test_the_file_holds_the_same_frames_as_the_batch(tmp_path: Path) -> None:
    trace, batch = bench.polling(1000)
    path = tmp_path / "polling.pcap"
    path.write_bytes(memoryview(trace))
    (read,) = list(open_capture(path))
    assert read.size == batch.size
    assert (read.ts_ns == batch.ts_ns).all()
    for row in range(0, batch.size, 97):
        mine = batch.data[batch.offset[row] : batch.offset[row] + batch.captured[row]]
        other = read.data[read.offset[row] : read.offset[row] + read.captured[row]]
        assert mine.tobytes() == other.tobytes()
