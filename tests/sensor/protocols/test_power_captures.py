"""IEC 60870-5-104, MMS, GOOSE and S7comm-plus on captures of real stations, with tshark and Zeek as witnesses."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from support.kernels import probed, row
from support.oracles import SHARED, captures, tshark
from support.payloads import ethernet, messages, payloads

from sensor.decode.pdu import Anomaly, Kind
from sensor.protocols import cotp, goose, iec104, mms, s7comm, s7comm_plus

IEC104_PORT, ISO_PORT, GOOSE_TYPE = 2404, 102, 0x88B8
OTHERS = ("modbus", "s7comm", "dnp3", "enip", "opcua", "bacnet", "mms", "s7comm-plus")

pytestmark = [
    pytest.mark.captures,
    pytest.mark.skipif(not SHARED.is_dir(), reason="the shared captures are not beside this repository"),
]


def named(path: Path) -> str:
    return path.parent.name


def tsdus(path: Path) -> Iterator[tuple[int, bytes]]:
    """(frame that completes it, user data) of the data TPDUs of a capture, fragments joined."""
    held: dict[Any, bytes] = {}
    for frame, flow, tpkt in messages(path, cotp.frame, ISO_PORT):
        if tpkt[5] & 0xF0 == cotp.DT:
            data = held.pop(flow, b"") + tpkt[5 + tpkt[4] :]
            if tpkt[6] >> 7:
                yield frame, data
            else:
                held[flow] = data


def found(kernel: ModuleType, data: bytes) -> tuple[Kind, Anomaly, dict[str, Any]]:
    record = row(kernel, data)
    kind = Kind(int(record.kind))
    return kind, Anomaly(int(record.anomalies)), kernel.explain(data, kind)


def read_numbers(text: str) -> list[int]:
    return [int(part, 0) for part in text.split(",") if part]


@pytest.mark.parametrize("path", captures("iec104"), ids=named)
def test_every_apdu_is_read_without_anomaly_and_typed_as_by_tshark(path: Path) -> None:
    ours: Counter[str] = Counter()
    for _frame, _flow, data in messages(path, iec104.frame, IEC104_PORT):
        _kind, anomalies, fields = found(iec104, data)
        assert not anomalies, data.hex()
        ours.update([str(fields["iec104.type"])] if "iec104.type" in fields else [])
    theirs = json.loads((path.parent / "tshark.counts.json").read_text())["histograms"]
    assert ours == theirs.get("iec60870_asdu.typeid", {})


def test_addresses_causes_and_stations_are_those_of_tshark() -> None:
    names = ("typeid", "causetx", "nega", "addr", "ioa", "oa", "numix")
    for case in ("iti__090813_diverse", "emreekin__104deneme", "zeek-iec104__iec104"):
        path = SHARED / "iec104" / case / "capture.pcap"
        theirs: Counter[Any] = Counter()
        for frame, *values in tshark(path, "iec60870_asdu", *(f"iec60870_asdu.{name}" for name in names)):
            numbers = [read_numbers(value.replace("True", "1").replace("False", "0")) for value in values]
            theirs.update(
                (int(frame), name, number) for name, all_of in zip(names, numbers, strict=True) for number in all_of
            )
        ours: Counter[Any] = Counter()
        for frame, _flow, data in messages(path, iec104.frame, IEC104_PORT):
            fields = iec104.explain(data, Kind.REQUEST)
            if "iec104.type" in fields:
                row_of = (fields["iec104.type"], fields["iec104.cause_code"], int(fields["iec104.negative"]),
                          fields["iec104.common_address"], fields["iec104.addresses"][0], fields["iec104.originator"],
                          fields["iec104.object_count"])  # fmt: skip
                ours.update((frame, name, value) for name, value in zip(names, row_of, strict=True) if name != "ioa")
                ours.update((frame, "ioa", address) for address in fields["iec104.addresses"])
        assert sum(theirs.values()) > 400
        assert ours - theirs == Counter()
        # Where the addresses follow each other, tshark shows each of them, and so do we.
        assert theirs - ours == Counter()


@pytest.mark.parametrize("path", captures("iec104"), ids=named)
def test_each_direction_of_a_connection_is_recognised_by_its_first_segment(path: Path) -> None:
    first: dict[tuple[int, int, int, int], bytes] = {}
    for payload in payloads(path):
        if IEC104_PORT in (payload.flow[1], payload.flow[3]) and len(payload.data) > 1:  # one octet keeps TCP alive
            first.setdefault(payload.flow, payload.data)
    assert first
    assert [data.hex() for data in first.values() if not probed(iec104, data)] == []


@pytest.mark.parametrize("protocol", OTHERS)
def test_no_segment_of_another_protocol_is_taken_for_iec104(protocol: str) -> None:
    seen = 0
    for path in captures(protocol)[:30]:
        for payload in payloads(path):
            if IEC104_PORT not in (payload.flow[1], payload.flow[3]):
                seen += 1
                assert not probed(iec104, payload.data), (named(path), payload.frame)
            if seen % 4000 == 3999:
                break
    assert seen > 20


@pytest.mark.parametrize("path", captures("mms"), ids=named)
def test_every_tsdu_of_mms_is_recognised_and_its_services_are_those_of_tshark(path: Path) -> None:
    asked: Counter[str] = Counter()
    for _frame, data in tsdus(path):
        buffer = np.frombuffer(data, np.uint8)
        assert mms.is_mms(buffer, 0, len(data)), data[:40].hex()
        assert not s7comm.is_s7comm(buffer, 0, len(data))
        record = row(mms, data)
        if record.kind == Kind.REQUEST and record.function == 0:
            asked[str(int(record.subfunction) & 0xFF)] += 1
    theirs = json.loads((path.parent / "tshark.counts.json").read_text())["histograms"]
    assert asked == theirs.get("mms.confirmedServiceRequest", {})


def test_invoke_ids_of_mms_are_those_of_tshark() -> None:
    path = SHARED / "mms" / "emreekin__mms1" / "capture.pcap"
    theirs = Counter(number for _, ids in tshark(path, "mms", "mms.invokeID") for number in read_numbers(ids))
    ours = Counter(int(it.transaction) for it in (row(mms, data) for _, data in tsdus(path)) if it.function == 0)
    assert sum(theirs.values()) == 398
    assert ours == theirs


def test_only_messages_that_lie_about_themselves_are_anomalies_in_mms() -> None:
    """Three generated captures have answers without a service and a session PDU that is longer than its TPDU."""
    bad = {named(path) for path in captures("mms") for _, data in tsdus(path) if row(mms, data).anomalies}
    assert bad == {"iti__iec61850_get_name_list", "iti__iec61850_read", "iti__iec61850_write"}


@pytest.mark.parametrize("protocol", ["s7comm", "s7comm-plus"])
def test_no_s7_message_is_taken_for_mms(protocol: str) -> None:
    seen = 0
    for path in captures(protocol)[:12]:
        for _frame, data in tsdus(path):
            seen += 1
            buffer = np.frombuffer(data, np.uint8)
            plus = s7comm_plus.is_s7comm_plus(buffer, 0, len(data))
            assert not mms.is_mms(buffer, 0, len(data))
            assert not (plus and s7comm.is_s7comm(buffer, 0, len(data)))
    assert seen > 100


# What the Zeek parser for GOOSE says of each damaged capture, and what we say. It takes the time for optional, which
# IEC 61850-8-1, annex A does not; and it gives up a PDU that is cut, of which we read what is there.
@pytest.mark.parametrize(
    ("case", "zeek", "ours"),
    [
        ("GOOSE", "none", Anomaly(0)),
        ("GOOSE_malformed_asn1", "malformed_asn1", Anomaly.LENGTH | Anomaly.ILLEGAL),
        ("GOOSE_missing_conf_rev", "missing_required_field", Anomaly.ILLEGAL),
        ("GOOSE_missing_dataset", "missing_required_field", Anomaly.ILLEGAL),
        ("GOOSE_missing_gocb_ref", "missing_required_field", Anomaly.ILLEGAL),
        ("GOOSE_missing_timestamp", "none", Anomaly.ILLEGAL),
        ("GOOSE_truncated", "truncated_packet", Anomaly.LENGTH),
    ],
)
def test_damage_in_goose_is_found_where_zeek_finds_it(case: str, zeek: str, ours: Anomaly) -> None:
    folder = SHARED / "goose" / f"icsnpp-goose__{case}"
    lines = (folder / "zeek-baseline" / "goose.log").read_text().splitlines()
    logged = [line.split("\t") for line in lines if not line.startswith("#")]
    assert {line[-1] for line in logged} == {zeek}
    read = []
    for _frame, data in ethernet(folder / "capture.pcap", GOOSE_TYPE):
        size = goose.frame(np.frombuffer(data, np.uint8), 0, len(data))
        read.append(found(goose, data[:size]))
    assert {anomalies for _, anomalies, _ in read} == {ours}
    assert len(read) == len(logged)
    if zeek == "none":
        for (_, _, fields), line in zip(read, logged, strict=True):
            assert [fields["goose.control_block"], fields["goose.data_set"], fields["goose.id"]] == [
                line[6],
                line[8],
                line[9],
            ]
            assert [fields["goose.state_number"], fields["goose.sequence_number"]] == [int(line[12]), int(line[13])]


def test_every_goose_message_is_read_as_by_tshark() -> None:
    names = ("appid", "stNum", "sqNum", "confRev", "numDatSetEntries")
    path = SHARED / "goose" / "iti__Sample_File_GOOSE" / "capture.pcap"
    theirs = [[int(value, 0) for value in line] for line in tshark(path, "goose", *(f"goose.{name}" for name in names))]
    ours = []
    for frame, data in ethernet(path, GOOSE_TYPE):
        it = row(goose, data[: goose.frame(np.frombuffer(data, np.uint8), 0, len(data))])
        assert not it.anomalies
        ours.append([frame, int(it.station), int(it.value), int(it.transaction), int(it.object), int(it.quantity)])
    assert len(ours) == 451
    assert ours == theirs


def test_functions_of_s7comm_plus_are_those_that_zeek_logs() -> None:
    folder = SHARED / "s7comm-plus" / "icsnpp-s7comm__s7comm_plus"
    lines = (folder / "zeek-icsnpp-baseline" / "s7comm_plus.log").read_text().splitlines()
    theirs = Counter(
        (int(line.split("\t")[12], 16), line.split("\t")[14]) for line in lines if not line.startswith("#")
    )
    ours: Counter[Any] = Counter()
    for _frame, data in tsdus(folder / "capture.pcap"):
        if s7comm_plus.is_s7comm_plus(np.frombuffer(data, np.uint8), 0, len(data)):
            _, anomalies, fields = found(s7comm_plus, data)
            assert not anomalies
            function = fields.get("s7comm_plus.function")
            ours[fields["s7comm_plus.opcode"], "-" if function is None else f"0x{function:04x}"] += 1
    assert ours == theirs


def test_panels_read_and_write_and_their_sessions_are_no_commands() -> None:
    actions: Counter[str] = Counter()
    for path in captures("s7comm-plus"):
        for _frame, data in tsdus(path):
            if s7comm_plus.is_s7comm_plus(np.frombuffer(data, np.uint8), 0, len(data)):
                kind, anomalies, fields = found(s7comm_plus, data)
                assert not anomalies
                actions.update([fields["event.action"]] if kind == Kind.REQUEST else [])
    assert actions == {"session": 47, "read": 25, "write": 3}
