"""Logs of Zeek and Suricata become events of ours; what cannot is rejected with its line and reason, and counted."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.hunting.imports import importer, reading, suricata, zeek
from detectors.hunting.imports.importer import Importer
from detectors.hunting.imports.reading import LogError, lines_of
from detectors.hunting.imports.record import Record, UnfitError
from detectors.hunting.search import Search
from detectors.hunting.wanted import of_rules
from detectors.sigma.ruleset import shipped
from sensor.archive.catalogue import Taking
from sensor.archive.columns import lines_of as rows_of
from sensor.archive.compaction import read
from sensor.archive.store import Archive
from sensor.capture.source import open_capture
from sensor.decode.decoder import Decoder
from sensor.schema import FIELDS

SHARED = Path(__file__).resolve().parents[4] / "shared" / "captures"
captures = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/captures is not on this machine")

HEADER = (
    "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tmodbus_detailed\n"
    "#fields\tts\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\ttid\tunit\tfunc\taddress\tquantity\tmatched\n"
)
GOOD = "1595660608.238147\t10.0.0.1\t4000\t10.0.0.2\t502\t7\t1\t{}\t10\t2\tT\n"
EVE = {
    "timestamp": "2020-07-25T07:03:28.238147+0000", "event_type": "modbus", "src_ip": "10.0.0.1", "src_port": 4000,
    "dest_ip": "10.0.0.2", "dest_port": 502, "proto": "TCP",
    "modbus": {"request": {"function_raw": 5, "transaction_id": 7, "unit_id": 1, "write": {"address": 9, "data": 1}}},
}  # fmt: skip


@pytest.fixture
def archive(tmp_path) -> Archive:
    return Archive(tmp_path / "archive", create=True)


def kept(archive: Archive, kind: str) -> list[dict[str, Any]]:
    return [line for entry in archive.catalogue.files(kind) for line in rows_of(read(archive, entry))]


def taken(archive: Archive) -> Taking:
    (taking,) = archive.catalogue.takings()
    return taking


def test_a_log_of_zeek_gives_requests_and_answers_with_times_codes_and_verbs(archive, tmp_path):
    log = tmp_path / "modbus_detailed.log"
    log.write_text(HEADER + GOOD.format("WRITE_MULTIPLE_REGISTERS") + "#close\n")
    done = Importer(archive, log).run()
    assert (done.records, done.events, done.rejected) == (1, 2, 0)
    asked, answered = sorted(kept(archive, "events"), key=lambda it: it["event.kind"])
    assert asked["@timestamp"] == "2020-07-25T07:03:28.238147000Z"
    assert (asked["source.ip"], asked["destination.port"], asked["frame"]) == ("10.0.0.1", 502, 7)
    assert (asked["modbus.function_code"], asked["event.action"], asked["modbus.address"]) == (16, "write", 10)
    assert (answered["source.ip"], answered["event.outcome"]) == ("10.0.0.2", "answered")
    assert sum(row["archive.count"] for row in kept(archive, "behaviours")) == 2


def test_rules_find_in_an_imported_log_what_it_says(archive, tmp_path):
    log = tmp_path / "eve.json"
    log.write_text(json.dumps(EVE))
    Importer(archive, log).run()
    search = Search(archive, of_rules(shipped().rules))
    found = [hit.name for hit in search.run(lambda _done, _all: None)]
    assert "operation.modbus.write-coils" in found


def test_every_record_is_archived_or_rejected_with_its_line_and_reason(archive, tmp_path):
    log = tmp_path / "modbus_detailed.log"
    bad = [GOOD.format("NO_SUCH"), "x\ty\n", GOOD.format("READ_COILS").replace("10.0.0.1", "here")]
    log.write_text(HEADER + "".join([GOOD.format("READ_COILS"), *bad]) * 2)
    done = Importer(archive, log).run()
    assert (done.records, done.rejected) == (8, 6)
    assert done.noted is not None
    noted = [json.loads(line) for line in done.noted.read_text().splitlines()]
    assert [it["line"] for it in noted] == [8, 9, 10, 12, 13, 14]
    assert "function" in noted[0]["reason"]
    assert "here" in noted[2]["record"]
    assert sum(done.reasons.values()) == 6
    taking = taken(archive)
    assert taking.records == taking.archived + taking.rejected == 8


def test_a_log_is_taken_once_and_one_that_breaks_off_not_at_all(archive, tmp_path, monkeypatch):
    log = tmp_path / "eve.json.gz"
    packed = gzip.compress(json.dumps(EVE).encode() + b"\n" + b"{}\n" * 50_000)
    log.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(LogError, match="to its end"):
        Importer(archive, log).run()
    assert archive.catalogue.files() == []
    assert not list((archive.folder / importer.REJECTED).glob("*"))
    log.write_bytes(packed)
    assert Importer(archive, log).run().rejected == 50_000
    before = archive.catalogue.files()
    assert Importer(archive, log).run().known
    assert archive.catalogue.files() == before


def test_a_log_of_which_nothing_can_be_used_says_why(archive, tmp_path):
    log = tmp_path / "files.log"
    log.write_text("#fields\tts\n1.5\n")
    with pytest.raises(LogError, match="'files' is not imported"):
        Importer(archive, log).run()
    log.write_text("")
    with pytest.raises(LogError, match="no record"):
        Importer(archive, log).run()


def test_a_bomb_is_no_log(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "BOMB_BYTES", 1 << 20)
    log = tmp_path / "eve.json.gz"
    log.write_bytes(gzip.compress(b"\n" * (8 << 20)))
    with pytest.raises(LogError, match="it is no log"):
        Importer(archive, log).run()


def test_a_line_without_end_is_passed_over_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_LINE", 100)
    log = tmp_path / "eve.json"
    log.write_bytes(b"{" * 1000 + b"\n" + b'{"event_type": "flow"}\n' + b"x" * 300)
    lines = list(lines_of(log))
    assert [line.number for line in lines] == [1, 2, 3]
    assert [line.record is None for line in lines] == [True, False, True]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"src_ip": "300.1.1.1"}, "src_ip is no address"),
        ({"timestamp": "NaN"}, "timestamp is no time"),
        ({"timestamp": 1e300}, "timestamp is no time"),
        ({"src_port": 70_000}, "src_port is out of range"),
        ({"src_port": True}, "src_port is no number"),
        ({"modbus": []}, "modbus is no object"),
        ({"modbus": {"request": {"function_raw": 2.5}}}, "function_raw is no number"),
        ({"event_type": "flow"}, "'flow' is not imported"),
        ({"modbus": {}}, "neither"),
    ],
)
def test_values_that_cannot_be_are_reasons(change, why):
    with pytest.raises(UnfitError, match=why):
        suricata.events(Record({**EVE, **change}))


def test_nested_and_odd_json_is_a_reason(tmp_path):
    log = tmp_path / "eve.json"
    log.write_bytes(b'{"a":' + b"[" * 10_000 + b"\n" + b'{"event_type": NaN}\n' + b'{"event_type": "\xff"\n{}\n[1]\n')
    why = [line.why for line in lines_of(log)]
    assert why[0] == "JSON is nested too deeply"
    assert why[2] == "it is no JSON"
    assert len(why) == 5


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("10.0.0.1"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
NAMES = sorted(
    {
        *EVE,
        "modbus",
        "dnp3",
        "alert",
        "request",
        "response",
        "function_raw",
        "application",
        "objects",
        "iin",
        "ts",
        "func",
    }
    | {"id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "rosctr_code", "function_code", "proto", "is_orig", "mei"}
)


@settings(max_examples=120, deadline=None)
@given(
    st.dictionaries(st.sampled_from(NAMES), VALUES),
    st.sampled_from(["modbus", "dnp3", "alert"]),
    st.sampled_from(sorted(zeek._LOGS)),
)
def test_hostile_records_give_events_of_the_schema_or_a_reason(values, event_type, kind):
    zeek_good = {"ts": 1.5, "id.orig_h": "10.0.0.1", "id.resp_h": "10.0.0.2"}
    for make in (
        lambda: suricata.events(Record({**EVE, "event_type": event_type, **values})),
        lambda: suricata.events(Record({**EVE, "event_type": event_type, event_type: values})),
        lambda: zeek.events(kind, Record({**zeek_good, **values})),
    ):
        try:
            events = make()
        except UnfitError:
            continue
        assert events
        assert all(name in FIELDS or name == "archive.alert" for event in events for name in event)


# ---- beside our own decoding of the same captures ----

CORE = (
    "source.ip", "source.port", "event.kind", "modbus.transaction_id", "modbus.unit_id", "modbus.function_code",
    "modbus.exception_code", "dnp3.function_code", "dnp3.link.source", "dnp3.link.destination", "dnp3.sequence",
)  # fmt: skip
ZEEK_CORE = {
    "modbus_detailed": (
        "source.ip", "source.port", "event.kind", "event.outcome", "event.action", "modbus.transaction_id",
        "modbus.unit_id", "modbus.function_code", "modbus.exception_code", "modbus.subfunction_code",
    ),
    "s7comm": ("source.ip", "source.port", "event.kind", "s7comm.rosctr", "s7comm.pdu_reference", "s7comm.function",
               "s7comm.userdata.group", "s7comm.userdata.subfunction", "s7comm.service"),
    "dnp3": ("source.ip", "source.port", "event.kind", "dnp3.function_code", "dnp3.iin"),
}  # fmt: skip
# ICSNPP writes a line for each side of these two functions and does not say which; of a stop we show the service too.
ONLY_ZEEK = {
    "icsnpp-modbus__modbus_example-modbus_detailed": Counter(
        ("127.0.0.1", 47785, "request", "asked", verb, tid, 2, code, None, None)
        for verb, tid, code in (("diagnose", 11, 7), ("identify", 15, 17))
    ),
    "icsnpp-s7comm__snap7-s7comm": Counter([("134.217.61.131", 51212, "request", 1, 7168, 41, None, None, None)]),
}
# Connections picked up in their middle, whose sides Suricata tells otherwise; requests over what the capture lacks.
ONLY_SURICATA = {"qut-dnp3__Injection_training_frequent_attacker": 49, "iti__mb2": 3, "iti__modbus_test": 10}


@cache
def ours(case: Path) -> tuple[dict[str, Any], ...]:
    (capture,) = case.glob("capture.pcap*")
    decoder = Decoder()
    batches = decoder.decode(open_capture(str(capture)))
    return tuple(decoder.view.fields(batch, row) for batch in batches for row in range(batch.size))


def facts(events: Any, names: tuple[str, ...]) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(event.get(name) for name in names) for event in events)


@captures
@pytest.mark.captures
def test_what_suricata_saw_is_what_we_decode():
    compared = 0
    for log in sorted(SHARED.glob("*/*/suricata*.jsonl*"))[::6]:
        theirs = [event for line in lines_of(log) for event in suricata.events(line.record)]
        missing = facts(theirs, CORE) - facts(ours(log.parent), CORE)
        assert sum(missing.values()) == ONLY_SURICATA.get(log.parent.name, 0), log
        compared += len(theirs)
    assert compared > 300


def zeek_logs() -> Iterator[Path]:
    for kind in ZEEK_CORE:
        for log in sorted(SHARED.glob(f"*/*/zeek*/{kind}.log")):
            if "#fields" in log.read_text():
                yield log


@captures
@pytest.mark.captures
@pytest.mark.parametrize("log", list(zeek_logs()), ids=lambda log: f"{log.parent.parent.name}-{log.stem}")
def test_what_zeek_logged_is_what_we_decode(log, tmp_path):
    timed = tmp_path / log.name  # those baselines have their times blotted out
    lines = log.read_text().splitlines()
    timed.write_text("\n".join(re.sub(r"^X{10}\.X{6}", f"{at}.5", line) for at, line in enumerate(lines, 10**9)))
    theirs = [event for line in lines_of(timed) for event in zeek.events(line.kind, line.record)]
    missing = facts(theirs, ZEEK_CORE[log.stem]) - facts(ours(log.parent.parent), ZEEK_CORE[log.stem])
    assert missing == ONLY_ZEEK.get(f"{log.parent.parent.name}-{log.stem}", Counter())
    assert theirs
