"""A real browser against a real server process: login, overview, list, finding, language, theme, keys."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from records import EPOCH, STOP, record

from console.run import Credentials, add_sensor, init_console
from console.settings import Settings
from detectors.finding import Severity, Text

playwright_api = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
VENDOR = Path(__file__).parents[2] / "console" / "static" / "vendor" / "htmx" / "htmx.min.js"
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
QUIET += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
SERVE = "from console.run import serve; from console.settings import Settings; serve(Settings(), worker=False)"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    pytest.mark.skipif(not VENDOR.exists(), reason="the front-end libraries are missing: run tools/assets.py"),
]

SCAN = replace(
    STOP,
    rule_id="scan.functions",
    rule_name=Text(zh="功能码扫描", en="Function codes scanned"),
    explanation=Text(zh="一台主机试遍了功能码。", en="A host tried one function code after the other."),
    severity=Severity.MEDIUM,
    protocol="modbus",
    source_ip="10.0.0.6",
    techniques=("T0888",),
)


@dataclass(frozen=True)
class Server:
    url: str
    admin: Credentials
    key: str

    def send(self, *records) -> None:
        """A batch of findings, as the sensor sends them."""
        body = {"epoch": EPOCH, "findings": list(records)}
        answer = httpx.post(
            f"{self.url}/api/v1/findings", json=body, headers={"Authorization": f"Bearer {self.key}"}, timeout=30
        )
        assert answer.json()["rejected"] == [], answer.text


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    """The console as its own process, with two findings."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("browser")
    settings = Settings(data_dir=folder, port=port)
    made = Server(
        f"http://127.0.0.1:{port}",
        init_console(settings, "Plant"),
        add_sensor(settings, "s1", "North works", "Line 1"),
    )
    environment = os.environ | {"FENGHUO_DATA_DIR": str(folder), "FENGHUO_PORT": str(port)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", SERVE], env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"{made.url}/login")
                break
            except httpx.TransportError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, "the console did not start"
                time.sleep(0.1)
        made.send(record(1), record(2, SCAN))
        yield made
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, (folder / "log").read_text()


@pytest.fixture(scope="module")
def chromium():
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def state(server, chromium):
    """Cookies of a login through the form."""
    context = chromium.new_context(locale="en-US")
    page = context.new_page()
    page.goto(server.url)
    page.get_by_label("Login").fill(server.admin.login)
    page.get_by_label("Password").fill(server.admin.password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{server.url}/")
    stored = context.storage_state()
    context.close()
    return stored


@pytest.fixture
def page(server, chromium, state):
    """A logged-in page in English; it fails the test when the browser complains about anything."""
    context = chromium.new_context(locale="en-US", storage_state=state, base_url=server.url)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"{request.url}: {request.failure}"))
    outside: list[str] = []
    page.on("request", lambda r: outside.append(r.url) if not r.url.startswith((server.url, "data:")) else None)
    yield page
    context.close()
    assert not [text for text in complaints if "net::ERR_ABORTED" not in text]  # leaving a page ends its polling
    assert not outside, "a page asked another host"


def test_a_wrong_password_is_told_and_the_right_one_leads_on(server, chromium):
    context = chromium.new_context(locale="en-US")
    page = context.new_page()
    page.goto(f"{server.url}/findings/?severity=critical")
    page.get_by_label("Login").fill(server.admin.login)
    page.get_by_label("Password").fill("not-the-password")
    page.keyboard.press("Enter")
    assert page.get_by_role("alert").inner_text() == "Login or password is wrong."
    page.get_by_label("Password").fill(server.admin.password)
    page.keyboard.press("Enter")
    page.wait_for_url("**/findings/?severity=critical")
    assert page.locator("tbody tr").count() >= 1
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    context.close()


def test_from_the_overview_to_the_finding_and_its_bytes(page):
    page.goto("/")
    page.get_by_role("link", name="New findings").first.click()
    page.wait_for_url("**/findings/?state=new")
    page.get_by_role("link", name="Controller stopped").first.click()
    assert page.get_by_role("heading", level=1).inner_text() == "Controller stopped"
    assert page.get_by_text(STOP.explanation.en).is_visible()
    assert page.get_by_text("Change Operating Mode").is_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download pcap").click()
    assert Path(download.value.path()).read_bytes() == STOP.evidence.pcap


