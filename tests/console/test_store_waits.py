"""Programs that run for months wait for a database server that is just starting; a file is there or is not."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import inspect
from sqlalchemy.exc import OperationalError

from console.store.engine import open_store
from console.store.migrations import upgrade_once_there
from tools import postgresql_server


@pytest.fixture
def server():
    if why := postgresql_server.why_not():
        pytest.skip(why)
    made = postgresql_server.Server()
    yield made
    made.stop()


def test_a_database_server_that_starts_late_is_waited_for_and_one_that_never_does_is_an_error(server, caplog):
    store = open_store(server.url("postgres"))
    with pytest.raises(OperationalError):
        upgrade_once_there(store, patience_s=0.0)
    caplog.clear()
    # started by this thread, for it ends with the thread that did; what waits is the other one
    waiting = threading.Thread(target=upgrade_once_there, args=(store,))
    waiting.start()
    while not caplog.records:
        waiting.join(0.01)
    server.start()
    waiting.join(60)
    assert inspect(store.engine).has_table("finding")
    assert [record.message for record in caplog.records if "does not answer" in record.message]
    store.engine.dispose()


def test_a_file_that_cannot_be_opened_is_an_error_at_once(tmp_path):
    store = open_store(f"sqlite:///{tmp_path / 'nowhere' / 'console.db'}")
    with pytest.raises(OperationalError):
        upgrade_once_there(store)
