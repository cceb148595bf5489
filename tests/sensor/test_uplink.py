"""The uplink against a real HTTP server that fails in every way a console, a proxy or a network can."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from sensor import uplink as uplink_module
from sensor.spool import Spool, SpoolError
from sensor.uplink import Uplink, UplinkError

KEY = "sensor-key-1"
EPOCH = 1_764_000_000
DROP = "drop the connection"


class Console(ThreadingHTTPServer):
    """A small console: keeps findings by id, acknowledges without gaps, and answers first what `script` says.

    script: answers given before the normal one, oldest first: (status, headers, body), or DROP. `late` takes the
    findings in before it plays the next one, as a console whose reply is lost after its commit.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.script = []
        self.late = False
        self.rejects = set()
        self.largest = 8 * 1024 * 1024
        self.stored = {}
        self.arrivals = 0  # findings that came in, repeated ones included
        self.batches = []
        self.beats = []
        self.version = "v1"
        self.indicators = [{"id": "1", "type": "ip", "value": "192.0.2.1", "bulletin": {}}]

    def take(self, batch):
        rejected = []
        for finding in batch["findings"]:
            self.arrivals += 1
            sequence = int(finding["finding.id"].rpartition("/")[2])
            self.stored[sequence] = finding
            if sequence in self.rejects:
                rejected.append({"finding.id": finding["finding.id"], "reason": "no\nschema"})
        self.batches.append(len(batch["findings"]))
        acknowledged = 0
        while acknowledged + 1 in self.stored:
            acknowledged += 1
        return {"acknowledged": acknowledged, "stored": len(batch["findings"]), "duplicates": 0, "rejected": rejected}


class Handler(BaseHTTPRequestHandler):
    server: Console

    def log_message(self, *_):
        """Tests read no access log."""

    def do_GET(self):
        self.answer(None)

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body):
        console = self.server
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            return self.reply(401, {}, b'{"error": "no"}')
        if body is not None and len(body) > console.largest:
            return self.reply(413, {}, b"")
        taken = None
        if self.path == "/api/v1/findings" and (console.late or not console.script):
            taken = console.take(json.loads(body))
        if console.script:
            scripted = console.script.pop(0)
            if scripted == DROP:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return None
            return self.reply(*scripted)
        if taken is not None:
            return self.reply(200, {}, json.dumps(taken).encode())
        if self.path == "/api/v1/heartbeat":
            console.beats.append(json.loads(body))
            return self.reply(200, {}, json.dumps({"config_version": console.version}).encode())
        if self.path == "/api/v1/config":
            config = {"version": console.version, "sensor": "north", "indicators": console.indicators}
            return self.reply(200, {}, json.dumps(config).encode())
        return self.reply(404, {}, b"")

    def reply(self, status, headers, body):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def console():
    server = Console()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool", build_loss=lambda loss: finding(loss.last, "lost"), clock=lambda: EPOCH)
    yield spool
    spool.close()


@pytest.fixture
def connect(spool):
    opened = []

    def make(url, key=KEY, **options):
        uplink = Uplink(url, key, spool, jitter=lambda: 0.5, **options)
        opened.append(uplink)
        return uplink

    yield make
    for uplink in opened:
        uplink.close()


def finding(sequence, message="烽火"):
    return {"finding.id": f"north/{EPOCH}/{sequence}", "message": message}


def fill(spool, count, message="烽火"):
    for _ in range(count):
        spool.append(lambda sequence: finding(sequence, message))
    spool.flush()


@pytest.fixture
def impatient(monkeypatch):
    """Pauses of nothing, noted; so that no test waits."""
    pauses = []

    class Stop(threading.Event):
        def wait(self, timeout=None):
            pauses.append(timeout)
            return super().wait(0)

    return Stop(), pauses


def test_findings_arrive_as_they_were_spooled_and_leave_the_spool(console, spool, connect):
    fill(spool, 3)
    assert connect(console.url).send_batch() == 3
    assert [console.stored[i] for i in (1, 2, 3)] == [finding(i) for i in (1, 2, 3)]
    assert (spool.acknowledged, spool.depth) == (3, 0)
    assert connect(console.url).send_batch() == 0
    assert console.batches == [3], "an empty spool sends nothing"


