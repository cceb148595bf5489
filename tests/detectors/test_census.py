"""Census: what stands in a run is reported, news first, and what people are told of the rest is its number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from support.programs import ROOT

from detectors import behaviour_groups
from detectors.asset_changed import AssetChanged
from detectors.assets.inventory import Inventory
from detectors.assets.survey import Surveyor
from detectors.census import SELDOM_S, SOON_S, Census
from detectors.pipeline import Options, Pipeline
from sensor.capture.source import open_capture
from sensor.decode.pdu import Outcome
from sensor.reports import KEYS

PCAPS = ROOT / "pcaps"


class Told:
    """Collects reports."""

    def __init__(self) -> None:
        self.records: dict[str, list[Mapping[str, Any]]] = {"assets": [], "behaviours": []}
        self.runs: set[str] = set()

    def __call__(self, what: str, run: str, records: Sequence[Mapping[str, Any]]) -> None:
        if records:
            self.records[what] += records
            self.runs.add(run)


def told_of(capture: str) -> tuple[Told, Pipeline]:
    told = Told()
    pipeline = Pipeline(Options(report=told))
    list(pipeline.run(open_capture(str(PCAPS / capture))))
    return told, pipeline


def test_a_run_reports_its_devices_as_the_inventory_lists_them() -> None:
    told, _ = told_of("s7comm/stations_with_identities.pcap")
    inventory = Inventory()
    list(
        Pipeline(detectors=[Surveyor(inventory)]).run(open_capture(str(PCAPS / "s7comm/stations_with_identities.pcap")))
    )
    latest = {(it.get("segment", ""), it["address"]): it for it in told.records["assets"]}
    assert latest.keys() == {(key.segment, key.address) for key in inventory.assets}
    for key, asset in inventory.assets.items():
        record = latest[key.segment, key.address]
        assert [role["role"] for role in record["roles"]] == [role.name for role in asset.roles]
        assert len(record.get("facts", ())) == sum(map(len, asset.facts.values()))
    assert len(told.runs) == 1


@pytest.mark.parametrize("capture", ["modbus/commands_replayed.pcap", "s7comm/snap7_program.pcap",
                                     "iec104/industroyer.pcap", "dnp3/rogue_master_operates.pcap"])  # fmt: skip
def test_what_is_told_of_behaviours_adds_up_to_all_events(capture: str) -> None:
    told, pipeline = told_of(capture)
    table = pipeline.decoder.view.behaviours.table
    latest = {tuple(str(it[name]) for name in KEYS["behaviours"]): it for it in told.records["behaviours"]}
    by_outcome = {it: int(table["count"][table["outcome"] == it].sum()) for it in Outcome}
    for outcome in (Outcome.ANSWERED, Outcome.REFUSED, Outcome.UNANSWERED):
        assert sum(it[outcome.name.lower()] for it in latest.values()) == by_outcome[outcome]
    assert sum(it["count"] for it in latest.values()) == by_outcome[Outcome.ASKED] + by_outcome[Outcome.UNSOLICITED]
    assert pipeline.counters()["behaviours_unreported"] == 0


def test_who_commands_what_has_a_name() -> None:
    told, _ = told_of("dnp3/rogue_master_operates.pcap")
    did = Counter((it["client"], it["operation"], it["action"]) for it in told.records["behaviours"])
    assert did["10.20.4.10", "operate", "command"] == 1
    assert {it["station"] for it in told.records["behaviours"] if it["operation"] == "operate"} == {41}


def test_a_flood_of_operations_ends_at_a_limit_that_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behaviour_groups, "MAX_GROUPS", 2)
    told, pipeline = told_of("modbus/commands_replayed.pcap")
    assert len(told.records["behaviours"]) == 2
    assert pipeline.counters()["behaviours_unreported"] == 2


def test_news_is_told_at_the_next_look_and_what_only_goes_on_seldom() -> None:
    told, now = Told(), [0.0]
    knower = AssetChanged()
    pipeline = Pipeline(detectors=[knower])
    census = Census(told, lambda: knower.inventory, lambda: now[0])
    pipeline.detectors.append(census)
    batches = list(open_capture(str(PCAPS / "modbus/commands_replayed.pcap")))
    (whole,) = batches
    half = whole.size // 2

    def frames() -> Any:
        for begin in range(0, whole.size, half // 10):
            part = slice(begin, begin + half // 10)
            now[0] += SOON_S + 1
            yield whole._replace(
                ts_ns=whole.ts_ns[part], offset=whole.offset[part], captured=whole.captured[part],
                wire=whole.wire[part], link=whole.link[part], first=whole.first + begin,
            )  # fmt: skip

    list(pipeline.run(frames()))
    times = Counter(it["operation"] for it in told.records["behaviours"])
    looks = now[0] / SOON_S
    assert times["read_coils"] <= 2 + now[0] // SELDOM_S < looks, "counted on: seldom, and once at the end"
    addresses = Counter(it["address"] for it in told.records["assets"])
    assert set(addresses.values()) <= {1, 2, 3}, "once, when it says more, and once at the end"
