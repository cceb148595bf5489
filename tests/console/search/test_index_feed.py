"""The index outbox and the indexer against a real node: whatever happens in between, the index becomes the truth."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from browser_kit import both_engines
from index_kit import Faults, Fed, fed_by, spoiled
from pydantic import SecretStr
from sqlalchemy import delete, select, text

from console.services import findings, search_index
from console.services.findings import Verdict
from console.store.models import Finding, FindingEvidence, FindingReceipt, IndexDeadLetter, IndexPart, Sensor
from console.store.search import feed as feeding
from console.store.search import parts
from console.store.search.bulk import Bulk, Fate, Operation
from console.store.search.cluster import State
from console.store.search.document import document
from console.store.search.findings import FINDINGS
from console.store.search.indexer import MAX_ATTEMPTS
from console.store.search.triggers import PREFIX, WATCHED
from console.store.search.verify import repair, verify

DECEMBER = datetime(2026, 12, 3, 9, 0, tzinfo=UTC)


@pytest.fixture
def fed(store, settings, clock, elasticsearch_url) -> Iterator[Fed]:
    with fed_by(store, settings, clock, elasticsearch_url) as made:
        yield made


@pytest.fixture
def on(fed) -> Fed:
    """A cluster that is fed already, and has nothing to do."""
    fed.settle()
    return fed


@pytest.fixture
def small_steps(monkeypatch) -> None:
    """So that filling some documents takes several steps."""
    monkeypatch.setattr(parts, "BATCH", 20)
    monkeypatch.setattr(parts, "LISTS", 1)


def body(number: int) -> bytes:
    return b'{"finding.number":%d}' % number


@both_engines
def test_what_sensors_send_is_in_the_index_and_what_people_decide_too(on, db, tree):
    first, second = on.send(2)
    on.settle()
    assert on.documents().keys() == on.truth()
    findings.judge(db, tree.plant, second, Verdict.FALSE, "a test", on.clock())
    db.commit()
    on.settle()
    states = {it["finding.number"]: it["state"] for it in on.documents().values()}
    assert states == {first: "new", second: "false"}


def test_documents_are_those_of_the_field_list(on, store):
    on.send(4)
    with store.reader() as session:
        made = {it.row_id: it.source for it in FINDINGS.after(session, 0, "", 10)}
        assert made == {row.id: document(row) for row in session.scalars(select(Finding))}


@both_engines
def test_what_was_there_before_the_cluster_is_filled_in(fed):
    fed.send(3)
    assert fed.waiting() == []  # no cluster has been set so far: nothing is written for it
    fed.settle()
    assert fed.documents().keys() == fed.truth()
    assert fed.state() == (State.OK, "")


@both_engines
def test_the_outbox_is_written_in_the_transaction_of_the_truth_and_holds_a_document_once(on, store):
    (number,) = on.send(1)
    before = on.waiting()
    with store.writer() as session:
        session.get_one(Finding, number).count += 1
        session.flush()
        session.rollback()
    assert [it.id for it in on.waiting()] == [it.id for it in before]
    with store.transaction() as session:
        session.get_one(Finding, number).count += 1
    after = on.waiting()
    assert [it.document_id for it in after] == [it.document_id for it in before]
    assert after[0].id > before[0].id


def test_rows_written_past_the_models_are_indexed_too(on, store):
    (number,) = on.send(1)
    on.settle()
    with store.transaction() as session:
        session.execute(text("UPDATE finding SET count = 77 WHERE id = :id"), {"id": number})
    on.settle()
    assert [it["finding.count"] for it in on.documents().values()] == [77]


def test_every_indexed_table_has_its_triggers_after_the_migrations(store):
    with store.reader() as session:
        names = set(session.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")))
    for watched in WATCHED:
        for event in ("insert", "update", "delete"):
            assert f"{PREFIX}{watched.table}_{event}" in names


@both_engines
def test_a_finding_that_is_deleted_leaves_the_index(on, store):
    gone, kept = on.send(2)
    on.settle()
    with store.transaction() as session:
        for table in (FindingEvidence, FindingReceipt):
            session.execute(delete(table).where(table.finding_id == gone))
        session.execute(text("DELETE FROM incident_finding WHERE finding_id = :id"), {"id": gone})
        session.execute(delete(Finding).where(Finding.id == gone))
    on.settle()
    assert [it["finding.number"] for it in on.documents().values()] == [kept]


def test_sensors_of_the_same_name_in_two_organisations_do_not_overwrite_each_other(on, store, tree):
    with store.reader() as session:
        names = set(session.scalars(select(Sensor.name)))
    assert names == {"s1"}
    on.send(1, sensor_id=tree.plant_sensor_id)
    on._sequence = 0
    on.send(1, sensor_id=tree.mill_sensor_id)
    on.settle()
    owners = {it["organisation.id"] for it in on.documents().values()}
    assert owners == {tree.plant.organisation_id, tree.mill.organisation_id}


def test_an_older_document_never_takes_the_place_of_a_newer_one(on):
    on.send(1)
    on.settle()
    (index,) = on.indices()
    with Bulk(on.cluster) as bulk:
        operations = [[Operation(index, "1/x", version, body(version))] for version in (900, 800, 900, 901)]
        fates = [results[0] for one in operations for results in bulk.send([one])]
    assert [it.fate for it in fates] == [Fate.DONE, Fate.NEWER, Fate.NEWER, Fate.DONE]
    assert fates[1].current == 900
    assert on.documents()["1/x"]["finding.number"] == 901


def test_a_document_that_was_sent_and_whose_answer_was_lost_is_done(on):
    on.send(3)
    waiting = on.waiting()
    on.settle()
    with on.store.transaction() as session:  # the process died before it could write down that they are done
        session.execute(
            text("INSERT INTO index_outbox VALUES (:kind, :row, :document, :period, 0, :organisation, :id)"),
            [
                {"kind": it.kind, "row": it.row_id, "document": it.document_id, "period": it.period,
                 "organisation": it.organisation_id, "id": it.id} for it in waiting
            ],
        )  # fmt: skip
    on.settle()
    assert on.documents().keys() == on.truth()


def test_a_document_that_the_index_refuses_is_kept_aside_and_the_others_go_on(on, db, tree):
    ids = on.send(20)
    on.another(spoiled({ids[4]}))
    on.settle()
    with on.store.reader() as session:
        (letter,) = session.scalars(select(IndexDeadLetter))
    assert letter.row_id == ids[4]
    assert "strict_dynamic_mapping_exception" in letter.reason
    assert len(on.documents()) == 19
    search_index.retry(db, tree.plant, letter.id)  # as it is, it fails again
    db.commit()
    on.another(spoiled({ids[4]}))
    on.settle()
    with on.store.reader() as session:
        assert [it.attempts for it in session.scalars(select(IndexDeadLetter))] == [2]
    assert search_index.retry_all(db, tree.plant) == 1
    db.commit()
    on.another()  # now it is well
    on.settle()
    with on.store.reader() as session:
        assert feeding.letters(session, "finding") == 0
    assert on.documents().keys() == on.truth()


def test_a_document_that_fails_while_the_index_is_filled_is_kept_aside_too(fed):
    ids = fed.send(5)
    fed.another(spoiled({ids[0]}))
    fed.settle()
    with fed.store.reader() as session:
        assert [it.row_id for it in session.scalars(select(IndexDeadLetter))] == [ids[0]]
    assert len(fed.documents()) == 4


def test_an_index_that_is_read_only_because_the_disk_is_full_keeps_documents_waiting(on):
    on.send(1)
    on.settle()
    (index,) = on.indices()
    on.cluster.client.indices.put_settings(index=index, settings={"index.blocks.read_only_allow_delete": True})
    on.send(3)
    assert not on.indexer.step()
    state, note = on.state()
    assert state == State.READ_ONLY
    assert "read-only" in note or "read_only" in note
    assert len(on.waiting()) == 3
    on.cluster.client.indices.put_settings(index=index, settings={"index.blocks.read_only_allow_delete": None})
    on.settle()
    assert on.documents().keys() == on.truth()
    assert on.state() == (State.OK, "")


@pytest.mark.parametrize("made_anew", [False, True], ids=["deleted", "deleted and made anew by somebody"])
def test_an_index_that_was_deleted_is_made_and_filled_again(on, made_anew):
    on.send(5)
    on.settle()
    (index,) = on.indices()
    on.cluster.client.indices.delete(index=index)
    if made_anew:
        on.cluster.client.indices.create(index=index, aliases={on.alias: {}})
        on.clock.advance(minutes=1)  # it is noticed without a document that fails
    else:
        on.send(1)
    on.settle()
    assert on.documents().keys() == on.truth()


def test_each_month_has_an_index_and_old_ones_are_deleted_whole(store, settings, clock, elasticsearch_url):
    with fed_by(store, settings, clock, elasticsearch_url, elasticsearch_days=10) as fed:
        fed.settle()
        fed.send(2)
        fed.send(3, DECEMBER)
        fed.settle()
        assert [name.rsplit("-", 1)[1] for name in fed.indices()] == ["2026.11", "2026.12"]
        assert len(fed.documents()) == 5
        clock.advance(days=19)
        fed.another()
        fed.settle()
        assert [name.rsplit("-", 1)[1] for name in fed.indices()] == ["2026.12"]
        report = verify(store, fed.cluster, FINDINGS, clock)
        assert (report.truth, report.index, report.faults) == (3, 3, [])
        with store.transaction() as session:  # what is touched there later goes nowhere
            session.execute(text("UPDATE finding SET count = count + 1"))
        fed.settle()
        assert len(fed.documents()) == 3


@both_engines
def test_a_rebuild_is_seen_in_one_step_and_takes_what_is_written_meanwhile(on, store, small_steps):
    on.send(60)
    on.settle()
    (old,) = on.indices()
    with store.transaction() as session:
        search_index.rebuild(session, FINDINGS, on.clock())
    on.send(3)
    on.indexer.step()
    assert on.indices() == [old]
    on.cluster.client.indices.refresh(index=old)
    assert on.cluster.client.count(index=old)["count"] == 63  # what is seen goes on meanwhile
    on.settle()
    (new,) = on.indices()
    assert new != old
    assert not on.cluster.client.indices.exists(index=old)
    assert on.documents().keys() == on.truth()


def test_a_rebuild_that_was_cut_off_is_finished_by_whoever_comes_next(on, store, small_steps):
    on.send(60)
    on.settle()
    with store.transaction() as session:
        search_index.rebuild(session, FINDINGS, on.clock())
    on.indexer.step()
    with store.reader() as session:
        assert any(part.filled_to != 0 for part in session.scalars(select(IndexPart)))
    on.another()
    on.settle()
    assert on.documents().keys() == on.truth()
    assert len(on.cluster.indices("finding")) == 1


def test_a_truth_that_was_restored_to_an_older_state_has_its_index_rebuilt(on, store):
    on.send(5)
    with store.transaction() as session:
        for _ in range(3):
            session.execute(text("UPDATE finding SET count = count + 1"))
    on.settle()
    (old,) = on.indices()
    with store.transaction() as session:
        session.execute(text("UPDATE sqlite_sequence SET seq = 1 WHERE name = 'index_outbox'"))
        session.execute(text("UPDATE finding SET count = 5"))
    on.another()
    on.settle()
    assert on.indices() != [old]
    assert {it["finding.count"] for it in on.documents().values()} == {5}


def test_a_console_restored_from_a_backup_takes_up_its_indices_again(on, store):
    on.send(4)
    on.settle()
    (old,) = on.indices()
    with store.transaction() as session:
        feeding.switch_off(session)  # a backup holds nothing of the index
        session.execute(text("DELETE FROM sqlite_sequence WHERE name = 'index_outbox'"))
    on.clock.advance(minutes=1)
    on.another()
    on.settle()
    assert on.indices() != [old]
    assert len(on.cluster.indices("finding")) == 1
    assert on.documents().keys() == on.truth()
    on.send(2)
    on.settle()
    assert on.documents().keys() == on.truth()


def test_the_indices_of_another_console_are_left_alone(on, tmp_path, clock):
    from console.run import open_migrated
    from console.settings import Settings

    on.send(1)
    on.settle()
    theirs = on.indices()
    other = open_migrated(Settings(data_dir=tmp_path / "other"))
    stranger = Fed(other, on.settings, clock)
    stranger.indexer.step()
    state, note = stranger.state()
    assert state == State.REFUSED
    assert "another console" in note
    assert on.indices() == theirs
    other.engine.dispose()


def test_a_cluster_that_does_not_answer_delays_nothing_else(store, settings, clock):
    from support.programs import free_port

    url = f"http://127.0.0.1:{free_port()}"
    fed = Fed(store, settings.model_copy(update={"elasticsearch_url": url}), clock)
    assert not fed.indexer.step()
    assert fed.state()[0] == State.UNREACHABLE
    assert len(fed.send(10)) == 10
    assert len(fed.waiting()) == 10
    fed.cluster.close()


def test_a_document_that_fails_again_and_again_is_given_up_with_its_reason(on):
    on.send(2)
    on.settle()
    victim = sorted(on.truth())[0]
    with on.store.transaction() as session:
        session.execute(text("UPDATE finding SET count = 9 WHERE uid = :uid"), {"uid": victim.partition("/")[2]})
    with Faults(on.settings.elasticsearch_url) as faults, on.through(faults) as indexer:
        faults.of_items = {"status": 500, "error": {"type": "x_exception", "reason": "a shard failed"}}
        for attempt in range(MAX_ATTEMPTS):
            assert [it.attempts for it in on.waiting()] == [attempt]
            indexer.step()
    assert on.waiting() == []
    with on.store.reader() as session:
        (letter,) = session.scalars(select(IndexDeadLetter))
    assert (letter.document_id, letter.attempts) == (victim, MAX_ATTEMPTS)
    assert "a shard failed" in letter.reason


@pytest.mark.parametrize(
    ("status", "state"),
    [(429, State.BUSY), (503, State.BUSY), (403, State.REFUSED), (401, State.REFUSED), (500, State.FAULT)],
)
def test_a_cluster_that_refuses_requests_is_asked_again_later(on, status, state):
    on.send(2)
    with Faults(on.settings.elasticsearch_url) as faults, on.through(faults) as indexer:
        faults.of_requests = status
        assert not indexer.step()
        assert on.state()[0] == state
        assert len(on.waiting()) == 2
        faults.of_requests = None
        on.settle(indexer)
    assert on.documents().keys() == on.truth()


def test_requests_whose_answers_are_lost_lead_to_the_same_index(on):
    on.send(7)
    with Faults(on.settings.elasticsearch_url) as faults, on.through(faults) as indexer:
        faults.lose_answers = 1
        assert not indexer.step()
        assert len(on.waiting()) == 7  # the index has them, and nobody knows
        on.settle(indexer)
    assert on.documents().keys() == on.truth()
    assert on.waiting() == []


def test_a_request_that_is_too_large_is_cut_until_it_fits(on):
    on.send(9)
    with Faults(on.settings.elasticsearch_url) as faults, on.through(faults) as indexer:
        faults.longest = 5000  # some documents
        on.settle(indexer)
        assert faults.too_long
    assert on.documents().keys() == on.truth()


@pytest.mark.parametrize(
    ("given", "header"),
    [
        ({"elasticsearch_api_key": SecretStr("aWQ6a2V5")}, "ApiKey aWQ6a2V5"),
        ({"elasticsearch_username": "feeder", "elasticsearch_password": SecretStr("s3")}, "Basic ZmVlZGVyOnMz"),
    ],
)
def test_every_request_carries_the_key_or_the_login_of_the_settings(on, given, header):
    on.send(1)
    on.settings = on.settings.model_copy(update=given)
    with Faults(on.settings.elasticsearch_url) as faults, on.through(faults) as indexer:
        on.settle(indexer)
        assert faults.logins == {header}


@both_engines
def test_comparison_names_what_is_missing_too_many_or_different_and_repair_puts_it_right(on):
    on.send(12)
    on.settle()
    (index,) = on.indices()
    missing, different = sorted(on.truth())[:2]
    client = on.cluster.client
    client.delete(index=index, id=missing)
    client.update(index=index, id=different, doc={"finding.count": 99})
    client.index(index=index, id="1/ghost", document={"organisation.id": 1, "fenghuo.row": 999_999})
    report = verify(on.store, on.cluster, FINDINGS, on.clock)
    named = [[entry.document_id for entry in entries] for entries in (report.missing, report.extra, report.different)]
    assert named == [[missing], ["1/ghost"], [different]]
    assert (report.truth, report.index) == (12, 12)
    assert report.digests[0] != report.digests[1]
    repair(on.store, FINDINGS, report)
    on.settle()
    report = verify(on.store, on.cluster, FINDINGS, on.clock)
    assert report.faults == []
    assert report.digests[0] == report.digests[1]


def test_what_waits_or_was_refused_is_no_difference(on):
    ids = on.send(3)
    on.another(spoiled({ids[0]}))
    on.settle()
    on.send(2)
    report = verify(on.store, on.cluster, FINDINGS, on.clock)
    assert (report.faults, report.waiting, report.refused) == ([], 2, 1)