def test_a_long_queue_goes_in_batches_that_the_console_takes(console, spool, connect, impatient):
    fill(spool, 2201)
    connect(console.url).drain(impatient[0], give_up_s=5)
    assert console.batches == [1000, 1000, 201]
    assert sorted(console.stored) == list(range(1, 2202))


def test_no_request_is_longer_than_the_console_takes(console, spool, connect, impatient):
    fill(spool, 9, "m" * 2_000_000)
    connect(console.url).drain(impatient[0], give_up_s=5)
    assert console.batches == [4, 4, 1]
    assert sorted(console.stored) == list(range(1, 10))


def test_a_proxy_that_takes_less_gets_less(console, spool, connect, impatient):
    console.largest = 10_000
    fill(spool, 100, "m" * 500)
    connect(console.url).drain(impatient[0], give_up_s=5)
    assert sorted(console.stored) == list(range(1, 101))
    assert max(console.batches) <= 19


def test_one_finding_that_is_too_long_for_the_proxy_is_an_error_not_an_endless_loop(console, spool, connect):
    console.largest = 100
    fill(spool, 2, "m" * 500)
    with pytest.raises(UplinkError, match="takes no request as long as") as caught:
        connect(console.url).send_batch()
    assert caught.value.permanent
    assert spool.depth == 2


def test_a_reply_lost_after_the_commit_costs_a_repetition_and_nothing_else(console, spool, connect, impatient):
    fill(spool, 5)
    console.late = True
    console.script = [DROP]
    connect(console.url).drain(impatient[0], give_up_s=60)
    assert sorted(console.stored) == [1, 2, 3, 4, 5]
    assert console.arrivals == 10
    assert (spool.acknowledged, spool.depth) == (5, 0)


def test_a_sensor_that_restarts_before_the_reply_sends_again_under_the_same_ids(console, spool, connect, tmp_path):
    fill(spool, 3)
    console.late = True
    console.script = [DROP]
    with pytest.raises(UplinkError, match="cannot be reached"):
        connect(console.url).send_batch()
    spool.close()
    again = Spool(tmp_path / "spool", build_loss=lambda loss: finding(loss.last))
    again.append(finding)
    again.flush()
    uplink = Uplink(console.url, KEY, again)
    assert [uplink.send_batch(), uplink.send_batch()] == [3, 1], "first what the console may have already"
    assert [console.stored[i] for i in range(1, 5)] == [finding(i) for i in range(1, 5)]
    uplink.close()
    again.close()


def test_a_partial_acknowledgement_is_honoured(console, spool, connect):
    fill(spool, 5)
    partly = {"acknowledged": 2, "stored": 2, "duplicates": 0, "rejected": []}
    console.late = True
    console.script = [(200, {}, json.dumps(partly).encode())]
    uplink = connect(console.url)
    assert uplink.send_batch() == 2
    assert uplink.send_batch() == 3
    assert console.batches == [5, 3]


def test_what_the_console_rejects_for_good_is_logged_counted_and_passed(console, spool, connect, caplog):
    fill(spool, 3)
    console.rejects = {2}
    uplink = connect(console.url)
    assert uplink.send_batch() == 3
    assert (uplink.sent, uplink.rejected, spool.depth) == (3, 1, 0)
    assert [record.message for record in caplog.records if record.name == "sensor.uplink"] == [
        f"the console rejects finding north/{EPOCH}/2: no\\nschema"
    ]


def test_findings_of_another_sensor_stay_in_the_spool_and_the_reason_is_told(console, spool, connect):
    fill(spool, 2)
    nothing = {
        "acknowledged": 0, "stored": 0, "duplicates": 0,
        "rejected": [{"finding.id": "north/1/1", "reason": "this key belongs to sensor south"}],
    }  # fmt: skip
    console.script = [(200, {}, json.dumps(nothing).encode())]
    with pytest.raises(UplinkError, match=r"takes none of 2 .*\(this key belongs to sensor south\)"):
        connect(console.url).send_batch()
    assert spool.depth == 2


def test_a_console_that_knows_more_than_was_sent_points_to_a_copied_spool(console, spool, connect):
    fill(spool, 2)
    console.script = [(200, {}, b'{"acknowledged": 900}')]
    with pytest.raises(SpoolError, match="another sensor uses a copy"):
        connect(console.url).send_batch()
    assert spool.depth == 2


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured_with_jitter(console, spool, connect, impatient, status):
    stop, pauses = impatient
    fill(spool, 1)
    console.script = [(status, {"Retry-After": "7"}, b"")]
    connect(console.url).drain(stop, give_up_s=60)
    assert pauses == [7.5]
    assert spool.depth == 0


