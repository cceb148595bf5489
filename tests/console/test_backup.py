"""Backup and restore: one consistent state, into an empty place, on either engine; nothing that was changed gets in."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import threading

import pytest
from browser_kit import FakeClock, both_engines, postgresql_database
from records import record, send
from sqlalchemy import func, select, text

from console import maintenance
from console.run import init_console
from console.services import sensors
from console.settings import SECRET_FILE, Settings
from console.store import sealed
from console.store.archive import ArchiveError, Reader
from console.store.engine import open_store
from console.store.models import AuditEntry, Finding, FindingReceipt
from console.store.restore import TargetError

PASSPHRASE = "a fire on every tower"


def quiet(*_arguments: object) -> None:
    """No progress."""


@pytest.fixture
def filled(client, db, tree, settings):
    """A console with findings, evidence and an incident."""
    strange = "烽火 \x00 'quoted\" \\ \n"
    for number in range(1, 30):
        assert send(client, tree.plant_key, [record(number, fields={"note": strange, "n": number})]).status_code == 200
    db.rollback()
    return settings


@pytest.fixture
def target(tmp_path, engine_name, request):
    """Settings of an empty machine with the same engine."""
    return empty(tmp_path, engine_name, request, "elsewhere")


def empty(tmp_path, engine_name, request, name) -> Settings:
    if engine_name == "sqlite":
        return Settings(data_dir=tmp_path / name)
    url = postgresql_database(request.getfixturevalue("postgresql_server_url"), name, tmp_path)
    return Settings(data_dir=tmp_path / name, database_url=url)


def everything(settings: Settings) -> dict[str, list]:
    store = open_store(settings.store_url)
    with store.reader() as session:
        found = {
            model.__tablename__: [
                tuple(str(getattr(row, column.key)) for column in model.__table__.columns)
                for row in session.scalars(select(model).order_by(model.id))
            ]
            for model in (Finding, FindingReceipt, AuditEntry)
        }
    store.engine.dispose()
    return found


@both_engines
def test_what_is_restored_is_what_was_there(filled, target, tmp_path):
    manifest, signed_by = maintenance.back_up(filled, tmp_path / "b.tar", PASSPHRASE, quiet)
    assert (tmp_path / "b.tar").stat().st_mode & 0o777 == 0o600
    told = []
    restored, key, written = maintenance.restore_from(
        target, tmp_path / "b.tar", PASSPHRASE, signed_by, lambda what, rows: told.append((what, rows))
    )
    before, after = everything(filled), everything(target)
    assert (after["finding"], after["finding_receipt"]) == (before["finding"], before["finding_receipt"])
    assert after["audit_entry"][: len(before["audit_entry"])] == before["audit_entry"]
    assert [row for row in after["audit_entry"][len(before["audit_entry"]) :] if "console.restored" not in row] == []
    rows = sum(table.rows for table in manifest.tables)
    assert sum(number for what, number in told if what == "restored") == rows
    assert sum(number for what, number in told if what == "verified") == rows
    assert (key, written) == (signed_by, ["installation_key.pem", "secret_key"])
    assert (target.data_dir / SECRET_FILE).read_bytes() == (filled.data_dir / SECRET_FILE).read_bytes()
    assert all(one.fault is None for one in maintenance.verify_audit(target, [], quiet))
    assert restored.audit == manifest.audit


@both_engines
def test_a_restored_console_goes_on(filled, target, tree, tmp_path):
    maintenance.back_up(filled, tmp_path / "b.tar", "", quiet)
    maintenance.restore_from(target, tmp_path / "b.tar", "", "", quiet)
    store = open_store(target.store_url)
    with store.transaction() as session:  # ids go on after the highest, on PostgreSQL too
        made, _ = sensors.add_sensor(session, tree.plant, "new", "North works", "Line 9", FakeClock()())
        assert made.id > tree.mill_sensor_id
    store.engine.dispose()


@pytest.mark.parametrize("way", [("sqlite", "postgresql"), ("postgresql", "sqlite")], ids=" to ".join)
def test_an_archive_of_one_engine_restores_on_the_other(way, tmp_path, request):
    source, goal = (empty(tmp_path, engine, request, f"from_{engine}_{way[0]}") for engine in way)
    init_console(source, "Plant 烽火")
    maintenance.back_up(source, tmp_path / "b.tar", "", quiet)
    maintenance.restore_from(goal, tmp_path / "b.tar", "", "", quiet)
    before, after = everything(source), everything(goal)
    assert after["audit_entry"][: len(before["audit_entry"])] == before["audit_entry"]


def test_a_backup_is_one_state_while_findings_keep_coming(filled, client, tree, target, tmp_path):
    stop, sent = threading.Event(), []

    def load() -> None:
        number = 100
        browser = client.application.test_client()
        while not stop.is_set():
            sent.append(send(browser, tree.plant_key, [record(number)]).status_code)
            number += 1

    loader = threading.Thread(target=load)
    loader.start()
    try:
        while len(sent) < 3:
            pass
        maintenance.back_up(filled, tmp_path / "b.tar", "", quiet)
        during = len(sent)
    finally:
        stop.set()
        loader.join()
    assert set(sent) == {200}
    assert during > 3
    maintenance.restore_from(target, tmp_path / "b.tar", "", "", quiet)
    store = open_store(target.store_url)
    with store.reader() as session:
        receipts = session.scalar(select(func.count(FindingReceipt.id)))
        received = session.scalar(text("SELECT sum(received) FROM sensor_epoch"))
        counted = session.scalar(select(func.sum(FindingReceipt.count)))
        assert received == receipts
        assert session.scalar(select(func.sum(Finding.count))) == counted
    store.engine.dispose()


@both_engines
def test_a_place_that_is_not_empty_is_left_alone(filled, tmp_path):
    maintenance.back_up(filled, tmp_path / "b.tar", "", quiet)
    before = everything(filled)
    with pytest.raises(TargetError, match="not empty"):
        maintenance.restore_from(filled, tmp_path / "b.tar", "", "", quiet)
    assert everything(filled) == before


def test_secrets_are_left_out_without_a_passphrase_and_need_the_right_one(filled, target, tmp_path):
    maintenance.back_up(filled, tmp_path / "plain.tar", "", quiet)
    secret = (filled.data_dir / SECRET_FILE).read_bytes()
    assert secret not in (tmp_path / "plain.tar").read_bytes()
    maintenance.back_up(filled, tmp_path / "sealed.tar", PASSPHRASE, quiet)
    assert secret not in (tmp_path / "sealed.tar").read_bytes()
    with pytest.raises(ArchiveError, match="passphrase is not the one"):
        maintenance.restore_from(target, tmp_path / "sealed.tar", "another passphrase", "", quiet)
    with pytest.raises(ArchiveError, match="holds no secrets"):
        maintenance.restore_from(target, tmp_path / "plain.tar", PASSPHRASE, "", quiet)
    assert not (target.data_dir / "console.db").exists()
    assert sealed.unseal(sealed.seal({"a": b"\x00\xff"}, PASSPHRASE), PASSPHRASE) == {"a": b"\x00\xff"}


def rewritten(path, change) -> None:
    """The archive with members changed by `change(name, data) -> data or None`; manifest and signature as they were."""
    with tarfile.open(path) as source:
        members = [(one.name, source.extractfile(one).read()) for one in source]
    with tarfile.open(path, "w") as made:
        for name, data in members:
            changed = change(name, data)
            if changed is not None:
                info = tarfile.TarInfo(name)
                info.size = len(changed)
                made.addfile(info, io.BytesIO(changed))


def edited_row(name: str, data: bytes) -> bytes:
    if name != "finding/000001.jsonl.gz":
        return data
    return gzip.compress(gzip.decompress(data).replace(b"10.0.0.5", b"10.0.0.6"))


def edited_manifest(name: str, data: bytes) -> bytes:
    return data.replace(b'"rows": 1', b'"rows": 2', 1) if name == "manifest.json" else data


TAMPERED = {
    "a row was changed": (edited_row, "table finding: its rows are not those"),
    "a chunk is gone": (
        lambda n, d: None if n.startswith("finding_receipt/") else d,
        "table finding_receipt: .* missing",
    ),
    "a chunk is cut": (lambda n, d: d[:-9] if n.startswith("finding/") else d, "table finding: chunk 1"),
    "a chunk is noise": (lambda n, d: b"noise" if n.startswith("sensor/") else d, "table sensor: chunk 1"),
    "the manifest was changed": (edited_manifest, "not what was signed"),
    "the manifest is gone": (lambda n, d: None if n == "manifest.json" else d, "manifest.json is missing"),
}


@pytest.mark.parametrize("how", sorted(TAMPERED))
def test_a_tampered_archive_is_refused_and_nothing_is_kept_of_it(how, filled, target, tmp_path):
    change, said = TAMPERED[how]
    maintenance.back_up(filled, tmp_path / "b.tar", "", quiet)
    rewritten(tmp_path / "b.tar", change)
    with pytest.raises(ArchiveError, match=said):
        maintenance.restore_from(target, tmp_path / "b.tar", "", "", quiet)
    assert [path.name for path in target.data_dir.glob("*.db*")] == []


def test_an_archive_cut_anywhere_is_refused(filled, target, tmp_path):
    maintenance.back_up(filled, tmp_path / "b.tar", "", quiet)
    whole = (tmp_path / "b.tar").read_bytes()
    for part in (0.0, 0.1, 0.5, 0.8):
        (tmp_path / "cut.tar").write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(ArchiveError):
            maintenance.restore_from(target, tmp_path / "cut.tar", "", "", quiet)


def test_another_key_than_the_expected_one_is_refused(filled, target, tmp_path):
    maintenance.back_up(filled, tmp_path / "b.tar", "", quiet)
    with pytest.raises(ArchiveError, match="signed by"):
        maintenance.restore_from(target, tmp_path / "b.tar", "", "0" * 32, quiet)


def test_an_archive_is_never_written_over(filled, tmp_path):
    (tmp_path / "b.tar").write_text("precious")
    with pytest.raises(FileExistsError):
        maintenance.back_up(filled, tmp_path / "b.tar", "", quiet)
    assert (tmp_path / "b.tar").read_text() == "precious"
    assert not list(tmp_path.glob("*.part"))


def test_the_manifest_names_no_secret(filled, tmp_path):
    hidden = filled.model_copy(update={"database_url": filled.store_url})
    maintenance.back_up(hidden, tmp_path / "b.tar", "", quiet)
    reader = Reader(tmp_path / "b.tar")
    assert "database_url" not in reader.manifest.settings
    assert "smtp_password" not in json.dumps(reader.manifest.settings)
    reader.close()
