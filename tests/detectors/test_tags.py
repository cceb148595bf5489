"""Tags: values outside engineering limits are named with tag, value, limit and writer; wrong lines are left out."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.findings import DNP3, S7, Plant, of, the

from detectors.content import ContentError
from detectors.finding import Finding, Severity
from detectors.pipeline import Options
from detectors.tags.file import load_tags
from pcaps.messages import dnp3, modbus, s7comm

HMI, ROGUE, PLC = "10.1.0.5", "10.1.0.66", "10.1.0.20"
HEADER = "device,unit,point,type,scale,low,high,rate,name\n"


def found(plant: Plant, path: Path, *lines: str, size: int | None = None) -> list[Finding]:
    (path / "tags.csv").write_text(HEADER + "\n".join(lines) + "\n", "utf-8")
    tags, errors = load_tags(path / "tags.csv")
    assert errors == []
    return [it for it in plant.findings(size, Options(tags=tags)) if it.rule_id.startswith(("tag.", "detector."))]


def poll(plant: Plant, values: Sequence[int], address: int = 100, function: int = 3) -> None:
    request = modbus.adu(1, 1, modbus.read(function, address, len(values)))
    plant.exchange(HMI, PLC, request, modbus.adu(1, 1, modbus.registers(function, values)))
    plant.wait(1)


def words(value: float) -> list[int]:
    return list(struct.unpack(">HH", struct.pack(">f", value)))


def write(plant: Plant, values: Sequence[int], address: int = 100, source: str = HMI) -> None:
    request = modbus.adu(2, 1, modbus.write_registers(address, values))
    plant.exchange(source, PLC, request, modbus.adu(2, 1, modbus.wrote_registers(address, len(values))))
    plant.wait(1)


BOILER = f"{PLC},1,hr:100,float32,1,0,350,,boiler temperature"


@pytest.mark.parametrize("size", [None, 3])
def test_a_write_above_the_limit_names_tag_value_limit_and_writer(tmp_path: Path, size: int | None) -> None:
    plant = Plant()
    for value in (20.5, 349.0, 350.0):
        poll(plant, words(value))
        write(plant, words(value))
    write(plant, words(400.0), source=ROGUE)
    (it,) = found(plant, tmp_path, BOILER, size=size)
    assert (it.rule_id, it.severity, it.source_ip, it.destination_ip, it.station) == (
        "tag.limit-written", Severity.HIGH, ROGUE, PLC, 1,
    )  # fmt: skip
    assert f'{ROGUE} wrote 400 to "boiler temperature" (hr:100)' in it.explanation.en
    assert "low 0, high 350" in it.explanation.en
    assert "“boiler temperature”（hr:100）写入 400" in it.explanation.zh
    assert it.fields == {"tag.name": "boiler temperature"}
    assert len(it.evidence.frames) == 1


@pytest.mark.parametrize("size", [None, 3])
def test_a_value_read_outside_its_limits_is_counted(tmp_path: Path, size: int | None) -> None:
    plant = Plant()
    for value in (349.0, 351.0, 352.5, 100.0):
        poll(plant, [7, *words(value), 9], address=99)
    it = the(found(plant, tmp_path, BOILER, size=size), "tag.limit-read")
    assert (it.count, it.severity) == (2, Severity.MEDIUM)
    assert "reads 351, 352.5" in it.explanation.en


@pytest.mark.parametrize(
    ("kind", "registers", "value"),
    [
        ("uint16", [65000], 65000.0),
        ("int16", [0xFFF6], -10.0),
        ("uint32", [1, 2], 65538.0),
        ("int32", [0xFFFF, 0xFFFE], -2.0),
        ("uint32:cdab", [2, 1], 65538.0),
        ("float32:cdab", words(12.5)[::-1], 12.5),
        ("uint16:badc", [0x0100], 1.0),
        ("float32:dcba", list(struct.unpack(">HH", struct.pack("<f", 12.5))), 12.5),
    ],
)
def test_types_and_orders_of_octets(tmp_path: Path, kind: str, registers: list[int], value: float) -> None:
    plant = Plant()
    poll(plant, [1, *registers, 1], address=99)
    (it,) = found(plant, tmp_path, f"{PLC},,hr:100,{kind},0.1,1000000,,,x")
    assert f"reads {value / 10:.6g}, outside" in it.explanation.en


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
def test_exactly_the_values_outside_are_counted(tmp_path: Path, values: list[float]) -> None:
    plant = Plant()
    for value in values:
        poll(plant, words(value))
    outside = sum(not 0 <= np.float32(value) <= 350 for value in values)
    assert sum(it.count for it in found(plant, tmp_path, BOILER)) == outside


def test_coils_inputs_and_single_writes(tmp_path: Path) -> None:
    plant = Plant()
    request = modbus.adu(1, 1, modbus.read(1, 8, 10))
    plant.exchange(HMI, PLC, request, modbus.adu(1, 1, modbus.bits(1, [False] * 9 + [True])))
    coil = modbus.adu(2, 1, modbus.write_coil(17, True))
    plant.exchange(ROGUE, PLC, coil, coil)
    single = modbus.adu(3, 1, modbus.write_register(40, 900))
    plant.exchange(HMI, PLC, single, single)
    lines = found(plant, tmp_path, f"{PLC},,coil:17,bool,,0,0,,bypass", f"{PLC},1,40,uint16,,,800,,speed")
    assert [(it.rule_id, it.source_ip, it.fields["tag.name"]) for it in lines] == [
        ("tag.limit-read", HMI, "bypass"), ("tag.limit-written", ROGUE, "bypass"), ("tag.limit-written", HMI, "speed"),
    ]  # fmt: skip


def test_other_units_addresses_and_half_values_are_left_alone(tmp_path: Path) -> None:
    plant = Plant()
    poll(plant, [0xFFFF], address=100)  # half of a 32-bit value
    poll(plant, [0xFFFF, 0xFFFF], address=102)
    poll(plant, words(999.0), function=4)
    assert found(plant, tmp_path, BOILER, f"{PLC},9,hr:102,uint16,,0,1,,other unit") == []


def test_a_jump_is_claimed_and_a_ramp_is_not(tmp_path: Path) -> None:
    plant = Plant()
    for value in (100.0, 105.0, 111.0, 200.0, 204.0):
        poll(plant, words(value))
    it = the(found(plant, tmp_path, f"{PLC},1,hr:100,float32,1,,,10,boiler", size=3), "tag.rate")
    assert it.count == 1
    assert "to 200 (at most 10 a second)" in it.explanation.en


def variables(plant: Plant, *items: tuple[int, int, int, bytes]) -> None:
    plant.exchange(
        HMI, PLC, s7comm.job(3, s7comm.read_var(*((area, db, at, len(data)) for area, db, at, data in items))),
        s7comm.ack_data(3, bytes([4, len(items)]), s7comm.read_var_data(*(data for *_, data in items))), S7,
    )  # fmt: skip


def test_s7_values_are_found_in_any_item(tmp_path: Path) -> None:
    plant = Plant()
    for force in (50.0, 81.5):
        data = bytes(2) + struct.pack(">f", force) + b"\x08\x00\x01"
        variables(plant, (0x84, 1, 0, bytes(3)), (0x84, 5, 10, data))
        plant.wait(1)
    lines = found(
        plant, tmp_path, f"{PLC},,DB5.DBD12,float32,,0,80,,press force", f"{PLC},,DB5.DBX16.3,,,0,0,,guard open"
    )
    assert [(it.fields["tag.name"], it.count) for it in lines] == [("guard open", 2), ("press force", 1)]
    assert "reads 81.5, outside" in of(lines, "tag.limit-read")[1].explanation.en


def test_an_s7_write_is_compared(tmp_path: Path) -> None:
    plant = Plant()
    parameter, data = s7comm.write_var(0x84, 5, 12, struct.pack(">f", 99.0))
    plant.exchange(ROGUE, PLC, s7comm.job(4, parameter, data), s7comm.ack_data(4, b"\x05\x01", b"\xff"), S7)
    it = the(found(plant, tmp_path, f"{PLC},,DB5.DBD12,float32,,0,80,,press force"), "tag.limit-written")
    assert (it.source_ip, it.count) == (ROGUE, 1)


def test_an_answer_with_another_layout_is_not_misread(tmp_path: Path) -> None:
    plant = Plant()
    items = ((0x84, 1, 0, 4), (0x84, 5, 12, 4))
    request = s7comm.job(3, s7comm.read_var(*items))
    good = s7comm.read_var_data(b"\xff" * 4, struct.pack(">f", 10.0))
    bad = b"\x0a\x00\x00\x00" + s7comm.read_var_data(struct.pack(">f", 10.0)) + b"\xff\x04\x00\x20"
    for data in (good, bad, good):
        plant.exchange(HMI, PLC, request, s7comm.ack_data(3, b"\x04\x02", data), S7)
        plant.wait(1)
    assert {it.rule_id for it in found(plant, tmp_path, f"{PLC},,DB5.DBD12,float32,,0,80,,force")} <= {"tag.unread"}


def test_dnp3_points_read_and_commanded(tmp_path: Path) -> None:
    plant = Plant()
    master, outstation = dnp3.Station(1, 4, master=True), dnp3.Station(4, 1, master=False)
    plant.exchange(HMI, PLC, master.send(dnp3.request(1, 1, dnp3.all_objects((60, 1)))),
                   outstation.send(dnp3.response(1, dnp3.analog_inputs([5, 7, 130]))), DNP3)  # fmt: skip
    plant.exchange(HMI, PLC, master.send(dnp3.request(2, 5, dnp3.crob(3, 1))),
                   outstation.send(dnp3.response(2, dnp3.crob(3, 1))), DNP3)  # fmt: skip
    lines = found(plant, tmp_path, f"{PLC},4,ai:2,,,0,120,,feeder current", f"{PLC},4,bo:3,,,0,0,,earthing switch",
                  f"{PLC},9,ai:2,,,0,1,,other outstation")  # fmt: skip
    assert {(it.rule_id, it.fields["tag.name"]) for it in lines} == {
        ("tag.limit-read", "feeder current"), ("tag.limit-written", "earthing switch"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("plc,1,hr:1,uint16,,,,,x", "device 'plc' is not an address"),
        ("10.1.0.20,x,hr:1,uint16,,,,,x", "unit 'x' is not a number"),
        ("10.1.0.20,1,hr:1,double,,,,,x", "type 'double' is none of"),
        ("10.1.0.20,1,hr:1,uint16,,9,3,,x", "low 9 is above high 3"),
        ("10.1.0.20,1,hr:99999,uint16,,,,,x", "is above 65535"),
        ("10.1.0.20,1,DB5.DBD4,uint16,,,,,x", "has 32 bits, uint16 has 16"),
        ("10.1.0.20,1,somewhere,uint16,,,,,x", "point 'somewhere' is none of"),
        ("10.1.0.20,1,hr:1,uint16,0,,,,x", "scale must not be 0"),
        ("10.1.0.20,1,hr:1,uint16,,nan,,,x", "low 'nan' is not a finite number"),
        ("10.1.0.20,1,hr:1,uint16,,,,-1,x", "rate must be above 0"),
        ("10.1.0.20,1,coil:1,uint16,,,,,x", "cannot be of type uint16"),
        ("10.1.0.20,1,hr:1,uint16,,,,,x,y", "has 10 columns, the header has 9"),
    ],
)
def test_a_wrong_line_is_named_and_the_rest_stays_in_force(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "tags.csv"
    path.write_text(f"{HEADER}{BOILER}\n{line}\n10.1.0.20,,ir:7,,,,,,\n", "utf-8")
    tags, (error,) = load_tags(path)
    assert [tag.name for tag in tags] == ["boiler temperature", "ir:7"]
    assert f"tags.csv:3: {why}" in str(error) or why in str(error)
    assert "tags.csv:3:" in str(error)


@pytest.mark.parametrize("text", ["", "device,what\n", "device,type\n", "device,point,device\n"])
def test_a_file_without_a_sound_header_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "tags.csv").write_text(text)
    with pytest.raises(ContentError, match=r"tags\.csv:1: "):
        load_tags(tmp_path / "tags.csv")


@given(st.text(max_size=200))
@example("10.0.0.1")  # a line that ends before its point
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80, deadline=None)
def test_any_text_gives_tags_or_an_error_with_its_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.csv"
    path.write_text(HEADER + text, "utf-8", newline="")
    try:
        _, errors = load_tags(path)
    except ContentError as error:
        errors = [error]
    assert all("any.csv" in str(error) for error in errors)