def test_retry_after_may_be_a_date_or_nonsense(console, spool, connect):
    fill(spool, 1)
    uplink = connect(console.url, clock=lambda: 1_000_000.0)
    for value, expected in [
        (formatdate(1_000_030, usegmt=True), 30.0),
        (formatdate(999_000, usegmt=True), 0.0),
        ("999999999999999999", uplink_module.LONGEST_RETRY_AFTER_S),
        ("-5", None), ("soon", None), ("²", None), ("", None),
    ]:  # fmt: skip
        console.script = [(429, {"Retry-After": value.encode().decode("latin-1")}, b"")]
        with pytest.raises(UplinkError) as caught:
            uplink.send_batch()
        assert caught.value.retry_after_s == expected
        assert not caught.value.permanent


def test_pauses_grow_up_to_a_bound_and_begin_anew_after_success(console, spool, connect, impatient):
    stop, pauses = impatient
    fill(spool, 1)
    console.script = [(500, {}, b"")] * 9
    uplink = connect(console.url)
    uplink.drain(stop, give_up_s=1000)
    assert pauses == [0.75, 1.5, 3.0, 6.0, 12.0, 24.0, 45.0, 45.0, 45.0]
    fill(spool, 1)
    console.script = [DROP]
    uplink.drain(stop, give_up_s=1000)
    assert pauses[9:] == [0.75]


def test_draining_gives_up_after_its_time_and_at_once_where_only_a_person_can_help(console, spool, connect, impatient):
    stop, pauses = impatient
    fill(spool, 1)
    console.script = [(500, {}, b"")] * 50
    with pytest.raises(UplinkError, match="failed \\(500\\)"):
        connect(console.url).drain(stop, give_up_s=5)
    assert len(pauses) == 3
    with pytest.raises(UplinkError, match="does not accept this sensor's key"):
        connect(console.url, key="wrong").drain(stop, give_up_s=1000)
    assert len(pauses) == 3
    assert spool.depth == 1


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_a_console_that_is_not_there_is_one_clear_line(spool, connect):
    fill(spool, 1)
    port = free_port()
    with pytest.raises(UplinkError) as caught:
        connect(f"http://127.0.0.1:{port}/").send_batch()
    assert str(caught.value) == (
        f"http://127.0.0.1:{port} cannot be reached (Connection refused); is the console running at this address?"
    )
    assert not caught.value.permanent


@pytest.mark.parametrize(
    ("answer", "expected", "permanent"),
    [
        ((401, {}, b""), "does not accept this sensor's key (401); make a key", True),
        ((403, {}, b""), "does not accept this sensor's key (403); make a key", True),
        ((404, {}, b""), "no Fenghuo console answers at", True),
        ((302, {"Location": "https://plant/"}, b""), "sends on to https://plant/; give", True),
        ((302, {"Location": "https://plant/\x1b[1m"}, b""), "Invalid URL in location header", False),
        ((400, {}, b'{"error": "too\\nmany"}'), "refuses what this sensor sends (400: too\\nmany)", True),
        ((400, {}, b"<html>"), "refuses what this sensor sends (400)", True),
        ((418, {}, b""), "refuses what this sensor sends (418)", True),
        ((502, {}, b""), "failed (502)", False),
        ((200, {}, b"<html>"), "answered something that is no JSON object", False),
        ((200, {}, b"[" * 100_000), "answered something that is no JSON object", False),
        ((200, {}, b"[]"), "answered something that is no JSON object", False),
        ((200, {}, b"{}"), "answered without saying what it has", False),
        ((200, {}, b'{"acknowledged": true}'), "answered without saying what it has", False),
        ((200, {}, b'{"acknowledged": -1}'), "takes none of 1 findings", True),
        (DROP, "cannot be reached", False),
    ],
    ids=str,
)  # fmt: skip
def test_every_odd_answer_is_one_clear_line_and_loses_nothing(console, spool, connect, answer, expected, permanent):
    fill(spool, 1)
    console.script = [answer]
    uplink = connect(console.url)
    with pytest.raises(UplinkError) as caught:
        uplink.send_batch()
    assert expected in str(caught.value)
    assert str(caught.value).isprintable()
    assert KEY not in str(caught.value)
    assert caught.value.permanent is permanent
    assert spool.depth == 1
    assert uplink.send_batch() == 1


