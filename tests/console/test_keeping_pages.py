"""Pages of the audit log and of retention: for administrators, of the own organisation, in both languages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from browser_kit import Browser
from records import record, send
from sqlalchemy import select

from console.notify.upkeep import Upkeep
from console.services import audit_checkpoints, users
from console.services.actor import Role
from console.services.audit_checkpoints import CheckpointError
from console.store.audit_chain import verify
from console.store.models import Finding, LegalHold, Organisation

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def second(app, store, tree, clock) -> Browser:
    """Another administrator of the plant."""
    with store.transaction() as session:
        own = session.get_one(Organisation, tree.plant.organisation_id)
        users.create_user(session, own, "second", "Zhou", Role.ADMINISTRATOR, "beacon-fire-tower-9", clock())
    app.test_client_class = Browser
    return app.test_client().log_in("second")


def test_the_audit_page_shows_what_was_done_and_filters_it(client, tree):
    send(client, tree.plant_key, [record(1)])
    client.submit("/findings/1/verdict", {"verdict": "real", "note": HOSTILE})
    page = client.get("/audit/").text
    assert "finding.judged" in page
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    filtered = client.get("/audit/?action=incident.&subject=incident:1").text
    assert "incident.opened" in filtered
    assert "finding.judged" not in filtered
    assert client.get("/audit/?before=9999999999999999999999").status_code == 200


def test_the_pages_are_for_administrators_and_exist_in_chinese(app, client):
    app.test_client_class = Browser
    analyst = app.test_client().log_in("analyst")
    for path in ("/audit/", "/retention/"):
        assert analyst.get(path).status_code == 403
    client.submit("/preferences", {"locale": "zh"})
    assert "审计日志" in client.get("/audit/").text
    assert "法律保全" in client.get("/retention/").text


def test_a_rule_is_saved_or_refused_with_its_reason(client):
    assert client.submit("/retention/rules", {"findings_low": "200", "audit": ""}).status_code == 302
    assert 'name="findings_low" type="number" min="180" max="36500" value="200"' in client.get("/retention/").text
    refused = client.submit("/retention/rules", {"findings_low": "3"})
    assert refused.status_code == 400
    assert "180 to 36500 days" in refused.text


def test_a_hold_is_placed_on_the_page_and_lifted_by_two(client, second, store, tree):
    send(client, tree.plant_key, [record(1)])
    with store.reader() as session:
        finding = session.scalars(select(Finding.id)).one()
    assert client.submit("/retention/holds", {"finding": finding, "reason": HOSTILE}).status_code == 302
    page = client.get("/retention/").text
    assert HOSTILE not in page
    assert "in force" in page
    with store.reader() as session:
        hold = session.scalars(select(LegalHold.id)).one()
    client.submit(f"/retention/holds/{hold}/lift")
    assert client.submit(f"/retention/holds/{hold}/lift").status_code == 409
    assert second.submit(f"/retention/holds/{hold}/keep").status_code == 302
    client.submit(f"/retention/holds/{hold}/lift")
    assert second.submit(f"/retention/holds/{hold}/lift").status_code == 302
    assert "lifted by Plant admin and Zhou" in client.get("/retention/").text
    for wrong in ({"finding": "987654"}, {"finding": "x"}, {"since": "soon"}):
        assert client.submit("/retention/holds", {"reason": "x", **wrong}).status_code == 400


def test_checkpoints_are_exported_where_a_chain_has_grown(client, settings, store, clock, tmp_path):
    file = tmp_path / "elsewhere" / "checkpoints.jsonl"
    file.parent.mkdir()
    upkeep = Upkeep(store, settings.model_copy(update={"audit_checkpoint_file": str(file)}), clock)
    upkeep.checkpoint()
    upkeep.checkpoint()
    assert len(file.read_text().splitlines()) == 1
    with file.open("a") as torn:
        torn.write('{"at": "2026')
    client.submit("/logout")
    upkeep.checkpoint()
    found = [line for line in file.read_text().splitlines() if line.endswith("}")]
    assert len(found) == 2
    last = audit_checkpoints.parse(found[-1])
    with store.engine.connect() as connection:
        for organisation, end in last.ends.items():
            assert verify(connection, organisation, {end.sequence: end.hash}).fault is None
    said = json.loads(found[0])
    said["ends"][next(iter(said["ends"]))]["hash"] = "0" * 64
    with pytest.raises(CheckpointError, match="changed"):
        audit_checkpoints.parse(json.dumps(said))
    with pytest.raises(CheckpointError, match="another key"):
        audit_checkpoints.parse(found[0], key="00" * 32)
    Path(file).write_text("nonsense\n")
    with pytest.raises(CheckpointError, match="line 1"):
        audit_checkpoints.read(file)
