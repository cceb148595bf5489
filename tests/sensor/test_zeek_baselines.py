"""Zeek's baselines beside its captures: what its Modbus, DNP3, S7comm and COTP analysers logged, our events say too.

Each log becomes a multiset of facts, and so do our events; what is left on either side must be a difference that
docs/differences.md explains. Logs of Zeek's base scripts and of CISA's ICSNPP parsers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensor.capture.source import open_capture
from sensor.decode import link
from sensor.decode.decoder import Decoder
from sensor.decode.state import PACKET
from sensor.protocols import cotp

SHARED = Path(__file__).parents[3] / "shared" / "captures"

pytestmark = [
    pytest.mark.captures,
    pytest.mark.skipif(not SHARED.is_dir(), reason="the shared captures are not beside this repository"),
]

Line = dict[str, str]
Facts = Counter[tuple[Any, ...]]


@cache
def events(case: str) -> tuple[dict[str, Any], ...]:
    """All PDUs of a capture at full depth."""
    decoder = Decoder()
    batches = decoder.decode(open_capture(SHARED / case / "capture.pcap"))
    return tuple(decoder.view.fields(batch, row) for batch in batches for row in range(batch.size))


def log(case: str, name: str, columns: str = "") -> Iterator[Line]:
    """Lines of a Zeek log by column; unset columns are absent. columns: of a log that lost its header."""
    (path,) = (SHARED / case).glob(f"zeek*baseline/{name}")
    names = columns.split()
    for line in path.read_text().splitlines():
        if line.startswith("#fields"):
            names = line.split("\t")[1:]
        elif line and not line.startswith("#"):
            yield {key: value for key, value in zip(names, line.split("\t"), strict=True) if value != "-"}


def left(zeek: Iterable[tuple[Any, ...]], ours: Iterable[tuple[Any, ...]]) -> tuple[Facts, Facts]:
    """What only Zeek has and what only we have; both sides must have said something."""
    theirs, mine = Counter(zeek), Counter(ours)
    assert theirs
    assert mine
    return theirs - mine, mine - theirs


NOTHING: tuple[Facts, Facts] = (Counter(), Counter())


# ---- Modbus ----

ZEEK_NAMES = {"report_slave_id": "report_server_id", "encap_interface_transport": "encapsulated_interface_transport"}


def function_name(zeek: str) -> str:
    return ZEEK_NAMES.get(zeek.lower(), zeek.lower())


def exception(event: dict[str, Any]) -> str | None:
    return event["modbus.exception"].upper() if "modbus.exception" in event else None


def numbers(listed: str | None) -> tuple[int, ...]:
    return tuple(map(int, listed.split(","))) if listed else ()


def test_modbus_functions_and_exceptions_are_those_of_icsnpp():
    case = "modbus/icsnpp-modbus__modbus_example"
    columns = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p func exception"
    zeek = [
        (function_name(it["func"].removesuffix("_EXCEPTION")), it.get("exception"))
        for it in log(case, "modbus.log", columns)
    ]
    ours = [
        (event["modbus.function"], exception(event))
        for event in events(case)
        if event["event.kind"] == "response" or "anomalies" in event
    ]
    # That old log has a line for each message of some functions and one for each pair of others: names and exceptions.
    assert left(set(zeek), set(ours)) == NOTHING


def test_modbus_addresses_quantities_values_and_exceptions_are_those_of_icsnpp():
    case = "modbus/icsnpp-modbus__modbus_example"
    asked, answered = {}, {}
    for event in events(case):
        side = asked if event["event.kind"] == "request" else answered
        side[event["source.port"] + event["destination.port"], event["modbus.transaction_id"]] = event
    zeek, ours = [], []
    for it in log(case, "modbus_detailed.log"):
        key = int(it["id.orig_p"]) + int(it["id.resp_p"]), int(it["tid"])
        request, response = asked[key], answered[key]
        zeek.append((key, int(it["unit"]), function_name(it["func"]), it.get("exception_code")))
        ours.append((key, request["modbus.unit_id"], request["modbus.function"], exception(response)))
        for name, of in (("address", request), ("quantity", request)):
            if f"modbus.{name}" in of and name in it and it["func"] != "READ_FIFO_QUEUE":
                zeek.append((key, name, int(it[name])))
                ours.append((key, name, of[f"modbus.{name}"]))
        if "request_values" in it:
            zeek.append((key, "written", *numbers(it["request_values"])))
            ours.append((key, "written", *request["modbus.values"]))
        if "response_values" in it:
            zeek.append((key, "read", *numbers(it["response_values"])))
            ours.append((key, "read", *response["modbus.values"]))
    assert left(zeek, ours) == NOTHING
    assert len(zeek) > 60


def test_masks_and_registers_that_are_read_and_written_at_once_are_those_of_icsnpp():
    case = "modbus/icsnpp-modbus__modbus_example"
    zeek: list[tuple[Any, ...]] = []
    for it in log(case, "modbus_mask_write_register.log"):
        kind = it["request_response"].lower()
        zeek.append((kind, *(int(it[name]) for name in ("tid", "unit", "address", "and_mask", "or_mask"))))
    for it in log(case, "modbus_read_write_multiple_registers.log"):
        kind = it["request_response"].lower()
        places = [it.get(name) for name in ("write_start_address", "read_start_address", "read_quantity")]
        values = numbers(it["write_registers" if kind == "request" else "read_registers"])
        zeek.append((kind, int(it["tid"]), int(it["unit"]), *(int(place) for place in places if place), values))
    ours = []
    for event in events(case):
        head = event["event.kind"], event["modbus.transaction_id"], event["modbus.unit_id"]
        if event["modbus.function_code"] == 22:
            ours.append((*head, *(event[f"modbus.{name}"] for name in ("address", "and_mask", "or_mask"))))
        elif event["modbus.function_code"] == 23:
            names = ("modbus.write.address", "modbus.read.address", "modbus.read.quantity")
            ours.append((*head, *(event[name] for name in names if name in event), tuple(event["modbus.values"])))
    assert left(zeek, ours) == NOTHING


def test_fuzzed_modbus_is_read_as_zeek_reads_it_where_both_read():
    case = "modbus/zeek__fuzz-72"
    zeek: list[tuple[Any, ...]] = []
    for it in log(case, "modbus.log"):
        code = int(it["func"].removeprefix("unknown-"))
        kind = "request" if it["pdu_type"] == "REQ" else "response"
        zeek.append((int(it["tid"]), int(it["unit"]), code & 0x7F, kind, it.get("exception")))
    ours = [
        (
            event["modbus.transaction_id"], event["modbus.unit_id"], event["modbus.function_code"],
            event["event.kind"], exception(event),
        )
        for event in events(case)
    ]  # fmt: skip
    missing, extra = left(zeek, ours)
    assert missing <= FUZZED_ONLY_ZEEK
    assert extra <= FUZZED_ONLY_OURS
    assert len(set(zeek) & set(ours)) >= 14


def test_modbus_messages_and_coils_are_those_of_zeeks_events():
    case = "modbus/zeek__modbusSmall"
    (path,) = (SHARED / case).glob("zeek-baseline/output.txt")
    zeek: list[tuple[Any, ...]] = []
    for line in path.read_text().splitlines():
        if "modbus_message" in line:
            tid, _, unit, code, length = (int(n) for n in re.findall(r"(?:tid|pid|uid|function_code|len)=(\d+)", line))
            zeek.append((tid, unit, code, length, line.endswith("T")))
    ours = [
        (
            event["modbus.transaction_id"], event["modbus.unit_id"], event["modbus.function_code"],
            size(event), event["event.kind"] == "request",
        )
        for event in events(case)
    ]  # fmt: skip
    assert left(zeek, ours) == NOTHING


def size(event: dict[str, Any]) -> int:
    """Bytes behind the function code and the header, in Zeek's manner of counting, of functions 1 and 15."""
    if event["event.kind"] == "request":
        return 6 if event["modbus.function_code"] == 1 else 7 + event["modbus.byte_count"]
    return 3 + event["modbus.byte_count"] if event["modbus.function_code"] == 1 else 6


