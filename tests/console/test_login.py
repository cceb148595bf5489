"""Who gets in, and what keeps others out."""

from __future__ import annotations

import re
import stat

import pytest
from browser_kit import PASSWORD, Browser, FakeClock
from flask import Flask
from records import EPOCH
from sqlalchemy import func, select

from console.run import add_sensor, add_user, init_console, is_initialised, renew_sensor_key, reset_password
from console.services import sensors, users
from console.services.actor import Role
from console.services.errors import InvalidError, NotFoundError
from console.settings import Settings, secret_key
from console.store.models import LoginSession, Sensor, User
from console.web.auth import safe_target

NOW = FakeClock().time


def browser(app: Flask) -> Browser:
    app.test_client_class = Browser
    return app.test_client()


def test_a_page_sends_who_is_not_logged_in_to_the_login_and_back(anonymous):
    answer = anonymous.get("/findings/?severity=high")
    assert answer.headers["Location"] == "/login?next=/findings/?severity%3Dhigh"
    logged_in = anonymous.submit("/login", {"login": "plant", "password": PASSWORD, "next": "/findings/?severity=high"})
    assert logged_in.headers["Location"] == "/findings/?severity=high"


def test_every_view_needs_a_login_unless_it_says_public(app, anonymous):
    public = {name for name, view in app.view_functions.items() if getattr(view, "public", False)}
    assert {"auth.login", "auth.log_in", "ingest.findings"} <= public
    for rule in app.url_map.iter_rules():
        if rule.endpoint in public or rule.endpoint == "static" or "GET" not in rule.methods:
            continue
        path = re.sub(r"<[^>]+>", "1", rule.rule)
        answer = anonymous.get(path)
        assert answer.status_code == 302, path
        assert "/login" in answer.headers["Location"], path


def test_a_polling_page_is_sent_to_the_login_as_a_whole(anonymous):
    answer = anonymous.get("/findings/news/3", headers={"HX-Request": "true"})
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"].startswith("/login")


@pytest.mark.parametrize(("login", "password"), [("plant", "wrong"), ("nobody", PASSWORD), ("", ""), ("plant", "")])
def test_a_wrong_login_and_a_wrong_password_look_the_same(anonymous, login, password):
    answer = anonymous.submit("/login", {"login": login, "password": password})
    assert answer.status_code == 401
    assert "Login or password is wrong." in answer.text
    assert anonymous.get("/").status_code == 302


def test_the_sixth_wrong_password_for_an_account_within_a_minute_is_refused_unseen(app, anonymous):
    for _ in range(5):
        assert anonymous.submit("/login", {"login": "plant", "password": "wrong"}).status_code == 401
    answer = anonymous.submit("/login", {"login": " PLANT ", "password": PASSWORD})
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert browser(app).submit("/login", {"login": "mill", "password": PASSWORD}).status_code == 302


def test_an_address_that_tries_many_accounts_is_refused(anonymous):
    answers = [anonymous.submit("/login", {"login": f"u{n}", "password": "x"}).status_code for n in range(22)]
    assert answers[:20] == [401] * 20
    assert answers[20:] == [429, 429]


def test_a_session_that_was_known_before_the_login_is_worth_nothing_after_it(anonymous):
    anonymous.get("/login")
    before = anonymous.get_cookie("fenghuo")
    token = anonymous.token()
    anonymous.log_in("plant")
    after = anonymous.get_cookie("fenghuo")
    assert before is not None
    assert after is not None
    assert before.value != after.value
    # the old token against forged requests does not fit the new session
    assert anonymous.post("/logout", data={"csrf_token": token}).status_code == 400


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(client):
    answer = client.get("/")
    assert answer.status_code == 200
    cookie = client.submit("/preferences", {"theme": "dark"}).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_cookies_travel_over_https_only_when_the_settings_say_so(settings, clock):
    from console import create_app

    app = create_app(settings.model_copy(update={"secure_cookies": True}), clock)
    assert "Secure" in app.test_client().get("/login").headers["Set-Cookie"]


def test_logging_out_ends_the_session_on_the_server_too(app, client):
    stolen = client.get_cookie("fenghuo").value
    assert client.submit("/logout").status_code == 302
    thief = browser(app)
    thief.set_cookie("fenghuo", stolen)
    assert thief.get("/").status_code == 302


def test_a_session_ends_after_its_hours(client, clock: FakeClock):
    clock.advance(hours=11, minutes=59)
    assert client.get("/").status_code == 200
    clock.advance(minutes=2)
    assert client.get("/").status_code == 302


