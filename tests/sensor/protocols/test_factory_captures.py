"""EtherNet/IP, OPC UA and BACnet on captures of real devices, with tshark and Zeek as witnesses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from support.kernels import probed, row
from support.oracles import SHARED, captures, counted, tshark, zeek
from support.payloads import messages, payloads

from sensor.decode.pdu import Anomaly, Kind
from sensor.protocols import bacnet, enip, enip_kernel, opcua
from sensor.protocols import bacnet_tables as bt

ENIP_PORT, IO_PORT, OPCUA_PORT, BACNET_PORT = 44818, 2222, 4840, 47808
UDP = 17
KERNELS = {"enip": enip, "opcua": opcua, "bacnet": bacnet}
PORTS = {"enip": (ENIP_PORT, IO_PORT), "opcua": (OPCUA_PORT,), "bacnet": (BACNET_PORT,)}
ALL = ("modbus", "s7comm", "dnp3", "iec104", "enip", "opcua", "bacnet", "mms", "s7comm-plus")
MALFORMED = "icsnpp-bacnet__bacnet_error_reject_abort"  # two of its messages lack a closing tag; tshark says so, too
WRONG_LENGTH = "icsnpp-bacnet__bacnet_example"  # a guesser of passwords never adjusts the length in the link layer
UNSEEN = "iti__EIP-ControlProtocolChangeAttempt"  # tshark takes its client's port for another protocol and shows none
ACKNOWLEDGED_EARLY = ("icsnpp-opcua-binary__opcua_with-gap", "icsnpp-opcua-binary__opcua_with-gap_with-handshake")
CREATED_SESSION = (
    464  # its last segments were captured after their acknowledgement: tshark thinks that they are repeated
)

pytestmark = [
    pytest.mark.captures,
    pytest.mark.skipif(not SHARED.is_dir(), reason="the shared captures are not beside this repository"),
]


def named(path: Path) -> str:
    return path.parent.name


def spoken(path: Path, protocol: str) -> Iterator[tuple[int, tuple[int, int, int, int], bytes]]:
    """(frame, flow, message) of a protocol: whole messages of its TCP port, datagrams of its UDP ports."""
    yield from messages(path, KERNELS[protocol].frame, PORTS[protocol][0])
    for payload in payloads(path):
        if payload.transport == UDP and set(PORTS[protocol]) & {payload.flow[1], payload.flow[3]}:
            size = KERNELS[protocol].frame(np.frombuffer(payload.data, np.uint8), 0, len(payload.data))
            assert size == len(payload.data), payload.data.hex()
            yield payload.frame, payload.flow, payload.data


def numbers(text: str) -> list[int]:
    return [int(part, 0) for part in text.split(",") if part]


CASES = [(protocol, path) for protocol in KERNELS for path in captures(protocol)]


@pytest.mark.parametrize(("protocol", "path"), CASES, ids=[f"{p}-{named(c)}" for p, c in CASES])
def test_every_message_is_framed_and_sound_and_each_direction_is_recognised(protocol: str, path: Path) -> None:
    kernel: ModuleType = KERNELS[protocol]
    first: dict[Any, bytes] = {}
    strange: Counter[Anomaly] = Counter()
    for _frame, flow, data in spoken(path, protocol):
        if named(path) != WRONG_LENGTH or int.from_bytes(data[2:4], "big") == len(data):
            first.setdefault(flow, data)
        strange.update([Anomaly(int(row(kernel, data)["anomalies"]))])
    expected = {MALFORMED: {Anomaly.ILLEGAL: 2}, WRONG_LENGTH: {Anomaly.LENGTH: 240}}.get(named(path), {})
    assert {anomaly: count for anomaly, count in strange.items() if anomaly} == expected
    assert [data.hex() for data in first.values() if not probed(kernel, data)] == []


@pytest.mark.parametrize("other", ALL)
def test_no_payload_of_another_protocol_is_taken_for_one_of_these(other: str) -> None:
    seen = 0
    for path in captures(other)[:25]:
        for payload in payloads(path):
            ports = {payload.flow[1], payload.flow[3]}
            seen += 1
            for protocol, kernel in KERNELS.items():
                if not ports & set(PORTS[protocol]):
                    assert not probed(kernel, payload.data), (protocol, named(path), payload.frame)
            if seen % 2000 == 1999:
                break
    assert seen > 20


def services(fields: dict[str, Any]) -> list[int]:
    """The CIP services of one message, outermost first, as tshark lists them."""
    routed = [0x52] if "cip.route" in fields and fields.get("kind") == "request" else []
    return [*routed, fields["cip.service"], *fields.get("cip.contained.services", [])]


@pytest.mark.parametrize("path", captures("enip"), ids=named)
def test_commands_and_services_of_cip_are_those_of_tshark(path: Path) -> None:
    commands: Counter[int] = Counter()
    cip: Counter[int] = Counter()
    for _frame, _flow, data in spoken(path, "enip"):
        kind = Kind(int(row(enip, data)["kind"]))
        fields = {"kind": kind.name.lower(), **enip.explain(data, kind)}
        if fields["enip.command"] != enip_kernel.IMPLICIT_IO:
            commands[fields["enip.command"]] += 1
        if "cip.service" in fields:
            cip.update(services(fields))
    if named(path) == UNSEEN:
        assert commands == {0x6F: 62, 0x70: 2208}
        assert counted(path, "enip.command") == {}
    else:
        assert commands == counted(path, "enip.command")
        assert cip == counted(path, "cip.sc")


def test_refusals_of_cip_are_those_of_tshark() -> None:
    path = SHARED / "enip" / "iti__EIP-RebootorRestart" / "capture.pcap"
    theirs = Counter(it for _, text in tshark(path, "cip", "cip.genstat") for it in numbers(text) if it)
    told = [enip.explain(data, Kind.NONE) for _, _, data in spoken(path, "enip")]
    ours = Counter(it for f in told for it in (f.get("cip.status", 0), *f.get("cip.contained.statuses", ())) if it)
    assert ours == theirs
    assert ours


def test_objects_of_every_request_are_those_of_zeek() -> None:
    path = SHARED / "enip" / "icsnpp-enip__enip_cip_example" / "capture.pcap"
    theirs = Counter((it[13], it[19], it[21]) for it in zeek(path, "cip") if it[12] == "request")
    ours: Counter[Any] = Counter()
    for _frame, _flow, data in spoken(path, "enip"):
        fields = enip.explain(data, Kind.NONE)
        if "cip.service" in fields and "cip.status" not in fields:
            several = fields.get("cip.contained.paths", [])
            ours[
                (f"0x{fields['cip.service']:02x}", f"0x{fields['cip.class']:02x}", f"0x{fields['cip.instance']:02x}")
            ] += 1
            for service, words in zip(fields.get("cip.contained.services", []), several, strict=True):
                _, class_id, _, instance = words.split()[:4]
                ours[(f"0x{service:02x}", class_id.lower(), f"0x{int(instance):02x}")] += 1
    assert sum(theirs.values()) > 500
    assert ours == theirs


def test_identity_and_implicit_io_are_those_of_zeek() -> None:
    path = SHARED / "enip" / "icsnpp-enip__enip_cip_example" / "capture.pcap"
    (listed,) = zeek(path, "cip_identity")
    told = [enip.explain(data, Kind.NONE) for _, _, data in spoken(path, "enip")]
    (identity,) = [fields for fields in told if "enip.identity.vendor" in fields]
    assert identity["enip.identity.address"] == listed[12]
    assert identity["enip.identity.vendor"] == listed[15]
    assert (str(identity["enip.identity.product_code"]), identity["enip.identity.revision"]) == (listed[18], listed[19])
    assert int(identity["enip.identity.serial_number"], 16) == int(listed[21], 16)
    assert identity["enip.identity.product_name"] == listed[22]
    io = Counter(
        (fields["enip.connection_id"], fields["enip.io.sequence"]) for fields in told if "enip.io.sequence" in fields
    )
    assert io == Counter((int(it[11], 16), int(it[12])) for it in zeek(path, "cip_io"))


def test_an_attack_on_a_controller_is_told_step_by_step() -> None:
    path = SHARED / "enip" / "iti__EIP-RebootorRestart" / "capture.pcap"
    asked = [
        enip.explain(data, Kind.NONE) for _, _, data in spoken(path, "enip") if row(enip, data)["kind"] == Kind.REQUEST
    ]
    steps = [fields["event.action"] for fields in asked if fields["event.action"] in ("stop", "start", "program-down")]
    assert steps[0] == "stop"
    assert steps[-1] == "start"
    assert steps.count("program-down") >= 10
    stop = next(fields for fields in asked if fields["event.action"] == "stop")
    assert (stop["cip.class_name"], stop["cip.service_name"]) == ("controller", "stop")


@pytest.mark.parametrize("path", captures("opcua"), ids=named)
def test_services_of_opcua_are_those_of_tshark(path: Path) -> None:
    told = [opcua.explain(data, Kind.NONE) for _, _, data in spoken(path, "opcua")]
    ours = Counter(fields["opcua.type_id"] for fields in told if "opcua.type_id" in fields)
    more = {CREATED_SESSION: 1} if named(path) in ACKNOWLEDGED_EARLY else {}
    assert ours == counted(path, "opcua.servicenodeid.numeric") + Counter(more)
    assert all(fields["opcua.readable"] for fields in told if "opcua.readable" in fields) != (
        "encrypted" in named(path)
    )


@pytest.mark.parametrize("case", ["client-server_mainloop", "client-server_mainloop-no-handshake"])
def test_services_of_opcua_are_those_of_zeek(case: str) -> None:
    path = SHARED / "opcua" / f"icsnpp-opcua-binary__open62541_{case}" / "capture.pcap"
    told = [opcua.explain(data, Kind.NONE) for _, _, data in spoken(path, "opcua")]
    ours = Counter(fields["opcua.type_id"] for fields in told if "opcua.type_id" in fields)
    theirs: Counter[int] = Counter()
    for line in zeek(path, "opcua_binary"):  # a line holds a request and its response, each with number and name
        theirs.update(int(a) for a, b in pairwise(line) if b.endswith(("Request", "Response", "ServiceFault")))
    assert ours == theirs


@pytest.mark.parametrize("path", captures("bacnet"), ids=named)
def test_services_of_bacnet_are_those_of_tshark(path: Path) -> None:
    told = [bacnet.explain(data, Kind.NONE) for _, _, data in spoken(path, "bacnet")]
    kinds = Counter(fields["bacnet.apdu_type"] for fields in told if "bacnet.apdu_type" in fields)
    assert kinds == counted(path, "bacapp.type")
    for field in ("bacapp.confirmed_service", "bacapp.unconfirmed_service"):
        unconfirmed = "unconfirmed" in field
        ours = Counter(
            fields["bacnet.service"]
            for fields in told
            if "bacnet.service" in fields and (fields["bacnet.apdu_type"] == bt.UNCONFIRMED_REQUEST) == unconfirmed
        )
        assert ours == counted(path, field)


def test_objects_and_invoke_ids_of_bacnet_are_those_of_tshark() -> None:
    path = SHARED / "bacnet" / MALFORMED / "capture.pcap"
    rows = tshark(path, "bacapp", "bacapp.invoke_id", "bacapp.objectType", "bacapp.instance_number")
    theirs = {int(frame): (numbers(a), list(zip(numbers(b), numbers(c), strict=True))) for frame, a, b, c in rows}
    compared = 0
    for frame, _flow, data in spoken(path, "bacnet"):
        told = bacnet.explain(data, Kind.NONE)
        invoke_ids, objects = theirs[frame]
        assert told.get("bacnet.invoke_id") == (invoke_ids[0] if invoke_ids else None)
        if "bacnet.object_instance" in told:
            compared += 1
            assert (told["bacnet.object_type"], told["bacnet.object_instance"]) in objects
    assert compared >= 15


def test_properties_and_values_of_bacnet_are_those_of_zeek() -> None:
    path = SHARED / "bacnet" / "icsnpp-bacnet__bacnet_example" / "capture.pcap"
    theirs = Counter(
        (int(it[11]), it[13], it[14], it[15]) for it in zeek(path, "bacnet_property") if "read-property" in it[12]
    )
    ours: Counter[Any] = Counter()
    for _frame, _flow, data in spoken(path, "bacnet"):
        told = bacnet.explain(data, Kind.NONE)
        if told.get("bacnet.service_name") == "readProperty" and "bacnet.object" in told:
            kind, instance = told["bacnet.object"].split(",")
            ours[(told["bacnet.invoke_id"], kind, instance, told["bacnet.property_name"])] += 1
    assert sum(theirs.values()) > 2000
    assert ours == theirs
