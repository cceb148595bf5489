"""Batches that other processes take in: the same answers, and a process that dies or hangs costs no finding."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from browser_kit import both_engines
from records import EPOCH, record, send
from sqlalchemy import func, select

from console import takers as module
from console.api.ingest import employ
from console.services import hooks, sensors
from console.services.batches import Caller, UnknownKeyError
from console.store.models import Finding, FindingReceipt, SensorEpoch
from console.takers import Takers


@pytest.fixture
def accident(monkeypatch, tmp_path) -> tuple[Path, Callable[[Callable[[], None]], None]]:
    """A file, and what makes the next process that stores a new finding, once the file stands there, do something."""
    file = tmp_path / "accident"

    def arm(happen: Callable[[], None]) -> None:
        def hook(_session, _findings, _now):
            if file.exists():
                file.unlink()
                happen()

        monkeypatch.setattr(hooks, "ON_NEW_FINDINGS", [hook])

    return file, arm


@pytest.fixture
def begin(settings, app) -> Iterator[Callable[[], Takers]]:
    """Begins them: they are a copy of this process as it is then."""
    begun: list[Takers] = []

    def start() -> Takers:
        begun.append(Takers(settings.store_url, 2))
        begun[0].start()
        employ(app, begun[0])
        return begun[0]

    yield start
    for takers in begun:
        takers.close()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang() -> None:
    time.sleep(600)


@both_engines
def test_they_answer_as_the_console_does(anonymous, tree, db, begin):
    begin()
    poisoned = record(2) | {"finding.count": 0}
    answer = send(anonymous, tree.plant_key, [record(1), poisoned, record(3), record(3)])
    assert answer.json == {
        "acknowledged": 3, "stored": 2, "duplicates": 1,
        "rejected": [{"finding.id": f"s1/{EPOCH}/2", "reason": answer.json["rejected"][0]["reason"]}],
    }  # fmt: skip
    assert "finding.count" in answer.json["rejected"][0]["reason"]
    assert db.scalars(select(Finding)).one().count == 2
    db.rollback()
    headers = {"Authorization": f"Bearer {tree.plant_key}"}
    answer = anonymous.post("/api/v1/findings", data=b'{"epoch": nonsense', headers=headers)
    assert (answer.status_code, "JSON" in answer.json["error"]) == (400, True)
    assert send(anonymous, "fhs_wrong", [record(4)]).status_code == 401


@both_engines
def test_several_that_get_the_same_count_it_once(app, tree, db, begin):
    begin()
    problems = [record(n, source_ip=f"10.0.0.{n % 7}", count=n) for n in range(1, 61)]

    def sender(first: int) -> None:
        client = app.test_client()
        for start in (first, 0, first // 2):
            while send(client, tree.plant_key, problems[start : start + 30]).status_code != 200:
                time.sleep(0.01)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(sender, first) for first in (0, 10, 20, 30)]:
            done.result(60)
    assert db.scalar(select(func.sum(Finding.count))) == sum(range(1, 61))
    assert db.scalars(select(SensorEpoch)).one().acknowledged == 60


def test_a_key_that_is_revoked_while_the_batch_is_read_stores_nothing(tree, db, begin, clock):
    takers = begin()

    class Revoke:
        def __enter__(self) -> None:
            sensors.revoke_key(db, tree.plant, tree.plant_sensor_id, clock())
            db.commit()

        def __exit__(self, *_error: object) -> None:
            pass

    caller = Caller("s1", tree.plant_sensor_id, tree.plant_key)
    with pytest.raises(UnknownKeyError):
        takers.take(caller, b'{"epoch":1,"findings":[]}', Revoke(), clock)
    assert db.scalar(select(func.count(SensorEpoch.id))) == 0


@pytest.mark.parametrize("what", [die, hang])
def test_one_that_is_lost_while_it_stores_costs_a_repetition_and_no_finding(
    anonymous, tree, db, begin, accident, what, monkeypatch
):
    file, arm = accident
    arm(what)
    monkeypatch.setattr(module, "PATIENCE_S", 60.0 if what is die else 2.0)
    begin()
    assert send(anonymous, tree.plant_key, [record(1)]).status_code == 200
    file.touch()
    answer = send(anonymous, tree.plant_key, [record(2, source_ip="10.0.0.6")])
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert not file.exists()
    again = send(anonymous, tree.plant_key, [record(2, source_ip="10.0.0.6")])
    assert again.json == {"acknowledged": 2, "stored": 1, "duplicates": 0, "rejected": []}
    assert db.scalar(select(func.count(FindingReceipt.id))) == 2


def test_where_none_can_be_had_the_console_takes_findings_in_itself(anonymous, tree, begin):
    takers = begin()
    os.kill(takers.nursery_pid, signal.SIGKILL)
    assert send(anonymous, tree.plant_key, [record(1)]).json["stored"] == 1


def test_a_fault_while_it_stores_is_answered_and_the_next_batch_is_taken(anonymous, tree, db, begin, accident):
    file, arm = accident

    def fail() -> None:
        raise RuntimeError("the outbox is broken")

    arm(fail)
    begin()
    file.touch()
    assert send(anonymous, tree.plant_key, [record(1)]).status_code == 500
    assert db.scalar(select(func.count(Finding.id))) == 0
    db.rollback()
    assert send(anonymous, tree.plant_key, [record(1)]).json["stored"] == 1


def test_they_end_with_the_console(anonymous, tree, begin):
    takers = begin()
    assert send(anonymous, tree.plant_key, [record(1)]).status_code == 200
    family = [psutil.Process(takers.nursery_pid), *psutil.Process(takers.nursery_pid).children()]
    assert len(family) == 2
    takers.close()
    _, left = psutil.wait_procs(family, 20)
    assert not left