def test_who_is_disabled_is_out_at_once_everywhere(app, client, tree):
    viewer = browser(app).log_in("viewer")
    assert viewer.get("/").status_code == 200
    client.submit(f"/account/users/{tree.plant_viewer.user_id}/disable")
    assert viewer.get("/").status_code == 302
    assert browser(app).submit("/login", {"login": "viewer", "password": PASSWORD}).status_code == 401


def test_nobody_disables_themselves(client, tree):
    assert client.submit(f"/account/users/{tree.plant.user_id}/disable").status_code == 400
    assert client.get("/").status_code == 200


def test_a_changed_password_logs_other_browsers_out(app, client):
    other = browser(app).log_in("plant")
    new = "a-quite-different-one-7"
    form = {"old": PASSWORD, "new": new, "again": new}
    assert client.submit("/account/password", form).status_code == 302
    assert client.get("/").status_code == 200
    assert other.get("/").status_code == 302
    assert browser(app).submit("/login", {"login": "plant", "password": PASSWORD}).status_code == 401
    assert browser(app).log_in("plant", new)


@pytest.mark.parametrize(
    ("old", "new", "again", "says"),
    [
        ("wrong", "a-quite-different-one-7", "a-quite-different-one-7", "The old password is wrong."),
        (PASSWORD, "short-1", "short-1", "12 to 128"),
        (PASSWORD, "x" * 129, "x" * 129, "12 to 128"),
        (PASSWORD, "aaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaa", "easy to guess"),
        (PASSWORD, "plant-plant-plant-1", "plant-plant-plant-1", "easy to guess"),
        (PASSWORD, "a-quite-different-one-7", "a-quite-different-one-8", "not typed the same twice"),
    ],
)
def test_a_password_is_not_changed_to_a_bad_one(app, client, old, new, again, says):
    answer = client.submit("/account/password", {"old": old, "new": new, "again": again})
    assert answer.status_code == 400
    assert says in answer.text
    assert browser(app).log_in("plant")


def test_a_password_typed_on_another_keyboard_is_the_same(db, tree, clock):
    from console.services.organisations import own

    users.create_user(db, own(db, tree.plant), "wide", "", Role.VIEWER, "ｆｕｌｌｗｉｄｔｈ-1234", clock())
    assert users.authenticate(db, "wide", "fullwidth-1234") is not None


def test_forged_requests_are_refused_on_every_form(app, client):
    tried = 0
    for rule in app.url_map.iter_rules():
        if "POST" not in rule.methods or rule.rule.startswith(("/api/", "/taxii")):  # they read no cookie
            continue
        if rule.endpoint.startswith("acknowledge."):  # its signed link is what nobody can forge
            continue
        answer = client.post(re.sub(r"<[^>]+>", "1", rule.rule), data={})
        assert answer.status_code in (400, 429), rule.rule
        tried += 1
    assert tried >= 8


def test_pages_allow_no_script_but_the_consoles_own(client, anonymous):
    for path in ("/", "/findings/", "/sensors/", "/account/", "/login", "/nowhere"):
        answer = client.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert not re.search(r"<script(?![^>]*\bsrc=)", answer.text), path
        assert not re.search(r"<[^>]+\son\w+=|<[^>]+\sstyle=|javascript:", answer.text), path


ELSEWHERE = [
    "https://evil.example/",
    "//evil.example",
    "/\\evil.example",
    "\\\\evil",
    "javascript:alert(1)",
    "http:/evil",
]


@pytest.mark.parametrize("target", [*ELSEWHERE, "", None, "x", "/a\nb", "///evil.example"])
def test_a_login_never_leads_to_another_site(app, target):
    with app.test_request_context():
        assert re.match(r"/(?![/\\])[^\n]*$", safe_target(target))


def test_a_login_leads_back_to_a_page_of_the_console(app):
    with app.test_request_context():
        assert safe_target("/findings/?q=%E6%8E%A7&page=2") == "/findings/?q=%E6%8E%A7&page=2"


def test_there_are_no_default_credentials(tmp_path):
    settings = Settings(data_dir=tmp_path)
    assert not is_initialised(settings)
    made = init_console(settings, "Plant")
    assert is_initialised(settings)
    assert len(made.password) >= 20
    with pytest.raises(InvalidError, match="initialised already"):
        init_console(settings, "Other")
    other = init_console(Settings(data_dir=tmp_path / "b"), "Plant")
    assert other.password != made.password


