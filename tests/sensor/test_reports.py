"""Reports of what stands: each record until the console has it, the later one in the place of the earlier one."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor import reports as limits
from sensor.reports import MAX_RECORDS, Reports
from sensor.uplink import TooLargeError, UplinkError


class Console:
    """What a console does with reports: keeps them by kind and address; `answers` come first, errors are raised."""

    def __init__(self, *answers: Exception) -> None:
        self.answers = list(answers)
        self.kept: dict[tuple[str, str], dict[str, Any]] = {}
        self.requests: list[tuple[str, int]] = []
        self.most = 10**9

    def post(self, what: str, body: bytes) -> dict[str, Any]:
        if len(body) > self.most:
            raise TooLargeError("too long", permanent=True)
        records = json.loads(body)[what]
        self.requests.append((what, len(records)))
        if self.answers:
            raise self.answers.pop(0)
        for record in records:
            self.kept[what, record["address"]] = record
        return {"stored": len(records), "rejected": []}


def asset(number: int, **more: Any) -> dict[str, Any]:
    return {"segment": "", "address": f"10.0.{number // 256}.{number % 256}", **more}


def test_what_the_console_does_not_take_is_sent_again_and_what_it_took_is_not(tmp_path: Path) -> None:
    console = Console(UplinkError("busy", retry_after_s=1.0))
    reports = Reports(tmp_path / "note", console.post)
    reports.put("assets", "r1", [asset(1), asset(2)])
    with pytest.raises(UplinkError):
        reports.step()
    assert reports.counters()["reports.waiting"] == 2
    assert reports.step()
    assert not reports.step()
    assert console.requests == [("assets", 2)] * 2
    assert reports.counters() | {"reports.assets": 2, "reports.waiting": 0} == reports.counters()


def test_a_later_record_takes_the_place_of_an_earlier_one_that_still_waits(tmp_path: Path) -> None:
    console = Console()
    reports = Reports(tmp_path / "note", console.post)
    reports.put("assets", "r1", [asset(1, firmware="V1")])
    reports.put("assets", "r1", [asset(1, firmware="V2")])
    assert reports.step()
    assert not reports.step()
    assert console.kept["assets", "10.0.0.1"] == asset(1, firmware="V2", run="r1")


def test_two_runs_report_the_same_thing_in_two_requests_in_their_order(tmp_path: Path) -> None:
    console = Console()
    reports = Reports(tmp_path / "note", console.post)
    reports.put("assets", "r1", [asset(1), asset(2)])
    reports.put("assets", "r2", [asset(1)])
    while reports.step():
        pass
    assert console.requests == [("assets", 2), ("assets", 1)]
    assert console.kept["assets", "10.0.0.1"]["run"] == "r2"


def test_a_record_that_changes_while_it_is_on_its_way_is_sent_once_more(tmp_path: Path) -> None:
    console = Console()

    def post(what: str, body: bytes) -> dict[str, Any]:
        if not console.requests:
            reports.put("assets", "r1", [asset(1, firmware="V2")])
        return console.post(what, body)

    reports = Reports(tmp_path / "note", post)
    reports.put("assets", "r1", [asset(1, firmware="V1")])
    while reports.step():
        pass
    assert console.kept["assets", "10.0.0.1"]["firmware"] == "V2"


def test_what_waits_is_taken_up_after_a_restart_and_a_damaged_note_is_gone_over(tmp_path: Path) -> None:
    first = Reports(tmp_path / "note", Console().post)
    first.put("assets", "r1", [asset(1, name="泵 1"), asset(2)])
    first.save()
    with (tmp_path / "note").open("a", encoding="utf-8") as note:
        note.write('["assets", "r1", "x"]\n{"no": 1}\n')
    console = Console()
    second = Reports(tmp_path / "note", console.post)
    assert second.step()
    assert {name for _, name in console.kept} == {"10.0.0.1", "10.0.0.2"}
    assert console.kept["assets", "10.0.0.1"]["name"] == "泵 1"


def test_a_kind_that_the_console_does_not_know_does_not_hold_up_the_other(tmp_path: Path) -> None:
    console = Console(UplinkError("no such thing (404)", permanent=True))
    reports = Reports(tmp_path / "note", console.post)
    reports.put("behaviours", "r1", [{"client": "10.0.0.1"}])
    reports.put("assets", "r1", [asset(1)])
    with pytest.raises(UplinkError):
        reports.step()
    assert reports.step()
    assert console.requests == [("behaviours", 1), ("assets", 1)]
    assert reports.counters()["reports.waiting"] == 1


def test_a_proxy_that_takes_little_gets_less_at_a_time(tmp_path: Path) -> None:
    console = Console()
    console.most = 300
    reports = Reports(tmp_path / "note", console.post)
    reports.put("assets", "r1", [asset(number, name="x" * 40) for number in range(8)] + [asset(9, name="x" * 400)])
    while reports.step():
        pass
    assert len(console.kept) == 8
    assert reports.dropped == 1, "the one that is longer than the proxy takes is told"


def test_memory_is_bounded_and_what_finds_no_room_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_WAITING", 5)
    reports = Reports(tmp_path / "note", Console().post)
    reports.put("assets", "r1", [asset(number) for number in range(8)])
    assert (reports.counters()["reports.waiting"], reports.dropped) == (5, 3)
    monkeypatch.setattr(limits, "MAX_WAITING_BYTES", 1)
    reports.put("assets", "r1", [asset(1, name="longer")])
    assert reports.dropped == 4


def test_the_sender_ends_when_it_is_told_to_also_while_the_console_is_away(tmp_path: Path) -> None:
    reports = Reports(tmp_path / "note", Console(*[UplinkError("away")] * 100).post)
    reports.put("assets", "r1", [asset(1)])
    stop = threading.Event()
    running = threading.Thread(target=reports.run, args=(stop,))
    running.start()
    stop.set()
    running.join(30)
    assert not running.is_alive()
    assert reports.counters()["reports.waiting"] == 1


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3), st.booleans()), max_size=60))
def test_whatever_fails_the_console_ends_with_the_latest_of_each(puts: list[tuple[int, int, bool]]) -> None:
    console = Console()
    reports = Reports(Path("/nowhere/at/all"), console.post)
    latest = {}
    for number, (who, value, fails) in enumerate(puts):
        reports.put("assets", "r", [asset(who, value=value, at=number)])
        latest[who] = number
        if fails:
            console.answers.append(UplinkError("away"))
            with pytest.raises(UplinkError):
                reports.step()
    while reports.step():
        pass
    assert {record["at"] for record in console.kept.values()} == set(latest.values())
    assert all(size <= MAX_RECORDS for _, size in console.requests)
    assert not reports.counters()["reports.waiting"]
    assert reports._bytes == 0


def counts(console: Console, told: list[tuple[str, str, int]], what: str, body: bytes) -> dict[str, Any]:
    """A console that adds up counts as ours does: by the latest run of each."""
    reply = console.post(what, body)
    told += [(it["run"], it["address"], it["count"]) for it in json.loads(body)[what]]
    return reply


def total(told: list[tuple[str, str, int]]) -> int:
    """What such a console has counted of one address."""
    summed, latest, counted = 0, "", 0
    for run, _, count in told:
        if run != latest:
            latest, counted = run, 0
        summed, counted = summed + max(count - counted, 0), max(counted, count)
    return summed


@pytest.mark.parametrize("taken", range(4))
def test_what_was_taken_of_a_note_is_not_sent_once_more_after_a_newer_run(tmp_path: Path, taken: int) -> None:
    console, told = Console(), list[tuple[str, str, int]]()

    def post(what: str, body: bytes) -> dict[str, Any]:
        return counts(console, told, what, body)

    first = Reports(tmp_path / "note", post)
    for run, count in (("r1", 3), ("r2", 5), ("r3", 7)):
        first.put("assets", run, [asset(1, count=count)])
    first.save()
    for _ in range(taken):
        assert first.step()  # then it is killed
    again = Reports(tmp_path / "note", post)
    assert again.counters()["reports.waiting"] == 3 - taken
    while again.step():
        pass
    assert total(told) == 15


def test_a_note_of_which_all_was_taken_is_gone_and_so_is_what_was_struck_out(tmp_path: Path) -> None:
    console = Console()
    reports = Reports(tmp_path / "note", console.post)
    reports.put("assets", "r1", [asset(1)])
    reports.save()
    while reports.step():
        pass
    reports.save()
    assert list(tmp_path.iterdir()) == []
    assert Reports(tmp_path / "note", console.post).counters()["reports.waiting"] == 0


def test_what_is_reported_anew_after_it_was_taken_stands_in_the_next_note(tmp_path: Path) -> None:
    console = Console()
    reports = Reports(tmp_path / "note", console.post)
    for firmware in ("V1", "V2"):
        reports.put("assets", "r1", [asset(1, firmware=firmware)])
        reports.save()
        if firmware == "V1":
            assert reports.step()
    again = Reports(tmp_path / "note", console.post)
    assert again.step()
    assert console.kept["assets", "10.0.0.1"]["firmware"] == "V2"


@pytest.mark.parametrize("kept", [0, 1, 5, -2])
def test_a_torn_line_of_what_was_struck_out_costs_only_itself(tmp_path: Path, kept: int) -> None:
    console = Console()
    reports = Reports(tmp_path / "note", console.post)
    reports.put("assets", "r1", [asset(1)])
    reports.put("assets", "r2", [asset(1)])
    reports.save()
    assert reports.step()
    struck = tmp_path / "note.taken"
    struck.write_bytes(struck.read_bytes()[:kept])
    again = Reports(tmp_path / "note", console.post)
    assert again.counters()["reports.waiting"] == 2
    assert again.step()
    assert Reports(tmp_path / "note", console.post).counters()["reports.waiting"] == 1


def test_a_note_of_an_earlier_version_is_taken_up_too(tmp_path: Path) -> None:
    lines = [["assets", run, "", "10.0.0.1", json.dumps(asset(1, run=run))] for run in ("r1", "r2")]
    (tmp_path / "note").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    console = Console()
    reports = Reports(tmp_path / "note", console.post)
    assert reports.step()
    assert Reports(tmp_path / "note", console.post).counters()["reports.waiting"] == 1