# ---- DNP3 ----

DNP3_CASES = [
    "zeek__dnp3", "zeek__dnp3_del_measure", "zeek__dnp3_en_spon", "zeek__dnp3_file_read", "zeek__dnp3_read",
    "zeek__dnp3_select_operate", "zeek__dnp3_udp_read", "zeek__dnp3_udp_write", "icsnpp-dnp3__dnp3_example",
]  # fmt: skip
EVENT_CASES = DNP3_CASES[:-1]


def fragments(case: str) -> list[dict[str, Any]]:
    """Events with an application fragment; Zeek says nothing of link frames without one in these logs."""
    return [event for event in events(f"dnp3/{case}") if "dnp3.function_code" in event]


def from_master(event: dict[str, Any]) -> bool:
    return event["dnp3.function_code"] < 129


def ends(event: dict[str, Any]) -> tuple[Any, ...]:
    """Both ends of the connection in one order, whoever speaks."""
    one = event["source.ip"], event["source.port"]
    other = event["destination.ip"], event["destination.port"]
    return (one, other) if one < other else (other, one)


@pytest.mark.parametrize("case", DNP3_CASES)
def test_dnp3_functions_and_indications_are_those_of_zeek(case):
    zeek = []
    for it in log(f"dnp3/{case}", "dnp3.log"):
        one, other = ((it[f"id.{end}_h"], int(it[f"id.{end}_p"])) for end in ("orig", "resp"))
        key = (one, other) if one < other else (other, one)
        said = [it[name].lower() if name in it else None for name in ("fc_request", "fc_reply")]
        zeek.append((key, *said, int(it["iin"]) if "iin" in it else None))
    ours: list[tuple[Any, ...]] = []
    open_requests: dict[tuple[Any, ...], str] = {}
    for event in fragments(case):  # a line for each response, with the last request before it, as the script does
        key = ends(event)
        if from_master(event):
            open_requests[key] = event["dnp3.function"]
        else:
            ours.append((key, open_requests.pop(key, None), event["dnp3.function"], event["dnp3.iin"]))
    ours += [(key, request, None, None) for key, request in open_requests.items()]
    assert left(zeek, ours) == NOTHING