def test_the_secret_key_is_made_for_each_installation_and_is_its_owners_alone(tmp_path):
    first, second = Settings(data_dir=tmp_path / "a"), Settings(data_dir=tmp_path / "b")
    assert secret_key(first) == secret_key(first) != secret_key(second)
    assert len(secret_key(first)) >= 64
    assert stat.S_IMODE((tmp_path / "a" / "secret_key").stat().st_mode) == 0o600


def test_the_command_line_makes_users_and_sensors(tmp_path):
    settings = Settings(data_dir=tmp_path)
    init_console(settings, "Plant")
    made = add_user(settings, "lin", "Lin", Role.ANALYST)
    key = add_sensor(settings, "line-1", "North works", "Line 1", drill=True)
    from console.run import open_migrated

    with open_migrated(settings).reader() as session:
        assert users.authenticate(session, "lin", made.password) is not None
        sensor = sensors.find_by_key(session, key, NOW)
        assert sensor is not None
        assert (sensor.name, sensor.drill, sensor.segment.site.name) == ("line-1", True, "North works")
        assert session.scalar(select(func.count()).select_from(Sensor).where(Sensor.key_hash == key)) == 0
    again = reset_password(settings, "lin")
    renewed = renew_sensor_key(settings, "line-1")
    with open_migrated(settings).reader() as session:
        assert users.authenticate(session, "lin", made.password) is None
        assert users.authenticate(session, "lin", again.password) is not None
        assert sensors.find_by_key(session, key, NOW) is None
        assert sensors.find_by_key(session, renewed, NOW) is not None
    with pytest.raises(NotFoundError):
        add_sensor(settings, "line-2", "North works", "Line 1", organisation="Nobody")


def test_what_the_store_keeps_lets_nobody_in(db, client, tree):
    for user in db.scalars(select(User)):
        assert user.password_hash.startswith("$argon2id$")
    token = client.get_cookie("fenghuo").value
    assert all(opened.token_hash not in token for opened in db.scalars(select(LoginSession)))
    hashes = set(db.scalars(select(Sensor.key_hash)))
    assert sensors.key_hash(tree.plant_key) in hashes
    assert tree.plant_key not in hashes


def test_roles_bound_what_a_user_may_do(app, tree):
    viewer, analyst = browser(app).log_in("viewer"), browser(app).log_in("analyst")
    for path in ("/sensors/", "/sensors/1/key", "/sensors/1/revoke", "/account/users", "/account/users/1/disable"):
        assert viewer.submit(path).status_code == 403, path
        assert analyst.submit(path).status_code == 403, path
    assert viewer.submit("/findings/1/verdict", {"verdict": "real"}).status_code == 403
    assert analyst.submit("/findings/1/verdict", {"verdict": "real"}).status_code == 404  # there is none yet
    assert "Add a sensor" not in viewer.get("/sensors/").text


def test_an_administrator_adds_a_user_who_can_log_in(app, client):
    answer = client.submit("/account/users", {"login": "New.Person", "name": "New", "role": "analyst"})
    password = re.search(r'id="password">([^<]+)<', answer.text)
    assert password
    assert browser(app).log_in("new.person", password[1])
    assert client.submit("/account/users", {"login": "new.person", "role": "analyst"}).status_code == 400
    assert client.submit("/account/users", {"login": "b", "role": "god"}).status_code == 400
    assert client.submit("/account/users", {"login": "<b>", "role": "viewer"}).status_code == 400


def test_a_sensor_key_is_shown_once_and_works(app, client, anonymous):
    form = {"name": "Line-7", "site": "South works", "segment": "Line 7"}
    answer = client.submit("/sensors/", form)
    key = re.search(r'id="key">([^<]+)<', answer.text)
    assert key
    assert answer.headers["Cache-Control"] == "no-store"
    assert key[1] not in client.get("/sensors/").text
    headers = {"Authorization": f"Bearer {key[1]}"}
    beat = {"epoch": EPOCH, "counters": {}}
    assert anonymous.post("/api/v1/heartbeat", json=beat, headers=headers).status_code == 200
    assert client.submit("/sensors/", form).status_code == 400  # the name is taken


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "x" * 64, "<script>", "线"])
def test_a_sensor_has_a_name_that_fits_into_finding_ids(client, name):
    assert client.submit("/sensors/", {"name": name, "site": "S", "segment": "L"}).status_code == 400