def test_one_switch_changes_the_language_and_stays_on_the_page(page):
    page.goto("/findings/?q=控制器")
    page.get_by_role("button", name="中文").click()
    page.wait_for_selector("html[lang=zh-CN]")
    assert "控制器" in page.locator("input[name=q]").last.input_value()
    page.get_by_role("link", name="控制器被停止").click()
    page.wait_for_selector("text=改变运行模式")
    assert page.get_by_text(STOP.explanation.zh).is_visible()
    page.get_by_role("button", name="English").click()
    page.wait_for_selector("html[lang=en]")
    assert page.get_by_text(STOP.explanation.en).is_visible()


def test_the_theme_changes_and_is_remembered(page):
    page.goto("/findings/")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    before = page.evaluate(ground)
    page.locator("#theme").click()
    page.wait_for_selector("html[data-theme=dark]")
    assert page.evaluate(ground) != before
    page.goto("/")
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_a_choice_filters_at_once_and_stands_in_the_url(page):
    page.goto("/findings/")
    page.locator("label.chip", has_text="modbus").click()
    page.wait_for_url("**/findings/?protocol=modbus")
    assert page.locator("tbody tr").count() == 1
    page.get_by_role("link", name="10.0.0.6", exact=True).click()
    page.wait_for_url(lambda url: "ip=10.0.0.6" in url and "protocol=modbus" in url)
    page.get_by_role("link", name="Clear all").click()
    page.wait_for_url("**/findings/")
    assert page.locator("tbody tr").count() >= 2


def test_keys_lead_through_the_console(page):
    page.goto("/")
    page.keyboard.press("g")
    page.keyboard.press("f")
    page.wait_for_url("**/findings/")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/findings/1")
    page.keyboard.press("/")
    page.keyboard.type("scanned")
    page.keyboard.press("Enter")
    page.wait_for_url("**/findings/?q=scanned")
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog").is_visible()


def test_what_arrives_is_announced_without_moving_the_list(page, server):
    page.goto("/findings/?sort=-received")
    before = page.locator("tbody tr").count()
    server.send(record(3, SCAN, source_ip="10.0.0.88"))
    news = page.get_by_text("1 new finding since")
    news.wait_for(timeout=20_000)
    assert page.locator("tbody tr").count() == before
    news.click()
    page.wait_for_function(f"document.querySelectorAll('tbody tr').length === {before + 1}")


def test_dragging_over_the_bars_shows_their_findings(page, server):
    early = STOP.first_ns - 5 * 3_600_000_000_000
    server.send(record(4, SCAN, source_ip="10.0.0.99", first_ns=early, last_ns=early))
    page.goto("/findings/")
    bars = page.locator(".histogram a")
    first, second = bars.nth(0).bounding_box(), bars.nth(1).bounding_box()
    assert first
    assert second
    page.mouse.move(first["x"] + 3, first["y"] + 40)
    page.mouse.down()
    page.mouse.move(second["x"] + 3, second["y"] + 40, steps=4)
    page.mouse.up()
    page.wait_for_url(lambda url: "from=" in url and "to=" in url)
    assert page.get_by_role("link", name="10.0.0.99", exact=True).is_visible()
    assert page.locator("tbody tr").count() == 1


def test_pages_fit_a_phone_without_scrolling_sideways(page):
    page.set_viewport_size({"width": 390, "height": 800})
    for path in ("/", "/findings/", "/findings/1", "/sensors/", "/account/"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_have_no_fault_that_keeps_people_with_disabilities_out(page, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.emulate_media(color_scheme=scheme)
    for path in ("/", "/findings/?severity=critical", "/findings/1", "/sensors/", "/account/"):
        page.goto(path)
        # the page forbids scripts that are not its own, so the checker comes in by the side door of the driver
        found = axe.run(page, options={"runOnly": ["wcag2a", "wcag2aa"]}).response["violations"]
        assert not found, f"{path}: " + "; ".join(f"{v['id']} {v['nodes'][0]['html'][:200]}" for v in found)
