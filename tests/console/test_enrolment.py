"""A sensor gets its key, changes it, loses it: over real HTTP, with the sensor's own code."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator

import pytest
import waitress
from records import EPOCH, record, send
from sqlalchemy import select

from console.services import enrolment, sensors
from console.services.sensors import OVERLAP, Place
from console.services.troubles import Kind
from console.store.models import AuditEntry, EnrolmentToken, Finding, Sensor
from sensor.enrolment import PENDING, enrol, rotate
from sensor.sensor_key import NEXT, KeyFileError, SensorKey, described, new_key, write_key
from sensor.spool import Spool
from sensor.uplink import Uplink, UplinkError


@pytest.fixture
def url(app) -> Iterator[str]:
    """The application behind a real server."""
    server = waitress.create_server(app, host="127.0.0.1", port=0, threads=4)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.effective_port}"
    server.close()
    thread.join(5)


@pytest.fixture
def token(db, tree, clock) -> str:
    _, made = enrolment.issue(db, tree.plant, Place("line-7", "North works", "Line 7"), 30, clock())
    db.commit()
    return made


def key_of(db, name: str) -> str:
    return read(db, select(Sensor.key_hash).where(Sensor.name == name))[0]


def read(db, query):
    """What a query finds by now. The session is a writer's: it must not stay open, or the console could not write."""
    found = list(db.scalars(query))
    db.expunge_all()
    db.rollback()
    return found


def acts(db) -> list[str]:
    return read(db, select(AuditEntry.action).order_by(AuditEntry.id))


def test_a_token_from_the_page_enrols_a_sensor_that_makes_its_key_itself(client, db, url, tmp_path, anonymous):
    form = {"name": "line-7", "site": "North works", "segment": "Line 7", "minutes": "30"}
    page = client.submit("/sensors/tokens", form).text
    token = page.split('id="token">')[1].split("<")[0]
    assert token not in client.get("/sensors/").text
    assert not read(db, select(EnrolmentToken).where(EnrolmentToken.token_hash == token))
    path = tmp_path / "line-7.key"
    assert enrol(url, token, path) == "line-7"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = path.read_text().strip()
    assert key_of(db, "line-7") == described(key)[0]
    assert send(anonymous, key, [record(1, sensor="line-7")]).json["stored"] == 1
    assert {"enrolment.issued", "sensor.added", "enrolment.used"} <= set(acts(db))


def test_a_token_is_valid_once_but_a_lost_answer_may_be_asked_for_again(url, token, db, tmp_path):
    path = tmp_path / "key"
    enrol(url, token, path)
    # the answer never came, so only the key that was to be stands there
    path.rename(path.with_name(path.name + PENDING))
    assert enrol(url, token, path) == "line-7"
    assert key_of(db, "line-7") == described(path.read_text().strip())[0]
    with pytest.raises(UplinkError, match="not valid"):
        enrol(url, token, tmp_path / "another")
    assert not (tmp_path / "another").exists()


def test_a_key_file_that_is_there_is_never_overwritten(url, token, tmp_path):
    write_key(tmp_path / "key", "fhs_precious")
    with pytest.raises(KeyFileError, match="rotate-key"):
        enrol(url, token, tmp_path / "key")
    assert (tmp_path / "key").read_text() == "fhs_precious\n"


@pytest.mark.parametrize("why", ["expired", "withdrawn", "unknown"])
def test_a_token_that_is_worth_nothing_is_refused(url, token, db, client, clock, tmp_path, why):
    if why == "expired":
        clock.advance(minutes=30)
    elif why == "withdrawn":
        (number,) = read(db, select(EnrolmentToken.id))
        client.submit(f"/sensors/tokens/{number}/withdraw")
    with pytest.raises(UplinkError, match="401"):
        enrol(url, token if why != "unknown" else "fhe_guess", tmp_path / "key")
    assert not read(db, select(Sensor).where(Sensor.name == "line-7"))


def test_who_guesses_tokens_is_told_to_wait(anonymous):
    digest, hint = described(new_key())
    body = {"token": "fhe_guess", "key_hash": digest, "key_hint": hint}
    codes = [anonymous.post("/api/v1/enrol", json=body).status_code for _ in range(25)]
    assert codes == [401] * 20 + [429] * 5


def test_a_lost_sensor_is_enrolled_again_under_its_name_and_the_old_key_ends(url, db, tree, clock, tmp_path, anonymous):
    _, token = enrolment.issue(db, tree.plant, Place("s1", "North works", "Line 1"), 30, clock())
    db.commit()
    enrol(url, token, tmp_path / "key")
    assert send(anonymous, tree.plant_key, [record(1)]).status_code == 401
    assert send(anonymous, (tmp_path / "key").read_text().strip(), [record(1)]).json["stored"] == 1


