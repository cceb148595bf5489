"""Modbus on captures of others, in which it is known what happened."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sensor.capture.source import open_capture
from sensor.decode.decoder import Decoder

SHARED = Path(__file__).parents[4] / "shared" / "captures" / "modbus"

pytestmark = [
    pytest.mark.captures,
    pytest.mark.skipif(not SHARED.is_dir(), reason="the shared captures are not beside this repository"),
]


def decoded(case: str) -> list[dict[str, Any]]:
    """All Modbus PDUs of a capture at full depth."""
    decoder = Decoder()
    batches = decoder.decode(open_capture(SHARED / case / "capture.pcap"))
    pdus = [decoder.view.fields(batch, row) for batch in batches for row in range(batch.size)]
    return [pdu for pdu in pdus if pdu["network.protocol"] == "modbus"]


def of_kind(pdus: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [pdu for pdu in pdus if pdu["event.kind"] == kind]


# Captures of whole connections without damage: here no reading can differ from another.
@pytest.mark.parametrize(
    "case",
    [
        "emreekin__FC1-permit",
        "emreekin__ModbusFloat",
        "emreekin__WriteMultipleCoil",
        "emreekin__modbus-read-write-multiple-registers",
        "icsnpp-modbus__modbus_example",
        "ndpi__modbus",
        "zeek__modbusSmall",
    ],
)
def test_function_codes_are_counted_as_by_tshark(case):
    counts = json.loads((SHARED / case / "tshark.counts.json").read_text())
    pdus = decoded(case)
    ours = Counter(str(pdu["modbus.function_code"]) for pdu in pdus)
    assert ours == counts["histograms"]["modbus.func_code"]
    assert Counter(pdu["event.kind"] for pdu in pdus)["request"] >= len(pdus) // 2


def test_the_tests_of_a_rule_set_hold_listen_only_restarts_and_cleared_counters():
    pdus = decoded("quickdraw__modbus_test_data_part1")
    diagnostics = [pdu["modbus.subfunction"] for pdu in of_kind(pdus, "request") if pdu["modbus.function_code"] == 8]
    assert Counter(diagnostics) == {
        "force_listen_only_mode": 3,
        "restart_communications": 3,
        "clear_counters_and_diagnostic_register": 2,
    }
    actions = Counter(pdu["event.action"] for pdu in of_kind(pdus, "request"))
    assert (actions["silence"], actions["restart"]) == (3, 3)
    exceptions = Counter(pdu["modbus.exception"] for pdu in pdus if "modbus.exception" in pdu)
    assert exceptions == {"gateway_target_device_failed_to_respond": 4, "acknowledge": 5, "server_device_busy": 5}
    assert {pdu["modbus.server_id.text"] for pdu in pdus if "modbus.server_id.text" in pdu} == {
        "\\x00\\xffWingpath Limited"
    }


def test_every_function_of_a_server_that_has_them_all_is_read_to_the_end():
    pdus = decoded("icsnpp-modbus__modbus_example")
    asked = {pdu["modbus.function_code"] for pdu in of_kind(pdus, "request")}
    assert asked == {1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 17, 20, 21, 22, 23, 24, 43}
    strange = {
        pdu["modbus.function"]
        for pdu in pdus
        if {"length", "illegal", "unknown_function"} & {*pdu.get("anomalies", ())}
    }
    assert strange == {"read_file_record", "write_file_record"}, "this client asks for no record at all"
    read = [pdu for pdu in of_kind(pdus, "response") if "modbus.values" in pdu and pdu["event.action"] == "read"]
    assert [pdu["modbus.values"] for pdu in read[:4]] == [[1], [1, 0, 0, 1, 0, 1, 1, 1], [0], [0, 0, 1, 1, 0, 1, 0, 0]]
    assert all(pdu["modbus.request.address"] == 1 for pdu in read if pdu["modbus.function_code"] in (1, 2, 3, 4))
    refused = [pdu for pdu in pdus if pdu.get("modbus.exception") == "illegal_data_address"]
    assert [(pdu["modbus.unit_id"], pdu["modbus.request.address"]) for pdu in refused] == [(0, 600)], (
        "a read of unit 0 is answered"
    )


def test_a_coil_that_is_written_is_read_back():
    """The same three coils are written in all combinations, and each is read afterwards."""
    pdus = decoded("zeek__modbusSmall")
    written = [pdu["modbus.values"] for pdu in of_kind(pdus, "request") if pdu["event.action"] == "write"]
    read = [pdu["modbus.values"] for pdu in of_kind(pdus, "response") if pdu["event.action"] == "read"]
    assert written == read
    assert sorted(written) == sorted([a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1))


def test_exactly_one_command_comes_from_a_device_that_is_itself_polled():
    pdus = of_kind(decoded("lemay__send_a_fake_command_modbus_6RTU_with_operate"), "request")
    polled = {pdu["destination.ip"] for pdu in pdus}
    fake = [pdu for pdu in pdus if pdu["source.ip"] in polled]
    assert [(pdu["modbus.function"], pdu["event.action"]) for pdu in fake] == [("write_single_coil", "write")]
    polls = Counter(pdu["modbus.function_code"] for pdu in pdus if pdu["source.ip"] not in polled)
    assert polls == {1: 408, 2: 408, 3: 408, 5: 8}


def test_values_are_those_that_tshark_prints():
    """Addresses and quantities frame by frame, over a capture with four thousand of them."""
    (path,) = (SHARED / "iti__modbus_test").glob("tshark.tsv*")
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt") as file:
        header, *lines = (row.rstrip("\n").split("\t") for row in file)
    rows = [dict(zip(header, row, strict=True)) for row in lines]
    theirs = Counter(
        (int(row["frame.number"]), int(row["modbus.reference_num"]))
        for row in rows
        if row["modbus.reference_num"].isdigit()
    )
    ours = Counter(
        (pdu["frame"], pdu["modbus.address"]) for pdu in decoded("iti__modbus_test") if "modbus.address" in pdu
    )
    assert len(theirs) > 1000
    assert theirs - ours == Counter()