@pytest.mark.parametrize("case", EVENT_CASES)
def test_dnp3_fragments_and_object_headers_are_those_of_zeeks_events(case):
    (path,) = (SHARED / "dnp3" / case).glob("zeek-baseline/output.txt")
    zeek: list[tuple[Any, ...]] = []
    for line in path.read_text().splitlines():
        name, *values = line.split(", ")
        if name in ("dnp3_application_request_header", "dnp3_application_response_header"):
            zeek.append(("fragment", *map(int, values[1:])))
        elif name == "dnp3_object_header":
            kind = int(values[1])
            zeek.append(("object", values[0] == "T", f"g{kind >> 8}v{kind & 0xFF}", int(values[2])))
        elif name == "dnp3_crob":
            code, count, on_ms, off_ms, status = map(int, values[1:])
            zeek.append(("control", code, count, on_ms, off_ms, status))
    ours: list[tuple[Any, ...]] = []
    for event in fragments(case):
        bits = (("fir", 0x80), ("fin", 0x40), ("con", 0x20), ("uns", 0x10))
        control = event["dnp3.sequence"] + sum(bit for name, bit in bits if event[f"dnp3.control.{name}"])
        status = [event["dnp3.iin"]] if "dnp3.iin" in event else []
        ours.append(("fragment", control, event["dnp3.function_code"], *status))
        for name, described in zip(event.get("dnp3.objects", ()), event.get("dnp3.object_headers", ()), strict=True):
            ours.append(("object", from_master(event), name, int(described[-2:], 16)))
        ours += [("control", *control_block(point)) for point in event.get("dnp3.points", ()) if "g12v1" in point]
    assert left(zeek, ours) == NOTHING


CONTROL_CODES = {"nul": 0, "pulse_on": 1, "pulse_off": 2, "latch_on": 3, "latch_off": 4}


def control_block(point: str) -> tuple[int, ...]:
    """(code, count, on, off, status) of a control block as `dnp3.points` shows it."""
    shown = re.search(r"code (\w+) ?(close|trip)?, count (\d+), on (\d+) ms, off (\d+) ms(?:, (\w+))?$", point)
    assert shown, point
    operation, way, count, on_ms, off_ms, status = shown.groups()
    code = CONTROL_CODES[operation] | {None: 0, "close": 0x40, "trip": 0x80}[way]
    return code, int(count), int(on_ms), int(off_ms), {None: 0, "success": 0, "not_supported": 4}[status]