@pytest.mark.parametrize(
    ("digest", "hint"), [("x" * 64, "fhs_abcd"), ("0" * 63, "fhs_abcd"), ("0" * 64, "abcdefgh"), ("0" * 64, "fhs_<b>!")]
)
def test_what_is_no_hash_of_a_key_is_refused(anonymous, token, digest, hint):
    body = {"token": token, "key_hash": digest, "key_hint": hint}
    assert anonymous.post("/api/v1/enrol", json=body).status_code == 400


@pytest.fixture
def key_file(tree, tmp_path):
    path = tmp_path / "s1.key"
    write_key(path, tree.plant_key)
    return path


def test_after_a_rotation_both_keys_are_valid_for_a_while_and_then_the_new_one(
    url, db, tree, key_file, anonymous, clock
):
    rotate(url, key_file)
    new = key_file.read_text().strip()
    assert new != tree.plant_key
    assert not key_file.with_name(key_file.name + NEXT).exists()
    assert send(anonymous, tree.plant_key, [record(1)]).json["stored"] == 1
    assert send(anonymous, new, [record(2)]).json["stored"] == 1
    clock.advance(seconds=OVERLAP.total_seconds())
    assert send(anonymous, tree.plant_key, [record(3)]).status_code == 401
    assert send(anonymous, new, [record(3)]).json["stored"] == 1
    assert "sensor.key_rotated" in acts(db)


def test_who_has_only_the_old_key_cannot_change_it_again_and_is_told_of(url, db, tree, key_file, tmp_path):
    stolen = tmp_path / "stolen.key"
    write_key(stolen, tree.plant_key)
    rotate(url, key_file)
    with pytest.raises(UplinkError, match="changed already"):
        rotate(url, stolen)
    assert len(read(db, select(Finding).where(Finding.rule_id == f"sensor.{Kind.CLONED}"))) == 1
    assert key_of(db, "s1") == described(key_file.read_text().strip())[0]


def test_a_running_sensor_changes_its_key_when_it_is_asked_and_loses_nothing(url, db, client, tree, key_file, tmp_path):
    spool = Spool(tmp_path / "spool", lambda sequence, loss: record(sequence), clock=lambda: EPOCH)
    uplink = Uplink(url, SensorKey.of_file(key_file), spool)
    client.submit(f"/sensors/{tree.plant_sensor_id}/rotate")
    spool.append(lambda sequence: record(sequence))
    spool.flush()
    uplink.heartbeat({})
    assert key_file.read_text().strip() != tree.plant_key
    assert uplink.send_batch() == 1
    before = key_file.read_text()
    uplink.heartbeat({})
    assert key_file.read_text() == before, "asked once, changed once"
    uplink.close()
    spool.close()


def test_a_running_sensor_takes_up_a_key_that_somebody_else_put_into_its_file(url, db, tree, key_file, clock, tmp_path):
    spool = Spool(tmp_path / "spool", lambda sequence, loss: record(sequence), clock=lambda: EPOCH)
    uplink = Uplink(url, SensorKey.of_file(key_file), spool)
    rotate(url, key_file)
    clock.advance(hours=2)  # the old key has ended
    for number in (1, 2):
        spool.append(lambda sequence: record(sequence, source_ip=f"10.0.0.{sequence}"))
        spool.flush()
        assert uplink.send_batch() == 1, number
    uplink.close()
    spool.close()


@pytest.mark.parametrize("heard", [True, False], ids=["the console heard of it", "it did not"])
def test_a_sensor_that_dies_while_it_changes_its_key_goes_on_with_the_one_that_is_valid(
    url, db, tree, key_file, clock, heard
):
    new = new_key()
    write_key(key_file.with_name(key_file.name + NEXT), new)
    if heard:
        sensor = db.get_one(Sensor, tree.plant_sensor_id)
        sensors.rotate_key(db, sensor, tree.plant_key, sensors.Key.of(new), clock())
        db.commit()
        clock.advance(hours=2)
    again = SensorKey.of_file(key_file)
    rotate(url, key_file)  # any request would do
    assert sensors.find_by_key(db, key_file.read_text().strip(), clock()) is not None
    assert again.key == new


def test_a_revoked_sensor_is_refused_with_its_old_and_its_new_key(url, db, tree, key_file, clock, anonymous):
    rotate(url, key_file)
    sensors.revoke_key(db, tree.plant, tree.plant_sensor_id, clock())
    db.commit()
    for key in (tree.plant_key, key_file.read_text().strip()):
        assert send(anonymous, key, [record(1)]).status_code == 401


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", None])
def test_a_key_file_that_is_none_is_named_with_what_to_do(tmp_path, content):
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(KeyFileError, match="key"):
        SensorKey.of_file(tmp_path / "key")
