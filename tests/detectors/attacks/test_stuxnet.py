"""The marks of Stuxnet, together and alone."""

from __future__ import annotations

import pytest
from support.findings import S7, Plant, of, the

from detectors.finding import Severity
from pcaps.messages import s7comm

STATION, PLC = "10.1.0.20", "10.1.0.30"


class Engineer:
    def __init__(self) -> None:
        self.plant = Plant()
        self.reference = 0

    def probes(self, times: int, pause: float, db: int = 890) -> None:
        for _ in range(times):
            self.reference += 1
            request = s7comm.job(self.reference, s7comm.read_var((s7comm.DB, db, 0, 10)))
            answer = s7comm.ack_data(self.reference, b"\x04\x01", s7comm.read_var_data(bytes(10)))
            self.plant.exchange(STATION, PLC, request, answer, S7)
            self.plant.wait(pause)

    def looks_at(self, block_type: bytes) -> None:
        self.reference += 1
        request = s7comm.userdata_request(self.reference, 3, 2, block_type)
        answer = s7comm.userdata_response(self.reference, 3, 2, bytes.fromhex("000722000064"))
        self.plant.exchange(STATION, PLC, request, answer, S7)

    def replaces(self, block: bytes) -> None:
        self.reference += 1
        request = s7comm.job(self.reference, s7comm.request_download(block, 136, 100))
        self.plant.exchange(STATION, PLC, request, s7comm.ack_data(self.reference, b"\x1a"), S7)


@pytest.mark.parametrize("size", [None, 2])
def test_blocks_looked_through_and_replaced_and_the_probe_are_critical(size: int | None) -> None:
    engineer = Engineer()
    engineer.looks_at(b"0B")
    engineer.replaces(b"_0800035P")
    engineer.probes(4, 300)
    found = the(engineer.plant.findings(size), "malware.stuxnet")
    assert (found.source_ip, found.destination_ip, found.severity) == (STATION, PLC, Severity.CRITICAL)
    assert found.count == 4
    assert "replaced OB1 or OB35" in found.explanation.en


def test_the_rhythm_of_the_probe_alone_is_told_at_medium() -> None:
    engineer = Engineer()
    engineer.probes(4, 300)
    assert the(engineer.plant.findings(), "malware.stuxnet").severity is Severity.MEDIUM


def test_an_hmi_that_reads_such_a_block_each_second_is_ordinary() -> None:
    engineer = Engineer()
    engineer.probes(60, 1)
    assert not of(engineer.plant.findings(), "malware.stuxnet")


def test_an_engineer_who_loads_ob1_and_looks_at_all_blocks_is_ordinary() -> None:
    engineer = Engineer()
    engineer.looks_at(b"0B")
    engineer.replaces(b"_0800001P")
    engineer.probes(4, 300, db=891)
    assert not of(engineer.plant.findings(), "malware.stuxnet")
