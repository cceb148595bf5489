"""From a sensor's spool over a link that loses, through the receiver, into a real console: all is accounted for."""

from __future__ import annotations

import socket
import threading
import time
from random import Random

import pytest
import waitress
from records import EPOCH, STOP, record
from sqlalchemy import func, select

from console.services import losses, sensors
from console.store.models import Finding, FindingReceipt, Sensor, SensorEpoch
from detectors.losses import loss_line
from sensor.one_way import sender as sender_module
from sensor.one_way.receiver import Receiver
from sensor.one_way.sender import OneWayOptions, OneWaySender
from sensor.spool import Spool

COUNT = 3000


@pytest.fixture
def url(app):
    server = waitress.create_server(app, host="127.0.0.1", port=0, threads=4)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield f"http://127.0.0.1:{server.effective_port}"
    server.close()
    thread.join(10)


def test_what_a_diode_lost_is_told_exactly_at_the_console(url, tree, db, client, tmp_path, monkeypatch):
    monkeypatch.setattr(sender_module, "REPEAT_AFTER_S", 0.02)
    monkeypatch.setattr("sensor.one_way.inbox.GRACE_S", 0.3)
    monkeypatch.setattr(sender_module, "MAX_FINDINGS", 50)
    spool = Spool(tmp_path / "out", lambda loss: loss_line(loss, "s1", EPOCH), clock=lambda: EPOCH)
    for number in range(COUNT):
        spool.append(lambda sequence, number=number: record(sequence, STOP, source_ip=f"10.2.{number % 40}.1"))
        if number % 200 == 0:
            spool.flush()
    spool.flush()
    receiver = Receiver(("127.0.0.1", 0), url, [tree.plant_key], tmp_path / "in", loss_line)
    sender = OneWaySender(OneWayOptions("127.0.0.1", receiver.port, 1, 50_000_000), tree.plant_key, spool, "s1")
    chance, real, lost = Random(5), sender._socket, []

    class Lossy:
        """The sender's socket, before a link that loses a fifth: one copy and parity cannot mend that."""

        def sendto(self, data, address):
            if chance.random() < 0.2:
                lost.append(len(data))
            else:
                real.sendto(data, address)

        def close(self):
            real.close()

    sender._socket = Lossy()
    assert isinstance(real, socket.socket)
    stop = threading.Event()
    thread = threading.Thread(target=receiver.run, args=(stop,))
    thread.start()
    try:
        sender.drain(threading.Event(), 60)
        end = time.monotonic() + 240
        acknowledged = 0
        while acknowledged < COUNT and time.monotonic() < end:
            time.sleep(0.1)
            acknowledged = db.scalar(select(SensorEpoch.acknowledged)) or 0
            db.rollback()  # before it sleeps: a session that is open keeps the console from writing
        sender._send_state()
        time.sleep(0.2)
    finally:
        stop.set()
        thread.join(20)
        sender.close()
        spool.close()
    db.rollback()
    life = db.scalars(select(SensorEpoch)).one()
    assert (life.acknowledged, life.received, life.missing, life.epoch) == (COUNT, COUNT, 0, EPOCH)
    missing = sum(it.findings for it in losses.lost(db, tree.plant, tree.plant_sensor_id) if it.why == "missing")
    stored = db.scalar(
        select(func.count(FindingReceipt.id))
        .join(Finding, Finding.id == FindingReceipt.finding_id)
        .where(Finding.rule_id == STOP.rule_id)
    )
    assert stored + missing == COUNT
    assert missing > 0
    assert lost
    assert sensors.gaps(db, tree.plant, tree.plant_sensor_id) == []
    gap = db.scalars(select(Finding).where(Finding.rule_id == "sensor.one-way-gap")).one()
    assert gap.count == missing
    assert db.get_one(Sensor, tree.plant_sensor_id).counters["one_way.missing"] <= missing, "a heartbeat of its own"
    assert "Lost on the one-way link" in client.get(f"/sensors/{tree.plant_sensor_id}").text
