"""The traces that are measured: real traffic, frame by frame right, and the bench that runs over them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sensor.capture.frames import FrameBatch
from sensor.capture.source import open_capture
from sensor.decode.decoder import Decoder
from sensor.decode.pdu import Kind, Outcome, Protocol
from tools import bench, traffic
from tools.traces import PCAP_HEADER, UDP, Made, write

PACKETS = 6_000
NAMES = ("modbus", "s7comm", "dnp3", "mixed")


def ones_complement(data: bytes) -> int:
    """RFC 1071, octet by octet; 0xFFFF over data that hold their own right checksum."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total


def frames(batch: FrameBatch) -> list[bytes]:
    return [
        batch.data[at : at + size].tobytes()
        for at, size in zip(batch.offset.tolist(), batch.captured.tolist(), strict=True)
    ]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    folder = tmp_path_factory.mktemp("traces")
    traces = traffic.traces()
    return {name: write(traces[name], PACKETS, folder / f"{name}.pcap") for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_the_file_holds_as_many_packets_as_were_asked_for_in_order_of_time(files: dict[str, Made], name: str) -> None:
    capture = open_capture(files[name].path)
    (batch,) = list(capture)
    assert batch.size == files[name].packets == PACKETS
    assert not capture.warnings
    assert (np.diff(batch.ts_ns) > 0).all()
    assert files[name].path.stat().st_size == files[name].size


@pytest.mark.parametrize("name", NAMES)
def test_lengths_and_checksums_of_every_frame_are_right(files: dict[str, Made], name: str) -> None:
    (batch,) = list(open_capture(files[name].path))
    for frame in frames(batch)[:: 7 if name == "mixed" else 3]:
        total = int.from_bytes(frame[16:18], "big")
        assert len(frame) == max(14 + total, 60)
        ip, transport = frame[14:34], frame[34 : 14 + total]
        assert ones_complement(ip) == 0xFFFF
        assert ones_complement(ip[12:20] + bytes([0, ip[9]]) + len(transport).to_bytes(2, "big") + transport) == 0xFFFF
        if ip[9] == UDP:
            assert int.from_bytes(transport[4:6], "big") == len(transport)


@pytest.mark.parametrize("name", NAMES)
def test_every_stream_begins_with_a_handshake_and_has_no_hole(files: dict[str, Made], name: str) -> None:
    (batch,) = list(open_capture(files[name].path))
    following: dict[bytes, int] = {}
    for frame in frames(batch):
        if frame[23] == UDP:
            continue
        ends, seq, ack = frame[26:38], int.from_bytes(frame[38:42], "big"), int.from_bytes(frame[42:46], "big")
        size, syn = int.from_bytes(frame[16:18], "big") - 40, frame[47] & 0x02
        assert (ends not in following) == bool(syn)
        assert syn or following[ends] == seq
        if frame[47] & 0x10:
            assert following[ends[4:8] + ends[:4] + ends[10:12] + ends[8:10]] == ack
        following[ends] = (seq + size + bool(syn)) % 2**32


@pytest.mark.parametrize("name", NAMES)
def test_every_message_is_decoded_and_every_request_answered(files: dict[str, Made], name: str) -> None:
    decoder = Decoder()
    decoded: Counter[str] = Counter()
    asked = answered = 0
    for batch in decoder.decode(open_capture(files[name].path)):
        columns = batch.columns
        assert not columns.anomalies.any()
        decoded.update(Protocol(code).name.lower() for code in columns.protocol.tolist())
        asked += int((columns.kind == Kind.REQUEST).sum())
        responses = columns.outcome[columns.kind == Kind.RESPONSE]
        assert (responses == Outcome.ANSWERED).all()
        answered += len(responses)
    assert decoded == files[name].messages
    assert asked - answered in (0, 1)  # the trace may end between the two
    assert min(decoded.values()) > 100


def test_nine_packets_of_ten_on_the_mixed_link_are_other_traffic(files: dict[str, Made]) -> None:
    exchanges = traffic.traces()["mixed"].exchanges
    industrial = sum(len(it.messages) for it in exchanges if it.protocol)
    assert industrial / sum(len(it.messages) for it in exchanges) == pytest.approx(0.1)


def test_the_same_trace_is_the_same_file(files: dict[str, Made], tmp_path: Path) -> None:
    again = write(traffic.traces()["mixed"], PACKETS, tmp_path / "again.pcap")
    assert again.path.read_bytes() == files["mixed"].path.read_bytes()


def test_a_shorter_trace_is_the_beginning_of_a_longer_one(files: dict[str, Made], tmp_path: Path) -> None:
    for packets in (0, 1, 200, 1_501):
        short = write(traffic.traces()["modbus"], packets, tmp_path / "short.pcap")
        assert short.packets == packets
        assert files["modbus"].path.read_bytes().startswith(short.path.read_bytes())
    assert write(traffic.traces()["modbus"], 0, tmp_path / "short.pcap").path.read_bytes() == PCAP_HEADER


def test_the_trace_of_many_flows_opens_each_of_them_once(tmp_path: Path) -> None:
    made = write(traffic.traces()["flows"], 3 * traffic.FLOWS, tmp_path / "flows.pcap")
    records = np.fromfile(made.path, np.uint8)[len(PCAP_HEADER) :]
    size = 16 + 60  # of a record: a handshake's frames are padded
    rows = records.reshape(-1, size)[::3, 16 + 26 : 16 + 38]
    assert len(np.unique(np.ascontiguousarray(rows).view("V12"))) == traffic.FLOWS


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_finds_the_messages_and_nothing_wrong(files: dict[str, Made]) -> None:
    judged = ["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]
    for name in traffic.POLLING:
        command = ["tshark", "-n", "-r", str(files[name].path), *judged, "-T", "fields", "-e", "_ws.expert.severity"]
        done = subprocess.run([*command, "-Y", name], capture_output=True, text=True, check=True)
        lines = done.stdout.split("\n")[:-1]
        assert len(lines) == files[name].messages[name]
        assert set(lines) == {""}


def test_the_bench_measures_prints_and_writes_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "figures.json"
    chosen = ["--traces", "modbus", "--packets", "2000", "--large", "0", "--rounds", "1", "--alone"]
    assert bench.main([*chosen, "--folder", str(tmp_path), "--json", str(target)]) == 0
    printed = capsys.readouterr().out
    assert "fenghuo inspect, whole process" in printed
    measured = json.loads(target.read_text())["measured"]
    assert [it["program"] for it in measured] == [
        "read the file (cat)", bench.DECODE, bench.MEMORY, bench.DETECT, bench.INSPECT,
    ]  # fmt: skip
    for it in measured:
        assert (it["trace"], it["packets"], len(it["rounds"])) == ("modbus", 2000, 1)
        assert it["rounds"][0]["wall"] > 0
    assert measured[1]["rounds"][0]["messages"] == 1808
    assert measured[4]["rounds"][0]["peak"] > 50e6
