"""The counters of a heartbeat on the sensor's page: readable, in groups, and harmless whatever they are."""

from __future__ import annotations


def beat(client, key, counters):
    headers = {"Authorization": f"Bearer {key}"}
    return client.post("/api/v1/heartbeat", headers=headers, json={"epoch": 1, "counters": counters})


def test_counters_are_shown_with_what_they_mean_in_the_readers_language(client, tree):
    assert beat(client, tree.plant_key, {"eth1.dropped": 7, "worker.held": "limits files", "unheard.of": 3}).json
    page = client.get("/sensors/1").text
    assert "frames for which the buffer had no room" in page
    assert '<span class="mono bad">7</span>' in page
    assert "limits files" in page
    assert "unheard.of" in page
    assert "接收缓冲区满而丢失的报文" in client.get("/sensors/1", headers={"Accept-Language": "zh"}).text


def test_whatever_a_sensor_calls_a_counter_the_page_stands(client, tree):
    hostile = {"x.frames": {"<b>": [1, None]}, ".": -1, "config.since": "<i>soon</i>", "findings.": 1e308}
    answer = beat(client, tree.plant_key, hostile)
    assert answer.status_code in (200, 400)
    for path in ("/sensors/1", "/configuration/"):
        page = client.get(path)
        assert page.status_code == 200
        assert "<i>soon" not in page.text
        assert "<b>" not in page.text


def test_the_answer_tells_the_consoles_time(client, tree, clock):
    assert beat(client, tree.plant_key, {}).json["time"] == clock().timestamp()