def test_control_blocks_are_those_of_icsnpp():
    case = "icsnpp-dnp3__dnp3_example"
    zeek = []
    for it in log(f"dnp3/{case}", "dnp3_control.log"):
        operation = it["operation_type"].lower().replace(" ", "_")
        code = CONTROL_CODES[operation] | {"Close": 0x40, "Trip": 0x80}[it["trip_control_code"]]
        assert it["clear_bit"] == "F"
        times = (int(it["execute_count"]), int(it["on_time"]), int(it["off_time"]))
        zeek.append((it["function_code"].lower(), int(it["index_number"]), code, *times))
    ours = []
    for event in fragments(case):
        for point in event.get("dnp3.points", ()):
            if shown := re.match(r"g12v1 point (\d+):", point):
                ours.append((event["dnp3.function"], int(shown[1]), *control_block(point)[:-1]))
    assert left(zeek, ours) == NOTHING


OBJECTS = {
    "Class 0 Data": "g60v1", "Class 1 Data": "g60v2", "Class 2 Data": "g60v3", "Class 3 Data": "g60v4",
    "Binary Input With Status": "g1v2", "Binary Output Status": "g10v2", "16-Bit Analog Input": "g30v2",
    "16-Bit Analog Output Status": "g40v2",
}  # fmt: skip


def test_object_headers_and_their_ranges_are_those_of_icsnpp():
    case = "icsnpp-dnp3__dnp3_example"
    zeek = []
    for it in log(f"dnp3/{case}", "dnp3_objects.log"):
        extent = (int(it["range_low"]), int(it["range_high"])) if "range_low" in it else None
        zeek.append((it["function_code"].lower(), OBJECTS[it["object_type"]], extent))
    ours = []
    for event in fragments(case):
        for name, described in zip(event.get("dnp3.objects", ()), event.get("dnp3.object_headers", ()), strict=True):
            extent = re.search(r"points (\d+) to (\d+)", described)
            if name in OBJECTS.values():
                ours.append((event["dnp3.function"], name, (int(extent[1]), int(extent[2])) if extent else None))
    assert left(zeek, ours) == NOTHING


# ---- S7comm and COTP ----

S7_CASES = ["s7comm/icsnpp-s7comm__snap7", "s7comm/icsnpp-s7comm__s7ident", "s7comm-plus/icsnpp-s7comm__s7comm_plus"]


def reference(event: dict[str, Any]) -> int:
    """The PDU reference in the order of octets in which ICSNPP reads it, the low one first."""
    number = event["s7comm.pdu_reference"]
    return number >> 8 | (number & 0xFF) << 8


def s7_events(case: str) -> list[dict[str, Any]]:
    return [event for event in events(case) if event["network.protocol"] == "s7comm"]


@pytest.mark.parametrize("case", S7_CASES)
def test_s7_functions_groups_and_errors_are_those_of_icsnpp(case):
    zeek = []
    for it in log(case, "s7comm.log"):
        code = int(it["function_code"], 16) if "function_code" in it else None
        sub = it.get("subfunction_code")
        error = int(it["error_code"], 16) if "error_code" in it else None
        zeek.append((int(it["rosctr_code"]), int(it["pdu_reference"]), code, sub, error, int(it["source_p"])))
    ours = []
    types = {"indication": 0, "request": 0x40, "response": 0x80}
    for event in s7_events(case):
        code = event.get("s7comm.function")
        sub = event["s7comm.service"] if code == 0x28 and "s7comm.service" in event else None
        error = event.get("s7comm.error_code")
        if event["s7comm.rosctr"] == 7:
            code = types[event["s7comm.userdata.type"]] | event["s7comm.userdata.group"]
            sub = f"0x{event['s7comm.userdata.subfunction']:02x}"
            error = event.get("s7comm.error_number")
        ours.append((event["s7comm.rosctr"], reference(event), code, sub, error, event["source.port"]))
    assert left(zeek, ours) == KNOWN_S7.get(case, NOTHING)


def test_system_status_lists_are_those_of_icsnpp():
    case = S7_CASES[0]
    zeek = []
    for it in log(case, "s7comm_read_szl.log"):
        place = int(it["szl_id"], 16), int(it["szl_index"], 16)
        zeek.append((it["method"].lower(), int(it["pdu_reference"]), *place, it["return_code"]))
    ours = [
        (
            event["event.kind"], reference(event), event["s7comm.szl.id"], event["s7comm.szl.index"],
            f"0x{event['s7comm.userdata.return_code']:02x}",
        )
        for event in s7_events(case)
        if "s7comm.szl.id" in event
    ]  # fmt: skip
    assert left(zeek, ours) == KNOWN_SZL


