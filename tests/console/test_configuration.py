"""Configuration of sensors: people put files in force, sensors pull them signed, and say what they run."""

from __future__ import annotations

import io
import json

import pytest
from sqlalchemy import select

from console.services import configuration
from console.services.errors import ForbiddenError, InvalidError
from console.store.models import AuditEntry, ConfigRevision, Sensor
from detectors.bundle.signed import BundleError, File, indicators_digest, opened

TAGS = "device,point,low,high,name\n10.20.2.11,hr:8,0,530,tank\n"
OTHER = TAGS.replace("530", "600")


def headers(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def pulled(client, key: str):
    """(the answer, the bundle in it, verified)."""
    answer = client.get("/api/v1/config", headers=headers(key)).json
    return answer, opened(answer["bundle"], None)[0]


def beat(client, key: str, **counters):
    body = {"epoch": 1, "counters": {name.replace("_", "."): value for name, value in counters.items()}}
    return client.post("/api/v1/heartbeat", headers=headers(key), json=body).json


def put(db, actor, clock, sensor_id=None, name="plant.csv", content=TAGS, kind="tags"):
    made = configuration.put_file(db, actor, sensor_id, File(kind, name, content), "because", clock())
    db.commit()
    clock.advance(seconds=5)
    return made


def test_a_sensor_gets_the_files_for_all_and_its_own_signed_by_the_console(anonymous, tree, db, clock, app):
    before, empty = pulled(anonymous, tree.plant_key)
    assert empty.files == ()
    put(db, tree.plant_analyst, clock)
    put(db, tree.plant_analyst, clock, name="other.csv")
    put(db, tree.plant_analyst, clock, tree.plant_sensor_id, name="other.csv", content=OTHER)
    answer, bundle = pulled(anonymous, tree.plant_key)
    assert [(it.name, it.content) for it in bundle.files] == [("other.csv", OTHER), ("plant.csv", TAGS)]
    assert (bundle.sensor, bundle.version) == ("s1", answer["version"])
    assert bundle.indicators == indicators_digest(answer["indicators"])
    assert bundle.serial > empty.serial
    assert answer["version"] != before["version"]
    assert beat(anonymous, tree.plant_key)["config_version"] == answer["version"]
    name = configuration.key_name(app.config["SECRET_KEY"])
    assert configuration.fingerprint(opened(answer["bundle"], None)[1]) == name


def test_another_organisation_gets_nothing_of_it(anonymous, tree, db, clock):
    put(db, tree.plant_analyst, clock)
    assert pulled(anonymous, tree.mill_key)[1].files == ()


def test_a_bundle_that_was_altered_is_known_as_such(anonymous, tree, db, clock):
    put(db, tree.plant_analyst, clock)
    signed = anonymous.get("/api/v1/config", headers=headers(tree.plant_key)).json["bundle"]
    with pytest.raises(BundleError, match="altered"):
        opened({**signed, "text": signed["text"].replace("530", "999")}, None)


@pytest.mark.parametrize(
    ("kind", "name", "content", "why"),
    [
        ("tags", "x.csv", "device,point\n10.1.1.1,nowhere\n", "nowhere"),
        ("tags", "x.txt", TAGS, "csv"),
        ("tags", "../x.csv", TAGS, "name"),
        ("exe", "x.csv", TAGS, "kind"),
        ("tickets", "x.yaml", "tickets: 3\n", "tickets"),
        ("baseline", "x.yaml", "fenghuo_baseline: 99\n", "baseline"),
        ("sigma", "x.yml", "title: x\nlogsource: {}\ndetection: {}\n", "x.yml"),
        ("yara", "x.yar", 'include "/etc/passwd"\n', "x.yar"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_reason_and_changes_nothing(
    db, tree, clock, kind, name, content, why
):
    with pytest.raises(InvalidError) as refused:
        put(db, tree.plant_analyst, clock, name=name, content=content, kind=kind)
    assert why in str(refused.value)
    assert db.scalars(select(ConfigRevision)).all() == []


def test_going_back_is_a_revision_with_the_files_of_before_and_the_version_of_before(anonymous, tree, db, clock):
    first = put(db, tree.plant_analyst, clock)
    version = pulled(anonymous, tree.plant_key)[0]["version"]
    put(db, tree.plant_analyst, clock, content=OTHER)
    assert pulled(anonymous, tree.plant_key)[0]["version"] != version
    serial = pulled(anonymous, tree.plant_key)[1].serial
    made = configuration.restore(db, tree.plant_analyst, first.id, "it was wrong", clock())
    db.commit()
    answer, bundle = pulled(anonymous, tree.plant_key)
    assert (made.number, answer["version"]) == (3, version)
    assert bundle.serial > serial  # so that a sensor takes it, though it has a newer one
    acts = [json.loads(it.details)["did"] for it in db.scalars(select(AuditEntry)) if "configuration" in it.action]
    assert acts == ["put tags/plant.csv", "put tags/plant.csv", "restore 1"]


def test_a_viewer_may_look_and_not_change(db, tree, clock):
    with pytest.raises(ForbiddenError):
        put(db, tree.plant_viewer, clock)


def test_the_page_takes_an_upload_and_says_which_sensor_runs_it(client, tree, db, clock):
    upload = {"kind": "tags", "note": "new tank", "file": (io.BytesIO(TAGS.encode()), "plant.csv")}
    assert client.submit("/configuration/files", upload, content_type="multipart/form-data").status_code == 302
    page = client.get("/configuration/").text
    assert "plant.csv" in page
    assert "new tank" in page
    assert "not told" in page
    version = client.get("/api/v1/config", headers=headers(tree.plant_key)).json["version"]
    beat(client, tree.plant_key, config_version="0" * 16)
    assert "not fetched yet" in client.get("/configuration/").text
    beat(client, tree.plant_key, config_version="0" * 16, config_refused=version, config_reason="<b>bad</b> file")
    page = client.get("/configuration/").text
    assert "refused, the version before stays" in page
    assert "&lt;b&gt;bad&lt;/b&gt; file" in page
    beat(client, tree.plant_key, config_version=version, config_since=1_790_000_000)
    page = client.get("/configuration/").text
    assert ">in force<" in page
    assert "since" in page
    assert (
        db.scalars(select(Sensor.counters).where(Sensor.id == tree.plant_sensor_id)).one()["config.version"] == version
    )


def test_what_was_refused_stands_in_the_form_to_be_corrected(client, tree):
    answer = client.submit("/configuration/files", {"kind": "tags", "name": "x.csv", "text": "device,nonsense\n"})
    assert answer.status_code == 400
    assert "x.csv:1" in answer.text
    assert "device,nonsense" in answer.text


def test_a_file_is_edited_removed_and_brought_back_on_its_pages(client, tree, db):
    client.submit("/configuration/files", {"kind": "tags", "name": "plant.csv", "text": TAGS})
    client.submit("/configuration/files", {"kind": "tags", "name": "plant.csv", "text": OTHER})
    page = client.get("/configuration/revision/1?kind=tags&name=plant.csv").text
    assert "530" in page
    assert "<textarea" not in page  # what was, is only looked at
    assert "<textarea" in client.get("/configuration/revision/2?kind=tags&name=plant.csv").text
    client.submit("/configuration/remove", {"kind": "tags", "name": "plant.csv"})
    assert configuration.files_of(configuration.newest(db, tree.plant.organisation_id, None)) == ()
    db.rollback()
    client.submit("/configuration/revision/2/restore")
    assert configuration.files_of(configuration.newest(db, tree.plant.organisation_id, None))[0].content == OTHER
