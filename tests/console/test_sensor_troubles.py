"""Silent, blind, cloned, off the clock: what the console finds out about its sensors, and when it is over."""

from __future__ import annotations

import pytest
from records import EPOCH, record, send
from sqlalchemy import func, select

from console.services import sensors, troubles
from console.services.silence import ASLEEP_S, QUIET_S, SilenceWatch
from console.services.troubles import Kind
from console.store.models import EntryKind, Finding, Incident, IncidentEntry, Sensor, SensorTrouble
from detectors.finding import Severity


class Steady:
    """A clock that only goes forward, by hand."""

    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def beat(anonymous, tree, clock):
    """Send a heartbeat as the plant's sensor does, ten seconds after the one before."""

    def one(seconds: float = 10, epoch: int = EPOCH, key: str = tree.plant_key, **counters):
        clock.advance(seconds=seconds)
        body = {"epoch": epoch, "counters": {name.replace("__", "."): value for name, value in counters.items()}}
        answer = anonymous.post("/api/v1/heartbeat", json=body, headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200, answer.text
        return answer.json

    return one


@pytest.fixture
def watch(store, clock):
    """The watch on silence, and how time passes for it: `passes(seconds)` looks every second."""
    steady = Steady()
    looking = SilenceWatch(store, clock, steady)

    def passes(seconds: int, wall: bool = True) -> None:
        for _ in range(seconds):
            steady.s += 1
            if wall:
                clock.advance(seconds=1)
            looking.tick()

    looking.passes, looking.steady = passes, steady
    return looking


def rows(db, query):
    """What a query finds by now. The session is a writer's: it must not stay open, or the console could not write."""
    read = list(db.scalars(query))
    db.expunge_all()
    db.rollback()
    return read


def found(db, kind: Kind) -> list[Finding]:
    return rows(db, select(Finding).where(Finding.rule_id == troubles.RULES[kind]).order_by(Finding.id))


def test_a_sensor_that_falls_silent_is_a_finding_an_incident_and_says_when_it_is_back(db, tree, beat, watch, client):
    beat()
    watch.passes(int(QUIET_S))
    assert not found(db, Kind.SILENT)
    watch.passes(1)
    (finding,) = found(db, Kind.SILENT)
    assert finding.severity == Severity.HIGH
    assert finding.organisation_id == tree.plant.organisation_id
    assert "s1" in finding.message_en
    assert "s1" in finding.message_zh
    (incident,) = rows(db, select(Incident))
    watch.passes(100)
    assert len(found(db, Kind.SILENT)) == 1
    beat(1)
    watch.passes(1)
    (finding,) = found(db, Kind.SILENT)
    assert "Over since" in finding.message_en
    assert "恢复" in finding.message_zh
    kinds = rows(db, select(IncidentEntry.kind).where(IncidentEntry.incident_id == incident.id))
    assert EntryKind.RECOVERED in kinds
    page = client.get(f"/sensors/{tree.plant_sensor_id}")
    assert "Silent" in page.text
    assert client.get(f"/incidents/{incident.id}").status_code == 200


def test_findings_count_as_signs_of_life(db, anonymous, tree, beat, watch):
    beat()
    for number in range(1, 9):
        watch.passes(10)
        send(anonymous, tree.plant_key, [record(number)])
    assert not found(db, Kind.SILENT)


def test_a_sensor_that_says_goodbye_may_be_silent_until_it_speaks_again(db, tree, beat, watch, clock):
    beat()
    beat(sensor__goodbye=True)
    watch.passes(500)
    assert not found(db, Kind.SILENT)
    (sensor,) = rows(db, select(Sensor).where(Sensor.id == tree.plant_sensor_id))
    assert sensors.state(sensor, clock()) is sensors.State.STOPPED
    beat()
    watch.passes(int(QUIET_S) + 1)
    assert len(found(db, Kind.SILENT)) == 1


def test_a_restart_of_the_console_makes_nobody_silent_and_nobody_speak(db, store, tree, beat, clock):
    beat()
    clock.advance(hours=1)  # the console was off
    steady = Steady()
    watch = SilenceWatch(store, clock, steady)
    for _ in range(int(QUIET_S) - 1):
        steady.s += 1
        watch.tick()
    assert not found(db, Kind.SILENT)
    for _ in range(3):
        steady.s += 1
        watch.tick()
    assert len(found(db, Kind.SILENT)) == 1
    again = SilenceWatch(store, clock, steady)
    again.tick()
    assert [trouble.ended_at for trouble in rows(db, select(SensorTrouble))] == [None]


@pytest.mark.parametrize("jump", [{"hours": 5}, {"hours": -5}], ids=["forward", "back"])
def test_a_clock_that_is_set_makes_nobody_silent_and_hides_nobody(db, beat, watch, clock, jump):
    beat()
    watch.passes(5)
    clock.advance(**jump)
    watch.passes(int(QUIET_S) - 6)
    assert not found(db, Kind.SILENT)
    watch.passes(3)
    assert len(found(db, Kind.SILENT)) == 1
    beat(1)
    watch.passes(2)
    assert rows(db, select(SensorTrouble))[0].ended_at is not None


def test_while_the_watch_itself_was_asleep_nobody_was_silent(db, beat, watch):
    beat()
    watch.passes(2)
    watch.steady.s += 3600 + ASLEEP_S
    watch.tick()
    watch.passes(10)
    assert not found(db, Kind.SILENT)


def test_a_sensor_that_flaps_is_one_finding_and_calls_nobody_anew(db, beat, watch):
    beat()
    for _ in range(3):
        watch.passes(int(QUIET_S) + 1)
        beat(1)
        watch.passes(2)
    (finding,) = found(db, Kind.SILENT)
    assert finding.count == 3
    assert rows(db, select(func.count(Incident.id))) == [1]


def test_a_revoked_sensor_is_not_missed(db, tree, beat, watch, clock):
    beat()
    sensors.revoke_key(db, tree.plant, tree.plant_sensor_id, clock())
    db.commit()
    watch.passes(100)
    assert not found(db, Kind.SILENT)


def test_a_mirror_port_that_runs_dry_is_found_within_a_minute(db, beat):
    beat(eth1__state="up", eth1__frames=1000)
    beats = 0
    while not found(db, Kind.BLIND):
        beats += 1
        assert beats * 10 <= 60
        beat(eth1__state="up", eth1__frames=1000)
    (finding,) = found(db, Kind.BLIND)
    assert "eth1" in finding.message_en
    assert finding.severity == Severity.HIGH
    beat(eth1__state="up", eth1__frames=1001)
    assert "Over since" in found(db, Kind.BLIND)[0].message_en


def test_traffic_however_thin_blinds_nobody(db, beat):
    for frames in range(30):
        beat(eth1__state="up", eth1__frames=frames // 3)
    assert not found(db, Kind.BLIND)


def test_a_clock_that_is_set_between_two_beats_blinds_nobody(db, beat):
    beat(eth1__state="up", eth1__frames=10)
    beat(seconds=7200, eth1__state="up", eth1__frames=10)
    assert not found(db, Kind.BLIND)


def test_an_interface_that_is_down_blinds(db, beat):
    beat(eth1__state="up", eth1__frames=10)
    beat(eth1__state="down", eth1__frames=10)
    assert not found(db, Kind.BLIND)
    beat(eth1__state="down", eth1__frames=10)
    assert "down" in found(db, Kind.BLIND)[0].message_en


def test_heavy_loss_blinds_and_a_little_does_not(db, beat):
    for number in range(10):
        beat(eth1__state="up", eth1__frames=number * 1000, eth1__dropped=number * 10)
    assert not found(db, Kind.BLIND)
    for number in range(4):
        beat(eth1__state="up", eth1__frames=10_000 + number * 1000, eth1__dropped=100 + number * 500)
    assert "loses" in found(db, Kind.BLIND)[0].message_en


def test_a_sensor_without_interfaces_is_not_blind(db, beat):
    for _ in range(10):
        beat(frames=10)
    assert not found(db, Kind.BLIND)


@pytest.mark.parametrize("skew", [3.0, -86_400.0])
def test_a_clock_that_is_off_is_found_and_what_is_sent_is_stored(db, beat, clock, anonymous, tree, skew):
    for _ in range(2):
        beat(sensor__time=clock().timestamp() + 10 + skew)
    (finding,) = found(db, Kind.CLOCK)
    assert finding.severity == Severity.MEDIUM
    assert send(anonymous, tree.plant_key, [record(1)]).json["stored"] == 1
    beat(sensor__time=clock().timestamp() + 10 + 1.0)
    assert "Over since" in found(db, Kind.CLOCK)[0].message_en


@pytest.mark.parametrize(
    "clocks", [[10.5, 10.5, 10.5], [15.0, 10.0, 15.0, 10.0]], ids=["half a second", "slow answers"]
)
def test_a_clock_that_is_nearly_right_is_right(db, beat, clock, clocks):
    for ahead in clocks:
        beat(sensor__time=clock().timestamp() + ahead)
    assert not found(db, Kind.CLOCK)


def test_a_beat_that_was_long_on_its_way_says_nothing_of_the_clock(db, beat, clock):
    for _ in range(4):
        beat(sensor__time=clock().timestamp() + 10 - 30.0, clock__skew_s=0.2)
    assert not found(db, Kind.CLOCK)


@pytest.mark.parametrize("value", ["now", True, None, {"a": 1}, 2**63])
def test_counters_that_mean_nothing_are_shown_and_break_nothing(db, beat, client, tree, value):
    for _ in range(3):
        beat(sensor__time=value, sensor__instance=value, eth1__state=value, eth1__frames=value, sensor__goodbye=value)
    assert client.get(f"/sensors/{tree.plant_sensor_id}").status_code == 200


def test_one_number_with_two_contents_is_a_clone_at_once(db, anonymous, tree):
    assert send(anonymous, tree.plant_key, [record(1), record(2)]).json["stored"] == 2
    forked = record(2, source_ip="10.0.0.77")
    assert send(anonymous, tree.plant_key, [forked]).json["duplicates"] == 1
    (finding,) = found(db, Kind.CLONED)
    assert finding.severity == Severity.CRITICAL
    assert f"s1/{EPOCH}/2" in finding.message_en


def test_the_same_number_twice_in_a_batch_with_two_contents_is_a_clone(db, anonymous, tree):
    send(anonymous, tree.plant_key, [record(1), record(1, source_ip="10.0.0.77")])
    assert len(found(db, Kind.CLONED)) == 1


def test_a_repeat_is_no_clone_nor_is_what_stands_in_for_a_damaged_finding(db, anonymous, tree):
    batch = [record(1), record(2)]
    send(anonymous, tree.plant_key, batch)
    send(anonymous, tree.plant_key, batch)
    send(anonymous, tree.plant_key, [record(2, rule_id="sensor.spool-damaged")])
    assert not found(db, Kind.CLONED)


def test_heartbeats_of_two_processes_that_take_turns_are_a_clone(db, beat):
    for instance in "ab":
        beat(sensor__instance=instance)
    assert not found(db, Kind.CLONED)  # a restart
    beat(sensor__instance="a")
    assert len(found(db, Kind.CLONED)) == 1


def test_restarts_are_no_clones_however_many(db, beat):
    for number in range(30):
        beat(sensor__instance=str(number))
        beat(sensor__instance=str(number))
    assert not found(db, Kind.CLONED)


def test_a_new_key_ends_the_clone(db, beat, tree, clock):
    for instance in "aba":
        beat(sensor__instance=instance)
    sensors.renew_key(db, tree.plant, tree.plant_sensor_id, clock())
    db.commit()
    assert "Over since" in found(db, Kind.CLONED)[0].message_en


def test_troubles_of_another_organisation_stay_there(db, tree, beat, watch):
    beat()
    watch.passes(int(QUIET_S) + 1)
    assert troubles.lasting(db, tree.plant)
    assert not troubles.lasting(db, tree.mill)
    assert not troubles.history(db, tree.mill, tree.plant_sensor_id)


def test_no_sensor_can_send_a_finding_in_the_name_of_the_console(anonymous, tree):
    answer = send(anonymous, tree.plant_key, [record(1) | {"finding.id": f"s1@console/{EPOCH}/1"}])
    assert answer.json["stored"] == 0
