"""Learning: only what succeeded, with its objects and rhythm; dangerous operations wait for a person."""

from __future__ import annotations

from support.findings import DNP3, S7, Plant

from detectors.baseline.book import Baseline, ExchangeLine, State, Way, dangerous
from detectors.baseline.learner import Learner
from detectors.baseline.review import decide, doubts
from detectors.pipeline import Pipeline
from pcaps.messages import dnp3, modbus, s7comm

HMI, PLC, RTU = "10.1.0.5", "10.1.0.20", "10.1.0.40"


def learned(plant: Plant, size: int | None = None) -> Baseline:
    baseline = Baseline()
    for _ in Pipeline(detectors=[Learner(baseline.merge, "day.pcap")]).run(plant.batches(size)):
        pass
    return baseline


def lines(baseline: Baseline) -> dict[str, ExchangeLine]:
    """Lines by the name of their function."""
    return {it.name: it for it in baseline.exchanges.values()}


def poll(plant: Plant, times: int, address: int = 0, client: str = HMI, server: str = PLC, every: float = 1.0) -> None:
    for n in range(times):
        plant.exchange(
            client, server, modbus.adu(n, 1, modbus.read(3, address, 4)), modbus.adu(n, 1, modbus.registers(3, [n] * 4))
        )
        plant.wait(every)


def write(plant: Plant, client: str = HMI, server: str = PLC, address: int = 10, value: int = 400) -> None:
    request = modbus.adu(999, 1, modbus.write_register(address, value))
    plant.exchange(client, server, request, request)


def test_polls_become_one_line_with_joined_ranges_and_a_period() -> None:
    plant = Plant()
    for n in range(30):
        for address in (0, 4, 100):
            plant.exchange(
                HMI, PLC, modbus.adu(n, 1, modbus.read(3, address, 4)), modbus.adu(n, 1, modbus.registers(3, [1] * 4))
            )
        plant.wait(2)
    (line,) = learned(plant).exchanges.values()
    assert (line.client, line.server, line.station, line.count) == (HMI, PLC, 1, 90)
    assert line.objects.words() == ["0-7", "100-103"]
    assert 1.9 < line.period_s < 2.1
    assert line.jitter_s < 0.1
    assert line.evidence == ["day.pcap frame 4", "day.pcap frame 6", "day.pcap frame 8"]


def test_what_was_refused_or_left_unanswered_is_not_learned() -> None:
    plant = Plant()
    poll(plant, 3)
    plant.exchange(HMI, PLC, modbus.adu(50, 1, modbus.read(4, 0, 1)), modbus.adu(50, 1, modbus.exception(4, 1)))
    plant.asks(HMI, PLC, modbus.adu(51, 1, modbus.write_register(3, 3)))
    plant.wait(40)
    poll(plant, 3)
    assert set(lines(learned(plant))) == {"read_holding_registers"}


def test_a_broadcast_is_learned_though_nobody_answers() -> None:
    plant = Plant()
    plant.asks(HMI, PLC, modbus.adu(1, 0, modbus.write_register(3, 3)))
    plant.wait(5)
    poll(plant, 3)
    line = lines(learned(plant))["write_single_register"]
    assert (line.station, line.objects.words(), line.values) == (0, ["3"], (3, 3))


def test_a_stop_while_learning_gets_a_line_of_its_own_that_is_not_approved_in_passing() -> None:
    plant = Plant()
    plant.exchange(HMI, PLC, s7comm.setup_communication(), s7comm.ack_data(0, bytes.fromhex("f0000001000101e0")), S7)
    stop = s7comm.job(7, bytes.fromhex("2900000000000950") + b"_PROGRAM"[:8])
    for n in range(12):
        plant.wait(1)
        plant.exchange(HMI, PLC, s7comm.job(n, s7comm.read_var((0x84, 1, 0, 8))),
                       s7comm.ack_data(n, b"\x04\x01", s7comm.read_var_data(bytes(8))), S7)  # fmt: skip
    plant.exchange(HMI, PLC, stop, s7comm.ack_data(7, b"\x29"), S7)
    plant.wait(5)
    baseline = learned(plant)
    (line,) = [it for it in baseline.exchanges.values() if dangerous(it)]
    assert line.operation == "operation.s7comm.stop"
    decide(baseline, (), State.APPROVED, "li.na", "walked the line", 1, all_safe=True)
    assert line.state is State.LEARNED
    assert all(it.state is State.APPROVED for it in baseline.exchanges.values() if it is not line)
    assert lines(baseline)["read_variable"].objects.words() == ["DB1 0.0-7.7"]


def test_a_polled_host_that_commands_is_not_approved_in_passing() -> None:
    plant = Plant()
    poll(plant, 3)
    poll(plant, 3, server=RTU)
    write(plant, client=RTU)
    write(plant, client=HMI)
    baseline = learned(plant)
    odd = [baseline.exchanges[name] for name in doubts(baseline)]
    assert [(it.client, it.name) for it in odd] == [(RTU, "write_single_register")]


def test_nothing_of_a_visitor_that_did_something_dangerous_is_approved_in_passing() -> None:
    plant = Plant()
    poll(plant, 20)
    poll(plant, 2, client="10.1.0.66")
    restart = modbus.adu(7, 1, modbus.diagnostics(1))
    plant.exchange("10.1.0.66", PLC, restart, restart)
    plant.wait(5)
    baseline = learned(plant)
    decide(baseline, (), State.APPROVED, "li.na", "walked the line", 1, all_safe=True)
    assert {it.client for it in baseline.exchanges.values() if it.state is State.APPROVED} == {HMI}
    assert {it.address for it in baseline.hosts.values() if it.state is State.APPROVED} == {HMI, PLC}


def test_unsolicited_reports_are_learned_as_such() -> None:
    plant = Plant()
    master, outstation = dnp3.Station(1, 4, master=True), dnp3.Station(4, 1, master=False)
    plant.exchange(HMI, PLC, master.send(dnp3.request(1, 1, dnp3.all_objects((60, 2)))),
                   outstation.send(dnp3.response(1)), DNP3)  # fmt: skip
    plant.wait(5)
    plant.answers(HMI, PLC, outstation.send(bytes([0xF0, 0x82, 0, 0])), DNP3)
    plant.wait(5)
    reports = [it for it in learned(plant).exchanges.values() if it.way is Way.REPORTS]
    assert [(it.client, it.server, it.station) for it in reports] == [(HMI, PLC, 1 << 16 | 4)]


def approved(plant: Plant) -> Baseline:
    baseline = learned(plant)
    decide(baseline, list(baseline.exchanges), State.APPROVED, "li.na", "known", 1)
    return baseline


def test_learning_the_same_again_adds_up_and_keeps_decisions() -> None:
    plant = Plant()
    poll(plant, 5)
    baseline = approved(plant)
    baseline.merge(learned(plant))
    (line,) = baseline.exchanges.values()
    assert (line.count, line.objects.words(), line.state) == (10, ["0-3"], State.APPROVED)


def test_an_approved_line_that_grows_must_be_approved_again() -> None:
    plant, wider = Plant(), Plant()
    poll(plant, 5)
    poll(wider, 5, address=4)
    baseline = approved(plant)
    baseline.merge(learned(wider))
    (line,) = baseline.exchanges.values()
    assert (line.objects.words(), line.state) == (["0-7"], State.LEARNED)
