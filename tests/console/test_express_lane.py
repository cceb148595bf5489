"""A critical finding of now reaches a real console over HTTP while a long queue drains."""

from __future__ import annotations

import threading
import time

import pytest
from records import EPOCH, STOP, record
from sqlalchemy import func, select
from support.serving import served

from console.store.models import Finding, FindingReceipt, SensorEpoch
from detectors.finding import Severity
from detectors.losses import loss_line
from sensor.spool import Spool
from sensor.uplink import Uplink

QUEUE = 12_000


@pytest.fixture
def url(app):
    with served(app) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool", lambda loss: loss_line(loss, "s1", EPOCH), clock=lambda: EPOCH)
    yield spool
    spool.close()


def minor(sequence):
    return record(sequence, severity=Severity.LOW, rule_id="scan.port", source_ip=f"10.1.{sequence % 50}.1")


def test_a_critical_finding_overtakes_a_queue_and_everything_arrives_once(url, store, tree, spool):
    for _ in range(QUEUE):
        spool.append(minor)
    spool.flush()
    uplink = Uplink(url, tree.plant_key, spool)
    stop = threading.Event()
    thread = threading.Thread(target=uplink.run, args=(stop, dict, lambda config: None))
    thread.start()
    try:
        while spool.acknowledged == 0:
            time.sleep(0.005)
            assert thread.is_alive()
        critical = spool.append(lambda sequence: record(sequence, STOP))
        spool.flush()
        waiting = 0
        while not waiting:
            with store.reader() as reader:
                if reader.scalar(select(Finding.id).where(Finding.rule_id == STOP.rule_id)) is not None:
                    waiting = critical - reader.scalars(select(SensorEpoch)).one().acknowledged
            assert thread.is_alive()
        assert waiting > QUEUE // 3, "it came long before its turn"
        while spool.depth:
            assert thread.is_alive()
            time.sleep(0.02)
    finally:
        stop.set()
        thread.join(20)
        uplink.close()
    assert uplink.sent_ahead == 1
    with store.reader() as reader:
        life = reader.scalars(select(SensorEpoch)).one()
        assert (life.acknowledged, life.received, life.duplicates) == (QUEUE + 1, QUEUE + 1, 0)
        assert reader.scalar(select(func.count(FindingReceipt.id))) == QUEUE + 1
        ours = Finding.rule_id.in_(("scan.port", STOP.rule_id))  # beside what the console says of the sensor itself
        assert reader.scalar(select(func.sum(Finding.count)).where(ours)) == QUEUE + 1
