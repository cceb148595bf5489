"""What `fenghuo assets` writes: for people in two languages, for programs, for spreadsheets."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from support import slow_wire as wire
from support.findings import Plant

from detectors.assets.listing import TABLE
from detectors.assets.survey import list_assets
from pcaps.messages import modbus
from sensor.capture.write import Frame, small_pcap

HMI, PLC = "10.1.0.5", "10.1.0.20"


@pytest.fixture
def capture(tmp_path: Path) -> str:
    plant = Plant()
    write = modbus.adu(2, 1, modbus.write_register(4, 9))
    plant.exchange(HMI, PLC, write, write)
    plant.sends(wire.identified(name="=cmd|' /C calc'!A0", ip="10.1.0.30"))
    (batch,) = plant.batches()
    packets = [batch.data[at : at + n].tobytes() for at, n in zip(batch.offset, batch.captured, strict=True)]
    path = tmp_path / "plant.pcap"
    path.write_bytes(
        small_pcap(1, [Frame(int(ts), data, len(data)) for ts, data in zip(batch.ts_ns, packets, strict=True)])
    )
    return path.as_posix()


def listed(capture: str, form: str, lang: str = "en", ledger: Path | None = None) -> tuple[int, str]:
    out, said = io.StringIO(newline=""), []
    code = list_assets(
        [capture], form=form, lang=lang, site="", ledger=ledger and ledger.as_posix(), complain=said.append, out=out
    )
    assert not said
    return code, out.getvalue()


def test_text_says_what_a_device_does_and_why_in_both_languages(capture: str) -> None:
    code, english = listed(capture, "text")
    assert code == 0
    assert "does this to 10.1.0.20: write" in english
    assert "10.1.0.20/502" not in english
    assert "asked by: 10.1.0.5  modbus/502  2 messages  write" in english
    chinese = listed(capture, "text", "zh")[1]
    assert "对 10.1.0.20 执行：写入" in chinese
    assert "共 3 个资产" in chinese


def test_lines_carry_each_fact_with_its_frame(capture: str) -> None:
    lines = [json.loads(line) for line in listed(capture, "jsonl")[1].splitlines()]
    by_address = {line["address"]: line for line in lines}
    assert by_address[HMI]["roles"][0]["role"] == "master"
    facts = {fact["attribute"]: fact for fact in by_address["10.1.0.30"]["facts"]}
    assert (facts["vendor"]["value"], facts["vendor"]["frame"]) == ("Siemens", 6)
    assert by_address[PLC]["asked_by"][0]["verbs"] == ["write"]


def test_a_table_has_one_row_for_each_device_and_nothing_that_a_spreadsheet_would_run(capture: str) -> None:
    rows = list(csv.DictReader(io.StringIO(listed(capture, "csv")[1], newline="")))
    assert list(rows[0]) == list(TABLE)
    assert {row["address"] for row in rows} == {HMI, PLC, "10.1.0.30"}
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())


def test_a_ledger_is_compared_and_the_exit_code_says_that_something_differs(capture: str, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.csv"
    ledger.write_text("address,name,importance,approved\n10.1.0.20,PLC 3,critical,\n10.1.0.5,,,no\n10.1.0.77,spare,,\n")
    code, text = listed(capture, "text", ledger=ledger)
    assert code == 1
    assert "against the ledger: 1 not declared, 1 not approved, 1 silent" in text
    assert "PLC 3, critical" in text
    states = {
        line["address"]: line["ledger"]
        for line in map(json.loads, listed(capture, "jsonl", ledger=ledger)[1].splitlines())
    }
    assert states == {HMI: "unapproved", PLC: "declared", "10.1.0.30": "undeclared", "10.1.0.77": "silent"}
    ledger.write_text("address\n10.1.0.0/24\n")
    assert listed(capture, "text", ledger=ledger)[0] == 0


def test_a_capture_that_cannot_be_read_does_not_stop_the_others(capture: str, tmp_path: Path) -> None:
    said: list[object] = []
    out = io.StringIO()
    code = list_assets(
        [(tmp_path / "none.pcap").as_posix(), capture], form="jsonl", lang=None, site="", ledger=None,
        complain=said.append, out=out,
    )  # fmt: skip
    assert (code, len(said), len(out.getvalue().splitlines())) == (2, 1, 3)
