"""S7comm on captures of real stations: what happened in each is known, and their makers send nothing that is wrong."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sensor.capture.source import open_capture
from sensor.decode.decoder import Decoder

SHARED = Path(__file__).parents[4] / "shared" / "captures" / "s7comm"

pytestmark = [
    pytest.mark.captures,
    pytest.mark.skipif(not SHARED.is_dir(), reason="the shared captures are not beside this repository"),
]


def decoded(case: str) -> list[dict[str, Any]]:
    """All PDUs of a capture at full depth."""
    (path,) = (SHARED / case).glob("capture.pcap*")
    decoder = Decoder()
    return [
        decoder.view.fields(batch, row)
        for batch in decoder.decode(open_capture(str(path)))
        for row in range(batch.size)
    ]


def requests(pdus: list[dict[str, Any]], name: str) -> list[Any]:
    """The values of one field in the requests and indications that have it, in order."""
    return [pdu[name] for pdu in pdus if pdu["event.kind"] != "response" and name in pdu]


def test_a_stop_is_followed_by_the_cpu_saying_so():
    pdus = decoded("gymgit__step7_s300_stop")
    assert requests(pdus, "event.action") == ["stop", "report", "report"]
    assert requests(pdus, "s7comm.diagnostic.event_name") == ["stop_by_programmer_or_sfb20"]
    assert requests(pdus, "s7comm.mode_name") == ["stop"]


def test_a_hardware_configuration_is_stop_delete_download_activate_start():
    pdus = decoded("gymgit__tia_s300_downloadHwConfig")
    steps = [step for step in requests(pdus, "event.action") if step in ("stop", "program-down", "start", "restart")]
    assert steps[0] == "stop"
    assert steps[-1] in ("start", "restart")
    services = Counter(requests(pdus, "s7comm.service"))
    assert services["_DELE"] == 3
    refusals = [pdu["s7comm.error_name"] for pdu in pdus if pdu["event.outcome"] == "refused"]
    assert refusals == ["cpu_parameters_being_assigned"], "one activation comes too early and is asked for again"
    assert services["_INSE"] == requests(pdus, "s7comm.function").count(0x1A) + 1
    assert requests(pdus, "s7comm.mode_name")[-1] == "run"
    assert all(block.startswith(("SDB", "OB")) for block in requests(pdus, "s7comm.block"))


def test_a_download_names_its_block_in_every_step_although_the_plc_sends_most_of_the_jobs():
    pdus = [pdu for pdu in decoded("iti__s7comm_downloading_block_db1") if pdu["event.kind"] == "request"]
    transfer = [pdu for pdu in pdus if pdu.get("s7comm.function") in (0x1A, 0x1B, 0x1C)]
    assert [pdu["s7comm.function"] for pdu in transfer] == [0x1A, 0x1B, 0x1B, 0x1B, 0x1C]
    assert {pdu["s7comm.block"] for pdu in transfer} == {"DB1"}
    assert transfer[0]["destination.port"] == 102
    assert {pdu["source.port"] for pdu in transfer[1:]} == {102}
    assert [pdu["s7comm.blocks"] for pdu in pdus if "s7comm.blocks" in pdu] == [["DB1"]]


def test_the_walk_of_a_client_library_through_all_services_is_recognised():
    pdus = decoded("icsnpp-s7comm__snap7")
    actions = set(requests(pdus, "event.action"))
    assert {"identify", "program-up", "stop", "restart", "time-set", "configure"} <= actions
    modules = {pdu["s7comm.module.order_number"] for pdu in pdus if "s7comm.module.order_number" in pdu}
    assert modules == {"6ES7 315-2EH14-0AB0"}
    refusals = [pdu["s7comm.error_name"] for pdu in pdus if pdu["event.outcome"] == "refused"]
    assert Counter(refusals) == {"block_not_on_module": 1, "ob_priority_class_missing": 1}


def test_a_password_is_seen_and_not_shown():
    pdus = decoded("gymgit__step7_s300_AuthPassword")
    assert "authenticate" in requests(pdus, "event.action")
    for pdu in pdus:
        if pdu.get("s7comm.userdata.group") == 5:
            assert not [name for name in pdu if name.startswith(("s7comm.values", "s7comm.service"))]


def test_changing_a_threshold_in_a_plant_is_one_written_value():
    pdus = decoded("qut-s7__20161215180642.ChangeUpperThreshold.attacker")
    assert requests(pdus, "event.action") == ["write"]
    assert len(requests(pdus, "s7comm.values")[0]) == 1
    assert [pdu["event.outcome"] for pdu in pdus] == ["asked", "answered"]


@pytest.mark.parametrize(
    "case",
    [
        "gymgit__step7_s300_readDiagData",
        "gymgit__step7_s300_readVarTab",
        "gymgit__wincc_s300_setup-alarm-read-write",
        "gymgit__wincc_s400_production",
        "iti__s7comm_program_blocklist_onlineview",
        "iti__s7comm_varservice_libnodavedemo",
        "icsnpp-s7comm__s7ident",
        "ndpi__s7comm",
    ],
)
def test_real_stations_send_nothing_that_lengths_or_codes_forbid(case):
    pdus = decoded(case)
    assert pdus
    wrong = [pdu for pdu in pdus if {"length", "illegal", "unknown_function"} & set(pdu.get("anomalies", ()))]
    assert wrong == []
    assert "unknown" not in {pdu["event.action"] for pdu in pdus if pdu["s7comm.rosctr"] != 2}