def test_a_reply_without_end_is_cut_off(console, spool, connect, monkeypatch):
    monkeypatch.setattr(uplink_module, "MAX_REPLY_BYTES", 1000)
    fill(spool, 1)
    console.script = [(200, {}, b" " * 2000)]
    with pytest.raises(UplinkError, match="answers without end"):
        connect(console.url).send_batch()


def test_a_console_that_hangs_is_left_in_time(spool, connect):
    fill(spool, 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uplink = connect(f"http://127.0.0.1:{silent.getsockname()[1]}", timeouts=httpx.Timeout(0.2))
        with pytest.raises(UplinkError, match="did not answer in time"):
            uplink.send_batch()


@pytest.mark.parametrize(
    "url", ["", "localhost:8600", "ftp://a", "http://", "http://u:p@h", "http://h/?q", "http://h:x", "\n"]
)
def test_what_is_no_address_is_refused_at_once(spool, url):
    with pytest.raises(UplinkError, match="is not the address of a console") as caught:
        Uplink(url, KEY, spool)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("key", ["", "  ", "a b", "钥匙", "a\nb"])
def test_what_is_no_key_is_refused_at_once(spool, key):
    with pytest.raises(UplinkError, match="this is not a sensor key"):
        Uplink("http://127.0.0.1", key, spool)


def test_proxies_of_the_environment_do_not_get_the_key(console, spool, connect, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{free_port()}")
    fill(spool, 1)
    assert connect(console.url).send_batch() == 1


def test_a_heartbeat_carries_the_counters_and_brings_the_version(console, spool, connect):
    fill(spool, 4)
    uplink = connect(console.url)
    assert uplink.heartbeat({"frames": 10}) == "v1"
    (beat,) = console.beats
    assert beat["epoch"] == EPOCH
    assert abs(beat["counters"].pop("sensor.time") - time.time()) < 60
    assert beat["counters"].pop("sensor.instance")
    assert beat["counters"].pop("spool.bytes") == spool.used_bytes > 0
    assert beat["counters"] == {
        "frames": 10, "spool.depth": 4, "spool.lost": 0, "spool.shed": 0, "uplink.sent": 0, "uplink.sent_ahead": 0,
        "uplink.rejected": 0, "uplink.retries": 0,
    }  # fmt: skip


def test_configuration_brings_indicators_and_leaves_out_what_is_none(console, connect, caplog):
    good = {"id": "x", "type": "cidr", "value": "192.0.2.0/24"}
    console.indicators = [good, None, 7, {"id": "y"}, {"id": "z", "type": 3, "value": 4}]
    config = connect(console.url).fetch_config()
    assert (config.version, config.sensor, config.indicators) == ("v1", "north", (good,))
    assert "4 of 5 indicators from the console are malformed" in caplog.text
    console.script = [(200, {}, b'{"version": "v2"}')]
    with pytest.raises(UplinkError, match="answered without indicators"):
        connect(console.url).fetch_config()


def test_the_running_uplink_sends_beats_and_fetches_only_new_configuration(console, spool, connect, monkeypatch):
    monkeypatch.setattr(uplink_module, "HEARTBEAT_S", 0.0)
    monkeypatch.setattr(uplink_module, "IDLE_S", 0.01)
    configs = []
    changed, stop = threading.Event(), threading.Event()

    def on_config(config):
        configs.append(config.version)
        if len(configs) == 2:
            changed.set()

    uplink = connect(console.url)
    thread = threading.Thread(target=uplink.run, args=(stop, lambda: {"frames": 1}, on_config))
    thread.start()
    try:
        for i in range(1, 6):
            fill(spool, 1)
            while spool.acknowledged < i:
                assert thread.is_alive()
                stop.wait(0.01)
        console.version = "v2"
        assert changed.wait(20)
        while len(console.beats) < 10:
            assert thread.is_alive()
            stop.wait(0.01)
    finally:
        stop.set()
        thread.join(20)
    assert not thread.is_alive()
    assert configs == ["v1", "v2"]
    assert sorted(console.stored) == [1, 2, 3, 4, 5]


def test_the_running_uplink_outlives_every_trouble_and_tells_each_once(console, spool, connect, monkeypatch, caplog):
    monkeypatch.setattr(uplink_module, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(uplink_module, "LONGEST_PAUSE_S", 0.002)
    monkeypatch.setattr(uplink_module, "HEARTBEAT_S", 1000.0)
    caplog.set_level(logging.INFO, "sensor.uplink")
    fill(spool, 1)
    console.script = [(503, {"Retry-After": "0"}, b"")] * 6 + [(401, {}, b"")] * 3 + [DROP] * 3
    stop = threading.Event()
    uplink = connect(console.url)
    thread = threading.Thread(target=uplink.run, args=(stop, dict, lambda config: None))
    thread.start()
    try:
        while "the console can be reached again" not in caplog.text:
            assert thread.is_alive()
            stop.wait(0.01)
    finally:
        stop.set()
        thread.join(20)
    told = [record.message for record in caplog.records if record.name == "sensor.uplink"]
    assert [text.partition(" ")[2].partition(";")[0] for text in told[:-1]] == [
        "is busy (503)", "does not accept this sensor's key (401)",
        "cannot be reached (Server disconnected without sending a response.)",
    ]  # fmt: skip
    assert spool.depth == 0
    assert uplink.retries >= 10


def test_a_console_that_is_slow_to_answer_after_trouble_is_not_said_to_be_back_before_it_answers(
    console, spool, connect, monkeypatch, caplog
):
    monkeypatch.setattr(uplink_module, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(uplink_module, "LONGEST_PAUSE_S", 0.002)
    monkeypatch.setattr(uplink_module, "LONGEST_LOOK_S", 0.01)
    monkeypatch.setattr(uplink_module, "HEARTBEAT_S", 1000.0)
    caplog.set_level(logging.INFO, "sensor.uplink")
    uplink = connect(console.url)
    asked, released = threading.Event(), threading.Event()
    post = uplink._post

    def slow(parcel):
        if asked.is_set():
            assert released.wait(20)
        asked.set()
        return post(parcel)

    monkeypatch.setattr(uplink, "_post", slow)
    monkeypatch.setattr(uplink, "heartbeat", lambda *_, **__: (_ for _ in ()).throw(UplinkError("not now")))
    fill(spool, 1)
    console.script = [DROP]
    stop = threading.Event()
    thread = threading.Thread(target=uplink.run, args=(stop, dict, lambda config: None))
    thread.start()
    try:
        while not uplink._flying or console.script:
            assert thread.is_alive()
            stop.wait(0.01)
        stop.wait(0.2)  # twenty looks
        assert "can be reached again" not in caplog.text
        released.set()
        while "can be reached again" not in caplog.text:
            assert thread.is_alive()
            stop.wait(0.01)
    finally:
        released.set()
        stop.set()
        thread.join(20)
    assert sorted(console.stored) == [1]


def test_a_failing_heartbeat_does_not_hold_findings_back(console, spool, connect):
    fill(spool, 2)
    console.script = [(500, {}, b"")]  # the heartbeat comes first

    class Once(threading.Event):
        def wait(self, timeout=None):
            self.set()
            return True

    connect(console.url).run(Once(), dict, lambda config: None)
    assert sorted(console.stored) == [1, 2]
    assert spool.depth == 0


@pytest.mark.parametrize(
    ("reply", "sent"), [((500, {}, b""), True), ((503, {"Retry-After": "900"}, b""), False)], ids=["broken", "busy"]
)
def test_a_console_that_answers_a_heartbeat_gets_findings_at_once_unless_it_asked_to_wait(
    console, spool, connect, monkeypatch, reply, sent
):
    monkeypatch.setattr("sensor.uplink.FIRST_PAUSE_S", 900.0)
    monkeypatch.setattr("sensor.uplink.HEARTBEAT_S", 0.01)
    fill(spool, 2)
    console.script = [(200, {}, b'{"config_version": ""}'), (200, {}, b'{"indicators": []}'), reply]

    class Patient(threading.Event):
        def wait(self, timeout=None):
            if len(console.beats) > 5:
                self.set()
            return super().wait(0.01)

    connect(console.url).run(Patient(), dict, lambda config: None)
    assert (spool.depth == 0) is sent