def test_uploads_are_those_of_icsnpp():
    case = S7_CASES[0]
    systems = {"Active": "active", "Passive": "passive"}
    zeek = []
    for it in log(case, "s7comm_upload_download.log"):
        number = int(it["block_number"]) if "block_number" in it else None
        system = systems[it["destination_filesystem"]] if "destination_filesystem" in it else None
        function = it["function_name"].lower().replace(" ", "_")
        zeek.append((it["rosctr"], int(it["pdu_reference"]), function, it.get("filename"), number, system))
    ours = []
    roles = {1: "Job-Request", 3: "ACK-Data"}
    for event in s7_events(case):
        if 0x1A <= event.get("s7comm.function", 0) <= 0x1F:
            names = ("s7comm.function_name", "s7comm.block_name", "s7comm.block_number", "s7comm.file_system")
            ours.append((roles[event["s7comm.rosctr"]], reference(event), *(event.get(name) for name in names)))
    assert left(zeek, ours) == NOTHING


def test_the_identity_of_a_cpu_is_that_of_icsnpp():
    (known,) = log(S7_CASES[1], "s7comm_known_devices.log")
    told: dict[str, Any] = {}
    for event in s7_events(S7_CASES[1]):
        told |= {name: value for name, value in event.items() if name.startswith("s7comm.module.")}
    assert known["automation_system_name"] == told["s7comm.module.plc_name"]
    assert known["module_name"] in (told["s7comm.module.name"], told["s7comm.module.type"])
    assert known["module_serial"] == told["s7comm.module.serial_number"]


@pytest.mark.parametrize("case", S7_CASES)
def test_transport_units_are_those_of_icsnpp(case):
    zeek = [(it["is_orig"] == "T", int(it["pdu_code"], 16) << 4) for it in log(case, "cotp.log")]
    ours = []
    packet = np.zeros(1, PACKET)[0]
    for batch in open_capture(SHARED / case / "capture.pcap"):
        for i in range(batch.size):
            verdict = link.parse(batch.data, batch.offset[i], batch.captured[i], batch.wire[i], batch.link[i], packet)
            at, end = int(packet.at), int(packet.end)
            while verdict == link.OK and 102 in (packet.src_port, packet.dst_port) and at < end:
                size = int(cotp.frame(batch.data, at, end))
                if size < 0 and end - at == 1:  # a keep-alive repeats one octet (RFC 9293, 3.8.4)
                    break
                assert 0 < size <= end - at  # whole units in each segment of these captures
                ours.append((packet.dst_port == 102, int(cotp.data(batch.data, at, at + size)[0])))
                at += size
    assert left(zeek, ours) == NOTHING


# ---- differences, each explained in docs/differences.md ----

# Zeek reads on at once over what the capture lacks; a stream waits for it, and a jump of the sequence ends the wait.
FUZZED_ONLY_ZEEK: Facts = Counter([(0, 0, 38, "request", None)])
FUZZED_ONLY_OURS: Facts = Counter(
    [(0, 1, code, "response", "ILLEGAL_FUNCTION") for code in (54, 58, 59, 66)]
    + [(0, 1, code, "request", None) for code in (34, 43, 46, 47, 50, 52, 64, 70, 71)]
    + [(243, 1, 53, "request", None)]
)
# Acknowledgements without data (ROSCTR 2); the first data unit of an answer of two, and the request for the second.
KNOWN_S7: dict[str, tuple[Facts, Facts]] = {
    S7_CASES[0]: (
        Counter(),
        Counter([(2, 21, None, None, 0x0C, 102), (7, 2, 0x84, "0x01", 0, 102), (7, 3, 0x44, "0x01", None, 51212)]),
    ),
    S7_CASES[1]: (Counter(), Counter((2, number, None, None, 0x41, 102) for number in (6, 7, 8, 9))),
}
# The first data unit of an answer of two.
KNOWN_SZL: tuple[Facts, Facts] = (Counter(), Counter([("response", 2, 0x1C, 0, "0xff")]))
