"""Fixtures of the console's tests: an application on a fresh store, two organisations, a client that is logged in."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from browser_kit import PASSWORD, Browser, FakeClock, postgresql_database
from flask import Flask
from sqlalchemy.orm import Session

from console import create_app
from console.services import organisations, sensors, users
from console.services.actor import Actor, Role
from console.settings import Settings
from console.store.engine import Store, open_store
from console.store.migrations import upgrade
from console.store.models import OrganisationKind


@dataclass(frozen=True)
class Tree:
    """A city above an industry body above the enterprise "plant"; beside it the enterprise "mill".

    Ids of organisations, an administrator's Actor of each, and each enterprise's sensor key.
    """

    city: Actor
    industry: Actor
    plant: Actor
    mill: Actor
    plant_analyst: Actor
    plant_viewer: Actor
    plant_key: str
    mill_key: str
    plant_sensor_id: int
    mill_sensor_id: int


# The cheapest argon2id that there is: the tests hash hundreds of passwords, none of which protects anything.
users.hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tree]:
    """A migrated database with the tree, made once and copied for each test (hashing passwords takes its time)."""
    folder = tmp_path_factory.mktemp("console")
    store = open_store(f"sqlite:///{folder / 'console.db'}")
    upgrade(store)
    with store.transaction() as session:
        tree = _plant_tree(session, FakeClock()())
    store.engine.dispose()  # checkpoints the write-ahead log
    return folder / "console.db", tree


def _plant_tree(session: Session, now: datetime) -> Tree:
    kinds = OrganisationKind
    city = organisations.create_organisation(session, "City", kinds.CITY, None, now)
    industry = organisations.create_organisation(session, "Water industry", kinds.INDUSTRY, city, now)
    plant = organisations.create_organisation(session, "Plant", kinds.ENTERPRISE, industry, now)
    mill = organisations.create_organisation(session, "Mill", kinds.ENTERPRISE, industry, now)
    actors = {
        org.name: users.actor_of(
            users.create_user(session, org, org.name.split()[0], f"{org.name} admin", Role.ADMINISTRATOR, PASSWORD, now)
        )
        for org in (city, industry, plant, mill)
    }
    analyst = users.create_user(session, plant, "analyst", "Lin", Role.ANALYST, PASSWORD, now)
    viewer = users.create_user(session, plant, "viewer", "Wang", Role.VIEWER, PASSWORD, now)
    plant_sensor, plant_key = sensors.add_sensor(session, actors["Plant"], "s1", "North works", "Line 1", now)
    mill_sensor, mill_key = sensors.add_sensor(session, actors["Mill"], "s1", "Mill", "Line 1", now)
    return Tree(
        actors["City"],
        actors["Water industry"],
        actors["Plant"],
        actors["Mill"],
        users.actor_of(analyst),
        users.actor_of(viewer),
        plant_key,
        mill_key,
        plant_sensor.id,
        mill_sensor.id,
    )


@pytest.fixture(scope="session")
def prepared_postgresql(postgresql_server_url: Callable[[str], str]) -> tuple[Callable[[], str], Tree]:
    """The same tree on PostgreSQL: a function that gives the URL of a fresh copy."""
    store = open_store(postgresql_server_url("postgres"))
    administer = store.engine.execution_options(isolation_level="AUTOCOMMIT")
    with administer.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE prepared")
    original = open_store(postgresql_server_url("prepared"))
    upgrade(original)
    with original.transaction() as session:
        tree = _plant_tree(session, FakeClock()())
    original.engine.dispose()  # nobody may be connected to what is copied
    numbers = count()

    def fresh() -> str:
        name = f"test{next(numbers)}"
        with administer.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE prepared STRATEGY file_copy")
        return postgresql_server_url(name)

    return fresh, tree


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine_name" in metafunc.fixturenames and metafunc.definition.get_closest_marker("both_engines"):
        metafunc.parametrize("engine_name", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def engine_name(request: pytest.FixtureRequest) -> str:
    """SQLite; both where the test is marked so (browser_kit.both_engines)."""
    return getattr(request, "param", "sqlite")


@pytest.fixture
def settings(engine_name: str, tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    if engine_name == "postgresql":
        fresh, _ = request.getfixturevalue("prepared_postgresql")
        return Settings(data_dir=tmp_path, locale="en", database_url=fresh())
    shutil.copy(request.getfixturevalue("prepared")[0], tmp_path / "console.db")
    return Settings(data_dir=tmp_path, locale="en")


@pytest.fixture
def tree(engine_name: str, request: pytest.FixtureRequest) -> Tree:
    return request.getfixturevalue("prepared_postgresql" if engine_name == "postgresql" else "prepared")[1]


@pytest.fixture
def app(settings: Settings, clock: FakeClock) -> Iterator[Flask]:
    """The application with the tree in its store. Rate limits and checks of forged requests are on, as in real life."""
    app = create_app(settings, clock)
    app.testing = False  # faults become answers, as in real life
    yield app
    app.extensions["fenghuo"].store.engine.dispose()


@pytest.fixture
def store(app: Flask) -> Store:
    return app.extensions["fenghuo"].store


@pytest.fixture
def db(store: Store) -> Iterator[Session]:
    """A writing session of the test itself. Commit before asking the application."""
    with store.writer() as session:
        yield session


@pytest.fixture
def anonymous(app: Flask) -> Browser:
    app.test_client_class = Browser
    return app.test_client()


@pytest.fixture
def client(anonymous: Browser) -> Browser:
    """Logged in as the administrator of the plant."""
    return anonymous.log_in("plant")


@pytest.fixture
def mill_client(app: Flask) -> Browser:
    """Logged in as the administrator of the neighbour."""
    app.test_client_class = Browser
    return app.test_client().log_in("mill")


@pytest.fixture
def make_url(engine_name: str, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], str]:
    """URLs of empty databases."""
    if engine_name == "sqlite":
        return lambda name: f"sqlite:///{tmp_path / name}.db"
    url = request.getfixturevalue("postgresql_server_url")
    return lambda name: postgresql_database(url, name, tmp_path)
