"""The audit log: every act is in it, in the transaction of what it did; nobody changes it unnoticed."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records import record as finding_record
from records import send
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from console.services import audit
from console.services.audit import AuditFilter
from console.services.errors import ForbiddenError
from console.store.audit_chain import Entry, canonical, entry_hash, seed, verify
from console.store.engine import open_store
from console.store.models import AuditEntry, Incident, Site

LENGTH = 12


def write(store, tree, clock, count: int, organisation_id: int | None = None) -> None:
    for number in range(count):
        with store.transaction() as session:
            owner = organisation_id or tree.plant.organisation_id
            details = {"number": number, "text": f"烽火 {number}"}
            audit.record(session, tree.plant, owner, "finding.judged", f"finding:{number}", details, clock())


def entries(store, organisation_id: int) -> list[AuditEntry]:
    with store.reader() as session:
        mine = select(AuditEntry).where(AuditEntry.organisation_id == organisation_id)
        return list(session.scalars(mine.order_by(AuditEntry.sequence)))


def fault(store, organisation_id: int, expected: dict[int, str] | None = None):
    with store.engine.connect() as connection:
        return verify(connection, organisation_id, expected).fault


def test_entries_follow_one_another_and_the_chain_holds(store, tree, clock):
    mine = tree.plant.organisation_id
    before = len(entries(store, mine))
    write(store, tree, clock, LENGTH)
    found = entries(store, mine)
    assert [entry.sequence for entry in found] == list(range(1, before + LENGTH + 1))
    assert fault(store, mine) is None
    with store.engine.connect() as connection:
        assert verify(connection, mine).entries == before + LENGTH


@given(
    st.builds(
        Entry,
        organisation=st.integers(1, 9),
        sequence=st.integers(1, 2**62),
        at=st.just("2026-11-22T08:00:00.000000Z"),
        actor=st.text(max_size=9),
        actor_name=st.text(max_size=9),
        action=st.text(max_size=9),
        subject=st.text(max_size=9),
        details=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9), max_size=3).map(canonical),
    )
)
def test_what_is_hashed_is_the_canonical_json_of_the_entry(entry):
    import hashlib

    whole = {**entry._asdict(), "details": json.loads(entry.details)}
    previous = seed(entry.organisation)
    assert entry_hash(previous, entry) == hashlib.sha256((previous + canonical(whole)).encode()).hexdigest()


def test_what_is_rolled_back_leaves_no_entry(store, tree, clock):
    mine = tree.plant.organisation_id
    before = entries(store, mine)
    with suppress(RuntimeError), store.transaction() as session:
        audit.record(session, tree.plant, mine, "site.added", "", {}, clock())
        raise RuntimeError("something else went wrong")
    with store.writer() as session:
        audit.record(session, tree.plant, mine, "site.added", "", {}, clock())
        session.execute(text("SELECT 1"))
        session.rollback()
        session.add(Site(organisation_id=mine, name="Kept"))
        session.commit()
    assert entries(store, mine)[len(before) :] == []


def test_a_savepoint_that_is_rolled_back_takes_its_entries_with_it(store, tree, clock):
    mine = tree.plant.organisation_id
    before = len(entries(store, mine))
    with store.transaction() as session:
        audit.record(session, tree.plant, mine, "kept.outside", "", {}, clock())
        with session.begin_nested():
            audit.record(session, tree.plant, mine, "kept.inside", "", {}, clock())
        with suppress(RuntimeError), session.begin_nested():
            with session.begin_nested():
                audit.record(session, tree.plant, mine, "gone.deeper", "", {}, clock())
            raise RuntimeError("this part does not count")
    assert [entry.action for entry in entries(store, mine)[before:]] == ["kept.outside", "kept.inside"]
    assert fault(store, mine) is None


def test_the_database_itself_refuses_to_change_or_delete_an_entry(store, tree, clock):
    write(store, tree, clock, 2)
    for statement in ("UPDATE audit_entry SET actor_name = 'nobody'", "DELETE FROM audit_entry WHERE sequence > 1"):
        with pytest.raises(DBAPIError, match="append-only"), store.transaction() as session:
            session.execute(text(statement))


def test_chains_of_organisations_are_apart(store, tree, clock):
    write(store, tree, clock, 3)
    write(store, tree, clock, 2, tree.mill.organisation_id)
    assert fault(store, tree.plant.organisation_id) is None
    assert fault(store, tree.mill.organisation_id) is None


def tamperable(store) -> None:
    """What somebody does who owns the machine: the triggers do not stop them."""
    with store.transaction() as session:
        for verb in ("update", "delete"):
            table = "" if store.engine.dialect.name == "sqlite" else " ON audit_entry"
            session.execute(text(f"DROP TRIGGER audit_entry_no_{verb}{table}"))


COLUMNS = {
    "at": "2020-01-01 00:00:00.000000",
    "actor": "user:4711",
    "actor_name": "Somebody else",
    "action": "nothing.happened",
    "subject": "",
    "details": "{}",
    "hash": "0" * 64,
}


@st.composite
def edits(draw):
    """(kind of tampering, the entry it begins at, its arguments) on a chain of LENGTH entries."""
    kind = draw(st.sampled_from(["alter", "delete", "swap", "insert", "truncate"]))
    at = draw(st.integers(1, LENGTH))
    if kind == "alter":
        return kind, at, draw(st.sampled_from(sorted(COLUMNS)))
    if kind == "swap":
        return kind, min(at, LENGTH - 1), draw(st.integers(1, LENGTH))
    return kind, at, None


@pytest.fixture(scope="module")
def chain(prepared, tmp_path_factory):
    """A database whose mill has a chain of exactly LENGTH entries, and a second one, without triggers."""
    from browser_kit import FakeClock

    folder = tmp_path_factory.mktemp("chain")
    shutil.copy(prepared[0], folder / "chain.db")
    store = open_store(f"sqlite:///{folder / 'chain.db'}")
    _, tree = prepared
    tamperable(store)
    with store.transaction() as session:
        session.execute(text("DELETE FROM audit_entry"))
        session.execute(text("DELETE FROM audit_head"))
    clock = FakeClock()
    write(store, tree, clock, LENGTH, tree.mill.organisation_id)
    yield store, tree.mill.organisation_id
    store.engine.dispose()


@given(edits())
@settings(max_examples=120, deadline=None)
def test_the_first_bad_entry_is_named_whatever_was_done(chain, edit):
    store, mine = chain
    kind, at, extra = edit
    with store.engine.connect() as connection:
        checkpoint = {LENGTH: verify(connection, mine).hash}
        connection.rollback()
        outer = connection.execution_options(fenghuo_writes=True).begin()
        here = f"organisation_id = {mine} AND sequence"
        expected = at
        if kind == "alter":
            connection.execute(
                text(f"UPDATE audit_entry SET {extra} = :to WHERE {here} = {at}"), {"to": COLUMNS[extra]}
            )
        elif kind == "delete":
            connection.execute(text(f"DELETE FROM audit_entry WHERE {here} = {at}"))
        elif kind == "swap":
            other = extra if extra != at else at + 1
            for old, new in ((at, 999), (other, at), (999, other)):
                connection.execute(text(f"UPDATE audit_entry SET sequence = {new} WHERE {here} = {old}"))
            expected = min(at, other)
        elif kind == "insert":
            connection.execute(text(f"UPDATE audit_entry SET sequence = -sequence - 1 WHERE {here} >= {at}"))
            connection.execute(text(f"UPDATE audit_entry SET sequence = -sequence WHERE {here} < 0"))
            connection.execute(
                text(
                    "INSERT INTO audit_entry (organisation_id, sequence, at, actor, actor_name, action, subject, "
                    "details, hash)"
                    f" VALUES ({mine}, {at}, '2026-11-22 08:00:00.000000', 'user:1', 'x', 'x.y', '', '{{}}', 'ab')"
                )
            )
        else:  # the tail is cut, and the row that says where the chain ends is made to agree
            connection.execute(text(f"DELETE FROM audit_entry WHERE {here} >= {at}"))
            last = connection.execute(text(f"SELECT hash FROM audit_entry WHERE {here} = {at - 1}")).scalar() or seed(
                mine
            )
            connection.execute(
                text(f"UPDATE audit_head SET sequence = {at - 1}, hash = :hash WHERE organisation_id = {mine}"),
                {"hash": last},
            )
            assert verify(connection, mine).fault is None  # this is what checkpoints are for
        found = verify(connection, mine, checkpoint).fault
        outer.rollback()
    assert found is not None
    assert found.sequence == expected, found
    assert fault(store, mine, checkpoint) is None


def test_a_chain_that_was_written_anew_does_not_fit_the_checkpoint(chain, tree, clock):
    store, mine = chain
    with store.engine.connect() as connection:
        seen = verify(connection, mine)
    with store.writer() as session:
        session.execute(text(f"DELETE FROM audit_entry WHERE organisation_id = {mine}"))
        session.execute(text(f"DELETE FROM audit_head WHERE organisation_id = {mine}"))
        for number in range(LENGTH):
            audit.record(session, "system", mine, "made.up", "", {"number": number}, clock())
        session.info["audit drafts"], drafts = [], session.info["audit drafts"]
        from console.store.audit_chain import append

        append(session, mine, [draft for _, draft in drafts])
        session.flush()
        assert verify(session.connection(), mine).fault is None
        found = verify(session.connection(), mine, {5: "0" * 64, seen.last: seen.hash}).fault
        session.rollback()
    assert found is not None
    assert "checkpoint" in found.what


# --- what is written down


def actions(store, organisation_id: int) -> list[str]:
    return [entry.action for entry in entries(store, organisation_id)]


def test_logging_in_and_out_is_written_down_and_so_is_failing(store, client, anonymous, tree):
    client.submit("/logout")
    anonymous.submit("/login", {"login": "plant", "password": "not the password"})
    anonymous.submit("/login", {"login": "no-such-user", "password": "not the password"})
    mine = entries(store, tree.plant.organisation_id)
    assert [entry.action for entry in mine][-3:] == ["login.succeeded", "login.ended", "login.failed"]
    assert json.loads(mine[-1].details)["address"] == "127.0.0.1"
    assert "not the password" not in "".join(entry.details for entry in mine)


def test_what_people_do_with_findings_and_incidents_is_written_down(store, client, tree):
    send(client, tree.plant_key, [finding_record(1)])
    with store.reader() as session:
        incident = session.scalars(select(Incident)).one()
    client.submit(f"/incidents/{incident.id}/acknowledge")
    client.submit(f"/incidents/{incident.id}/close", {"disposition": "confirmed", "reason": "seen on site"})
    client.submit("/findings/1/verdict", {"verdict": "real", "note": "it was"})
    found = actions(store, tree.plant.organisation_id)
    for action in ("incident.opened", "incident.acknowledged", "incident.closed", "finding.judged"):
        assert found.count(action) == 1, action
    assert fault(store, tree.plant.organisation_id) is None


def test_a_request_that_is_refused_leaves_no_entry(store, client, tree):
    before = actions(store, tree.plant.organisation_id)
    assert client.submit("/sensors/", {"name": "???", "site": "a", "segment": "b"}).status_code == 400
    assert actions(store, tree.plant.organisation_id) == before


def test_hostile_names_and_endless_details_are_kept_within_bounds(store, tree, clock):
    mine = tree.plant.organisation_id
    with store.transaction() as session:
        details = {"text": "\x00\ud800" * 40_000}
        audit.record(session, "x:\x00\ud800" + "y" * 500, mine, "z" * 200, "\x00" * 500, details, clock())
    last = entries(store, mine)[-1]
    assert len(last.details) < 200
    assert "\x00" not in last.actor_name + last.subject
    assert fault(store, mine) is None


def test_reading_needs_an_administrator_and_shows_the_own_organisation_only(store, tree, clock):
    write(store, tree, clock, 3)
    with store.reader() as session:
        with pytest.raises(ForbiddenError):
            audit.listing(session, tree.plant_analyst, AuditFilter())
        found, more = audit.listing(session, tree.mill, AuditFilter())
        assert {entry.organisation_id for entry in found} == {tree.mill.organisation_id}
        found, more = audit.listing(session, tree.plant, AuditFilter(action="JUDGED", subject="finding:2"))
        assert ([entry.subject for entry in found], more) == (["finding:2"], False)
        found, _ = audit.listing(session, tree.plant, AuditFilter(action="%"))
        assert found == []
