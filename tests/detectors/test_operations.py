"""Operations found in dialogues: who did what to whom, how often, and what became of it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise

import pytest
from support.findings import DNP3, S7, Plant, of, the

from detectors.finding import Finding, Severity
from detectors.operations import MAX_PROBLEMS
from detectors.pipeline import Pipeline
from pcaps.messages import dnp3, modbus, s7comm
from sensor.capture.frames import FrameBatch

HMI, ENGINEER, PLC, OUTSTATION = "10.1.0.5", "10.1.0.9", "10.1.0.20", "10.1.0.30"
STOP = bytes.fromhex("290000000000") + b"\x09P_PROGRAM"
STOPPED = b"\x29"


def test_a_stop_names_both_ends_and_that_it_was_accepted() -> None:
    plant = Plant()
    plant.exchange(ENGINEER, PLC, s7comm.job(1, STOP), s7comm.ack_data(1, STOPPED), S7)
    found = the(plant.findings(), "operation.s7comm.stop")
    assert (found.source_ip, found.destination_ip, found.destination_port) == (ENGINEER, PLC, 102)
    assert found.severity is Severity.CRITICAL
    assert found.techniques == ("T0858",)
    assert ENGINEER in found.explanation.en
    assert "The device accepted it." in found.explanation.en
    assert "设备接受了该请求。" in found.explanation.zh
    assert found.evidence.frames == (4, 5)
    assert found.evidence.pdus[0]["s7comm.function"] == 0x29


def test_a_refused_stop_says_so() -> None:
    plant = Plant()
    plant.exchange(ENGINEER, PLC, s7comm.job(1, STOP), s7comm.ack_data(1, STOPPED, error=0x8104), S7)
    assert "The device refused." in the(plant.findings(), "operation.s7comm.stop").explanation.en


def test_a_stop_without_answer_says_that_none_was_seen() -> None:
    plant = Plant()
    plant.asks(ENGINEER, PLC, s7comm.job(1, STOP), S7)
    assert "No answer was seen." in the(plant.findings(), "operation.s7comm.stop").explanation.en


def test_the_plc_that_fetches_a_block_is_the_one_that_is_loaded() -> None:
    plant = Plant()
    block = b"_0A00001P"
    plant.exchange(ENGINEER, PLC, s7comm.job(1, s7comm.request_download(block, 100, 80)),
                   s7comm.ack_data(1, b"\x1a"), S7)  # fmt: skip
    parameter, data = s7comm.download_part(b"\x70\x70" + bytes(78), more=False)
    plant.answers(ENGINEER, PLC, s7comm.job(7, s7comm.download_block(block)), S7)
    plant.asks(ENGINEER, PLC, s7comm.ack_data(7, parameter, data), S7)
    plant.answers(ENGINEER, PLC, s7comm.job(8, s7comm.download_ended(block)), S7)
    plant.asks(ENGINEER, PLC, s7comm.ack_data(8, b"\x1c"), S7)
    found = the(plant.findings(), "operation.s7comm.download")
    assert (found.source_ip, found.destination_ip, found.count) == (ENGINEER, PLC, 3)
    assert "DB1" in found.explanation.en
    assert not of(plant.findings(), "writer.new")


def test_passwords_refused_again_and_again_weigh_more() -> None:
    def tried(times: int) -> Severity:
        plant = Plant()
        for n in range(times):
            data = s7comm.encode_password(f"guess{n}")
            plant.exchange(ENGINEER, PLC, s7comm.userdata_request(n, 5, 1, data),
                           s7comm.userdata_response(n, 5, 1, error=0xD602), S7)  # fmt: skip
        return the(plant.findings(), "operation.s7comm.password").severity

    assert tried(1) is Severity.MEDIUM
    assert tried(5) is Severity.HIGH


def write_coil(transaction: int, unit: int) -> bytes:
    return modbus.adu(transaction, unit, modbus.write_coil(3, on=True))


def test_an_ordinary_write_is_informational_and_counted_once_for_each_pair() -> None:
    plant = Plant()
    for n in range(50):
        plant.exchange(HMI, PLC, write_coil(n, 1), write_coil(n, 1))
    found = the(plant.findings(), "operation.modbus.write-coils")
    assert (found.severity, found.count, found.station) == (Severity.INFORMATIONAL, 50, 1)
    assert "Requests: 50; 50 accepted." in found.explanation.en


def test_a_write_to_unit_0_that_nobody_answers_is_a_broadcast() -> None:
    plant = Plant()
    plant.asks(HMI, PLC, write_coil(1, 0))
    found = the(plant.findings(), "operation.modbus.write-coils")
    assert found.severity is Severity.HIGH
    assert "broadcast" in found.explanation.en


def test_a_device_that_answers_as_unit_0_is_an_ordinary_device() -> None:
    plant = Plant()
    plant.exchange(HMI, PLC, write_coil(1, 0), write_coil(1, 0))
    found = the(plant.findings(), "operation.modbus.write-coils")
    assert found.severity is Severity.INFORMATIONAL
    assert "broadcast" not in found.explanation.en


def test_force_listen_only_needs_no_answer_to_be_found() -> None:
    plant = Plant()
    for n in range(3):
        plant.asks(HMI, PLC, modbus.adu(n, 1, modbus.diagnostics(4)))
    found = the(plant.findings(), "operation.modbus.force-listen-only")
    assert (found.severity, found.count, found.techniques) == (Severity.CRITICAL, 3, ("T0814",))
    assert not of(plant.findings(), "command.unanswered")


def test_reads_give_nothing() -> None:
    plant = Plant()
    for n in range(20):
        answer = modbus.adu(n, 1, modbus.registers(3, [n]))
        plant.exchange(HMI, PLC, modbus.adu(n, 1, modbus.read(3, n, 1)), answer)
    assert plant.findings() == []


def test_a_restart_of_every_outstation_at_once_is_critical() -> None:
    plant = Plant()
    master = dnp3.Station(1, 4, master=True)
    plant.asks(HMI, OUTSTATION, master.send(dnp3.request(0, 13)), DNP3)
    plant.asks(HMI, OUTSTATION, master.send(dnp3.request(1, 13), destination=0xFFFF), DNP3)
    single, broadcast = of(plant.findings(), "operation.dnp3.cold-restart")
    assert (single.severity, single.station) == (Severity.HIGH, 4)
    assert (broadcast.severity, broadcast.station) == (Severity.CRITICAL, 0xFFFF)
    assert "broadcast address 65535" in broadcast.explanation.en


def test_a_control_relay_command_is_said_in_words() -> None:
    plant = Plant()
    master = dnp3.Station(1, 4, master=True)
    plant.asks(HMI, OUTSTATION, master.send(dnp3.request(0, 5, dnp3.crob(7, 0x81))), DNP3)
    found = the(plant.findings(), "operation.dnp3.control")
    assert "trip" in found.explanation.en
    assert "7" in found.explanation.en.split("trip")[1][:20]


def test_dnp3_over_udp_is_seen_too() -> None:
    plant = Plant()
    plant.datagram(HMI, OUTSTATION, dnp3.Station(1, 4, master=True).send(dnp3.request(0, 14)))
    assert the(plant.findings(), "operation.dnp3.warm-restart").destination_ip == OUTSTATION


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_counts_and_outcomes_are_the_same_however_the_frames_are_batched(size: int) -> None:
    plant = Plant()
    for n in range(9):
        plant.exchange(HMI, PLC, write_coil(n, 1), write_coil(n, 1))
        plant.wait(0.2)
    plant.exchange(ENGINEER, PLC, s7comm.job(1, STOP), s7comm.ack_data(1, STOPPED), S7)
    whole, parts = plant.findings(), plant.findings(size)
    assert [(it.fingerprint, it.count, it.explanation, it.severity) for it in parts] == [
        (it.fingerprint, it.count, it.explanation, it.severity) for it in whole
    ]
    assert [it.evidence.frames for it in parts] == [it.evidence.frames for it in whole]


def test_records_of_one_problem_carry_additional_counts_and_come_at_growing_pauses() -> None:
    plant = Plant()
    for n in range(600):
        plant.exchange(HMI, PLC, write_coil(n, 1), write_coil(n, 1))
        plant.wait(1)
    records = of(plant.records(size=4), "operation.modbus.write-coils")
    assert len({record.fingerprint for record in records}) == 1
    assert sum(record.count for record in records) == 600
    assert 3 < len(records) < 12
    gaps = [b.first_ns - a.first_ns for a, b in pairwise(records)]
    assert gaps[1:-1] == sorted(gaps[1:-1])


def test_a_flood_of_addresses_is_bounded_and_counted_to_the_last() -> None:
    plant = Plant()
    total = MAX_PROBLEMS + 300
    for n in range(total):
        source = f"10.{2 + n // 60000}.{n // 250 % 240}.{1 + n % 250}"
        plant.datagram(source, OUTSTATION, dnp3.Station(1, 4, master=True).send(dnp3.request(0, 13)))
    found = [it for it in plant.findings() if it.rule_id == "operation.dnp3.cold-restart"]
    assert len(found) == MAX_PROBLEMS + 1
    assert sum(it.count for it in found) == total
    (rest,) = (it for it in found if not it.source_ip)
    assert rest.count == 300


@pytest.mark.parametrize("size", [100, 10_000])
def test_a_flood_of_distinct_requests_is_one_problem_counted_to_the_last(size: int) -> None:
    plant = Plant()
    for n in range(700):
        request = modbus.adu(n, 1, modbus.write_register(n, 1))
        plant.exchange(HMI, PLC, request, request)
    found = the(plant.findings(size), "operation.modbus.write-registers")
    assert found.count == 700
    assert "Requests: 700; 700 accepted." in found.explanation.en


def test_a_request_that_no_content_knows_is_left_alone() -> None:
    plant = Plant()
    plant.asks(HMI, PLC, modbus.adu(1, 1, struct.pack(">BB", 99, 0)))
    assert not [it for it in plant.findings() if it.rule_id.startswith("operation.")]


def forbid(plant: Plant, allow_after_s: float = 0.0, by: str = HMI) -> None:
    """Unsolicited messages are switched off, and on again by `by`; 0: they stay off."""
    steps = [(HMI, dnp3.DISABLE_UNSOLICITED), (by, dnp3.ENABLE_UNSOLICITED)][: 2 if allow_after_s else 1]
    for sequence, (who, function) in enumerate(steps):
        plant.wait(sequence * allow_after_s)
        master, station = dnp3.Station(1, 41, master=True), dnp3.Station(41, 1, master=False)
        request = master.send(dnp3.request(sequence, function, dnp3.EVENT_CLASSES))
        plant.exchange(who, OUTSTATION, request, station.send(dnp3.response(sequence)), DNP3)


def test_a_master_that_begins_with_silence_and_ends_it_at_once_is_a_low_matter() -> None:
    plant = Plant()
    forbid(plant, 4)
    found = the(plant.findings(1), "operation.dnp3.disable-unsolicited")
    assert (found.severity, found.count) == (Severity.LOW, 1)
    assert "taken back within seconds" in found.explanation.en
    assert "撤销" in found.explanation.zh


@pytest.mark.parametrize(("allow_after_s", "by"), [(0, HMI), (11, HMI), (4, ENGINEER)])
def test_silence_that_the_same_host_does_not_end_at_once_is_grave(allow_after_s: float, by: str) -> None:
    plant = Plant()
    forbid(plant, allow_after_s, by)
    assert the(plant.findings(1), "operation.dnp3.disable-unsolicited").severity is Severity.HIGH


def test_silence_to_everybody_stays_critical_although_it_is_ended() -> None:
    plant = Plant()
    for sequence, function in enumerate((dnp3.DISABLE_UNSOLICITED, dnp3.ENABLE_UNSOLICITED)):
        everybody = dnp3.Station(1, dnp3.BROADCAST_MUST_CONFIRM, master=True)
        plant.asks(HMI, OUTSTATION, everybody.send(dnp3.request(sequence, function, dnp3.EVENT_CLASSES)), DNP3)
    assert the(plant.findings(1), "operation.dnp3.disable-unsolicited").severity is Severity.CRITICAL


def test_what_may_still_be_taken_back_is_told_after_ten_seconds() -> None:
    plant = Plant()
    forbid(plant)
    for _ in range(20):
        plant.wait(1)
        plant.exchange(HMI, PLC, modbus.adu(1, 1, modbus.read(3, 0, 1)), modbus.adu(1, 1, modbus.registers(3, [7])))
    seen_ns: list[int] = []

    def batches() -> Iterator[FrameBatch]:
        for frames in plant.batches(1):
            seen_ns.append(int(frames.ts_ns[0]))
            yield frames

    told_s = [(seen_ns[-1] - it.first_ns) / 1e9 for it in of_each(Pipeline().run(batches()))]
    assert [round(after) for after in told_s] == [10]


def of_each(records: Iterator[Finding]) -> Iterator[Finding]:
    """Those about silence, while the clock still stands where they were made."""
    return (it for it in records if it.rule_id == "operation.dnp3.disable-unsolicited")
