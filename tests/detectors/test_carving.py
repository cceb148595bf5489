"""Blocks and files are put together from industrial protocols, kept, and compared with what was there before."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from support import s7
from support.dnp3_wire import hexed
from support.findings import DNP3, S7, Plant, the
from support.sessions import tpkt, transport

from detectors.carving.assembly import MAX_BYTES_EACH, MAX_OPEN, Assemblies
from detectors.carving.carver import Carving, Watcher
from detectors.carving.dnp3_files import objects
from detectors.carving.listing import carve
from detectors.carving.s7_blocks import header_of
from detectors.carving.store import Store
from detectors.carving.umas_programs import octets_of
from detectors.pipeline import Options, Pipeline, merge
from pcaps.messages import modbus
from sensor.capture.source import open_capture

ENGINEER, PLC = "10.1.0.5", "10.1.0.20"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "captures"


def carved(plant, store=None):
    """Every artifact, and every finding of carving alone."""
    found = []
    watcher = Watcher(lambda artifact, _: found.append(artifact) or (), lambda *_: ())
    findings = list(Pipeline(Options(), [Carving(store, [watcher])]).run(plant.batches()))
    return found, findings


def block(kind=8, number=1, code=b"\x65\x00", author=b"LI", seconds=0):
    """An S7 block with header and footer."""
    length = 72 + len(code)
    head = b"pp\x01\x01\x01" + bytes([kind]) + number.to_bytes(2, "big") + length.to_bytes(4, "big") + bytes(4)
    times = (seconds * 1000).to_bytes(4, "big") + b"\x29\x47" + bytes(4) + b"\x29\x47"
    lengths = bytes(6) + len(code).to_bytes(2, "big")
    return head + times + lengths + code + author.ljust(8, b"\0") + bytes(16) + b"\x12\x00\xab\xcd" + bytes(8)


class Controller(Plant):
    """An S7 controller."""

    reference = 0

    def both(self, request, answer, *, from_device=False):
        """A job and its acknowledgement."""
        self.reference += 1
        job = tpkt(s7.job(request, reference=self.reference))
        ack = tpkt(s7.ack_data(*answer, reference=self.reference))
        if from_device:
            self.answers(ENGINEER, PLC, job, S7)
            self.asks(ENGINEER, PLC, ack, S7)
        else:
            self.exchange(ENGINEER, PLC, job, ack, S7)

    def download(self, data, name="0800001", step=200):
        """A block goes in, fetched in parts."""
        called = f"09 5F{name.encode().hex()}50"
        self.both(f"1A 00 0100 00000000 {called}", ("1A",))
        for at in range(0, len(data), step):
            part = data[at : at + step]
            more = "01" if at + step < len(data) else "00"
            self.both(
                f"1B 00 0000 00000000 {called}", (f"1B {more}", f"{len(part):04X} 00FB {part.hex()}"), from_device=True
            )
        self.both(f"1C 00 0000 00000000 {called}", ("1C",), from_device=True)

    def upload(self, data, name="0800001", number=7, step=200):
        """A block comes out."""
        self.both(
            f"1D 00 0000 00000000 09 5F{name.encode().hex()}41",
            (f"1D 00 0100 {number:08X} 07 {f'{len(data):07d}'.encode().hex()}",),
        )
        for at in range(0, len(data), step):
            part = data[at : at + step]
            more = "01" if at + step < len(data) else "00"
            self.both(f"1E 00 0000 {number:08X}", (f"1E {more}", f"{len(part):04X} 00FB {part.hex()}"))
        self.both(f"1F 00 0000 {number:08X}", ("1F",))


def test_a_downloaded_block_is_put_together_from_its_parts():
    plant, data = Controller(), block(code=bytes(range(200)) * 3)
    plant.download(data)
    (made,), _ = carved(plant)
    assert (made.name, made.kind, made.data, made.complete) == ("OB1", "s7-block", data, True)
    assert (made.source, made.destination, made.device, made.to_device) == (ENGINEER, PLC, PLC, True)
    assert made.details["s7.author"] == "LI"
    assert made.details["s7.mc7_length"] == 600


def test_an_uploaded_block_comes_from_the_controller():
    plant, data = Controller(), block(0x0E, 17, bytes(500))
    plant.upload(data, "0E00017")
    (made,), _ = carved(plant)
    assert (made.name, made.data, made.complete) == ("FB17", data, True)
    assert (made.source, made.destination, made.device, made.to_device) == (PLC, ENGINEER, PLC, False)


def test_a_download_that_breaks_off_is_incomplete():
    plant, data = Controller(), block(code=bytes(900))
    plant.both("1A 00 0100 00000000 09 5F3038303030303150", ("1A",))
    part = data[:200]
    plant.both("1B 00 0000 00000000 09 5F3038303030303150", ("1B 01", f"00C8 00FB {part.hex()}"), from_device=True)
    (made,), _ = carved(plant)
    assert not made.complete
    assert made.missing == len(data) - 200


def test_a_block_that_changed_is_told_with_both_versions_and_dates_do_not_count():
    plant = Controller()
    before, same, after = block(code=b"\x01" * 50), block(code=b"\x01" * 50, seconds=99), block(code=b"\x02" * 50)
    plant.upload(before)
    plant.wait(30)
    plant.download(same)
    plant.wait(30)
    plant.download(after)
    _, findings = carved(plant)
    changed = the(findings, "program.changed")
    assert hashlib.sha256(same).hexdigest()[:16] in changed.explanation.en
    assert hashlib.sha256(after).hexdigest()[:16] in changed.explanation.zh
    assert (changed.source_ip, changed.destination_ip) == (ENGINEER, PLC)
    assert changed.evidence.frames


def test_what_changed_stands_in_the_engineering_operation_too():
    plant = Controller()
    plant.upload(block(code=b"\x01" * 50))
    plant.download(block(code=b"\x02" * 50))
    findings = plant.findings()
    operation = the(findings, "engineering.program-download")
    assert "Changed (SHA-256): OB1 " in operation.explanation.en
    assert the(findings, "program.changed").severity >= operation.severity


def test_contents_of_a_data_block_that_is_read_again_are_no_finding():
    plant = Controller()
    for value in (b"\x01", b"\x02"):
        plant.upload(block(0x0A, 5, value * 40), "0A00005")
    found, findings = carved(plant)
    assert [it.name for it in found] == ["DB5", "DB5"]
    assert findings == []


def test_another_run_remembers_what_was_kept(tmp_path):
    plant = Controller()
    plant.download(block(code=b"\x01" * 50))
    carved(plant, Store(tmp_path))
    again = Controller()
    again.download(block(code=b"\x02" * 50))
    _, findings = carved(again, Store(tmp_path))
    assert [it.rule_id for it in findings] == ["program.changed"]
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [line["name"] for line in lines] == ["OB1", "OB1"]
    for line in lines:
        octets = (tmp_path / "objects" / line["sha256"][:2] / line["sha256"]).read_bytes()
        assert hashlib.sha256(octets).hexdigest() == line["sha256"]


def test_a_history_that_a_crash_cut_is_read_as_far_as_it_goes(tmp_path):
    plant = Controller()
    plant.download(block(code=b"\x01" * 50))
    carved(plant, Store(tmp_path))
    with open(tmp_path / "history.jsonl", "ab") as file:
        file.write(b'{"sha256": "12')
    plant = Controller()
    plant.download(block(code=b"\x02" * 50))
    _, findings = carved(plant, Store(tmp_path))
    assert [it.rule_id for it in findings] == ["program.changed"]
    assert len(list(Store(tmp_path)._lines())) == 2


def test_what_the_quota_leaves_no_room_for_is_told(tmp_path):
    plant = Controller()
    plant.download(block(code=bytes(900)))
    found, findings = carved(plant, Store(tmp_path, quota_bytes=100))
    assert len(found) == 1
    assert list((tmp_path / "objects").glob("*/*")) == []
    assert "quota 1" in the(findings, "carving.limit").explanation.en


def test_a_umas_program_is_put_together_and_a_block_sent_again_counts_once():
    plant = Plant()
    parts = [b"APX\x00" + bytes(200), b"\x05" * 150]
    steps = [(0x30, b"\x00\x01\x04\x00"), *((0x31, n) for n in (1, 1, 2)), (0x32, b"\x00\x01")]
    for number, (code, what) in enumerate(steps):
        data = what
        if code == 0x31:
            part = parts[what - 1]
            data = b"\x00\x01" + what.to_bytes(2, "little") + len(part).to_bytes(2, "little") + part
        request = modbus.adu(number, 0, modbus.umas(1, code, data))
        plant.exchange(ENGINEER, PLC, request, modbus.adu(number, 0, modbus.umas(1, 0xFE)))
    (made,), _ = carved(plant)
    assert (made.kind, made.data, made.complete) == ("umas-program", b"".join(parts), True)
    assert (made.destination, made.to_device) == (PLC, True)


def test_a_umas_program_that_is_read_out_comes_from_the_answers():
    plant = Plant()
    for number, (code, data, answer) in enumerate([
        (0x33, b"\x00\x01\xfb\x03", b""),
        (0x34, b"\x00\x01\x01\x00", b"\x00\x01\x01\x00\x03\x00abc"),
        (0x34, b"\x00\x01\x02\x00", b"\x00\x01\x02\x00\x02\x00de"),
        (0x35, b"\x00\x01", b""),
    ]):  # fmt: skip
        request = modbus.adu(number, 0, modbus.umas(1, code, data))
        plant.exchange(ENGINEER, PLC, request, modbus.adu(number, 0, modbus.umas(1, 0xFE, answer)))
    (made,), _ = carved(plant)
    assert (made.data, made.source, made.to_device) == (b"abcde", PLC, False)


def test_octets_without_a_count_that_fits_are_kept_as_they_are():
    assert octets_of(b"\x01\x00\x09\x00abc") == b"\x01\x00\x09\x00abc"


def test_modbus_file_records_are_put_at_their_places():
    plant = Plant()
    write = bytes([21, 11, 6, 0, 4, 0, 1, 0, 2]) + b"wxyz"
    first = bytes([21, 11, 6, 0, 4, 0, 0, 0, 1]) + b"uv"
    plant.exchange(ENGINEER, PLC, modbus.adu(1, 3, write), modbus.adu(1, 3, write))
    plant.exchange(ENGINEER, PLC, modbus.adu(2, 3, first), modbus.adu(2, 3, first))
    read = bytes([20, 7, 6, 0, 9, 0, 5, 0, 2])
    plant.exchange(ENGINEER, PLC, modbus.adu(3, 3, read), modbus.adu(3, 3, bytes([20, 6, 5, 6]) + b"1234"))
    found, _ = carved(plant)
    assert [(it.name, it.data, it.to_device, it.complete) for it in found] == [
        ("file 4", b"uvwxyz", True, True), ("file 9", b"1234", False, True)
    ]  # fmt: skip
    assert {it.station for it in found} == {3}


def dnp3(plant, sequence, request, answer):
    """One exchange of application fragments."""
    to, back = {"source": 3, "destination": 4}, {"source": 4, "destination": 3, "control": 0x44}
    plant.exchange(
        ENGINEER,
        PLC,
        transport(hexed(f"C{sequence:X}", request), sequence, **to),
        transport(hexed(f"C{sequence:X}", answer), sequence, **back),
        DNP3,
    )


def test_a_file_written_by_dnp3_has_the_name_it_was_opened_with():
    plant = Plant()
    dnp3(
        plant, 1, f"19 46 03 5B 01 1F00 1A00 0500 000000000000 FF01 00000000 05000000 0200 0004 0100 {b'a.cfg'.hex()}",
        "81 0000 46 04 5B 01 0D00 78563412 05000000 0004 0100 00",
    )  # fmt: skip
    dnp3(plant, 2, f"02 46 05 5B 01 0D00 78563412 00000080 {b'hello'.hex()}", "81 0000")
    dnp3(
        plant, 3, "1A 46 04 5B 01 0D00 78563412 00000000 0000 0200 00",
        "81 0000 46 04 5B 01 0D00 78563412 00000000 0000 0200 00",
    )  # fmt: skip
    (made,), _ = carved(plant)
    assert (made.name, made.data, made.complete, made.to_device, made.station) == ("a.cfg", b"hello", True, True, 4)


def test_transfers_in_progress_are_bounded_and_what_is_let_go_is_counted():
    assemblies = Assemblies()
    for number in range(MAX_OPEN + 5):
        assemblies.begin(number, 0, 1)
    assert len(assemblies) == MAX_OPEN
    assert assemblies.refused == 5
    transfer = assemblies.get(MAX_OPEN)
    assemblies.add(transfer, b"x", 0, 1, at=MAX_BYTES_EACH)
    assert (transfer.size, transfer.cut, assemblies.refused) == (0, True, 6)


@settings(max_examples=60, deadline=None)
@given(some.lists(some.tuples(some.integers(0, 60), some.binary(min_size=1, max_size=12)), max_size=12))
def test_pieces_give_as_many_octets_as_their_places_cover(pieces):
    assemblies = Assemblies()
    transfer = assemblies.begin("a", 0, 1)
    covered = set()
    for at, piece in pieces:
        if at not in transfer.pieces or len(transfer.pieces[at]) < len(piece):
            covered |= set(range(at, at + len(piece)))
        assemblies.add(transfer, piece, 0, 1, at=at)
    data, missing = transfer.data()
    assert len(data) == len(covered)
    assert missing == (max(covered) + 1 - len(covered) if covered else 0)


@settings(max_examples=60, deadline=None)
@given(some.binary(max_size=120))
def test_any_octets_may_pretend_to_be_a_block_or_a_fragment(data):
    assert isinstance(header_of(b"pp" + data), dict)
    assert all(len(octets) <= len(data) for _, octets in objects(b"\xc0\x19" + data))


def test_the_command_lists_and_keeps(tmp_path):
    plant, out = Controller(), io.StringIO()
    plant.download(block())
    capture = Path(__file__).resolve().parents[2] / "pcaps" / "s7comm" / "program_stolen.pcap"
    assert carve([str(capture)], tmp_path, form="jsonl", lang="en", out=out, complain=print) == 0
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["name"], line["complete"]) for line in lines] == [("OB1", True), ("DB10", True)]
    for line in lines:
        assert len((tmp_path / "objects" / line["sha256"][:2] / line["sha256"]).read_bytes()) == line["size"]


@pytest.mark.captures
@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/captures is not on this machine")
@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("s7comm/gymgit__tia_s300_downloadHwConfig",
         {"SDB0": 216, "SDB1": 680, "SDB3": 122, "SDB4": 170, "SDB7": 94, "SDB1000": 402, "SDB2000": 468}),
        ("s7comm/iti__s7comm_downloading_block_db1", {"DB1": 500}),
        ("s7comm/icsnpp-s7comm__snap7", {"SDB0": 216}),
        ("dnp3/zeek__dnp3_file_read", {"./test.xml": 830}),
        ("dnp3/iti__file_write", {"./helloworld.txt": 9}),
    ],
)  # fmt: skip
def test_blocks_and_files_of_real_captures_are_whole(name, blocks):
    found = []
    watcher = Watcher(lambda artifact, _: found.append(artifact) or (), lambda *_: ())
    (path,) = (SHARED / name).glob("capture.pcap*")
    merge(Pipeline(Options(), [Carving(None, [watcher])]).run(open_capture(path)))
    assert {it.name: len(it.data) for it in found} == blocks
    assert all(it.complete for it in found)
