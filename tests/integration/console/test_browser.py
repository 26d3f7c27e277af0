"""Every page and action in Chromium: with and without JavaScript, light and dark, axe-core.

`make soak PART=browser` installs what they need: Playwright's Python package, Debian's `chromium`,
and `build/axe.min.js`. Pictures of the pages are in `build/console`.
"""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from app import http_server
from app.console.console import Console
from app.console.pages import ACTION_PAGES, PAGES
from app.console.server import create_app
from tests.conftest import MOVIES, ROOT
from tests.support.console import (
    AnsweringPrometheus,
    AnsweringScheduler,
    fill_database,
    open_console,
    refresh,
    settings_of,
    write_release,
)
from tests.support.soak import IS_SOAK

if not IS_SOAK:
    pytest.skip("a long form: make soak PART=browser", allow_module_level=True)
playwright = pytest.importorskip(
    "playwright.sync_api", reason="Playwright is not installed: make soak PART=browser"
)
CHROMIUM = shutil.which("chromium")
AXE = ROOT / "build" / "axe.min.js"
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: scripts/install_system.sh browser"),
    pytest.mark.skipif(not AXE.is_file(), reason=f"there is no {AXE}: make soak PART=browser"),
]
TOKEN = "a token of sufficient length"
PICTURES = ROOT / "build" / "console"
#: How the release goes: in progress, or how it ended.
RELEASES: dict[str, dict[str, Any]] = {
    "analyzing": {},
    "promoted": {"phase": "completed", "outcome": "promoted", "reason": "all checks passed"},
    "aborted": {
        "phase": "completed",
        "outcome": "aborted",
        "reason": "guard in minute 4: timeouts",
    },
}
ADDRESSES = {name: "/" if name == "overview" else f"/{name}" for name, _ in PAGES} | {
    "find-user": "/find?user=42",
    "find-movie": f"/find?movie={MOVIES[1].replace('+', '%2B')}",
    "runbook": "/runbook/SlotDown",
    "actions": "/actions",
    "error": "/nothing",
}
ALL_PAGES = [*PAGES, *ACTION_PAGES]


@pytest.fixture(scope="module")
def prometheus(make_httpserver: HTTPServer) -> AnsweringPrometheus:
    return AnsweringPrometheus(make_httpserver)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("console")


@pytest.fixture(scope="module")
def console(
    directory: Path,
    shared_model: Path,
    prometheus: AnsweringPrometheus,
    make_httpserver: HTTPServer,
) -> Console:
    fill_database(directory, shared_model)
    AnsweringScheduler(make_httpserver)
    write_release(directory / "release")
    options = {"console_token": TOKEN, "orders_dir": directory / "orders"}
    return open_console(settings_of(directory, prometheus.url, **options))


@pytest.fixture(scope="module")
def url(console: Console) -> Iterator[str]:
    app = create_app(console, ["127.0.0.1"], TOKEN)
    server = http_server.BackgroundServer("127.0.0.1:0", app)
    yield f"http://127.0.0.1:{server.port}"
    server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def run_axe(page: Any) -> dict[str, list[str]]:
    """What axe finds on a page: the rule, and the elements."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run()")["violations"]
    return {finding["id"]: [node["html"] for node in finding["nodes"]] for finding in found}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("outcome", RELEASES)
def test_axe_finds_nothing_and_no_script_fails(
    browser: Any, url: str, console: Console, directory: Path, theme: str, outcome: str
) -> None:
    write_release(directory / "release", **RELEASES[outcome])
    refresh(console)
    page = browser.new_context(color_scheme=theme, timezone_id="Asia/Tokyo").new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    findings: dict[str, list[str]] = {}
    for name, address in ADDRESSES.items():
        page.goto(url + address)
        if name != "error":
            assert not errors, (name, errors)
        errors.clear()
        findings |= {f"{name}: {key}": nodes for key, nodes in run_axe(page).items()}
        page.screenshot(path=PICTURES / f"{name}-{outcome}-{theme}.png", full_page=True)
    assert findings == {}


@pytest.mark.parametrize("outcome", RELEASES)
def test_every_page_is_complete_without_javascript(
    browser: Any, url: str, console: Console, directory: Path, outcome: str
) -> None:
    write_release(directory / "release", **RELEASES[outcome])
    refresh(console)
    page = browser.new_context(java_script_enabled=False).new_page()
    for address in ADDRESSES.values():
        page.goto(url + address)
        assert page.locator("h1").count() == 1
        assert page.locator("nav a").count() == len(ALL_PAGES)
        assert page.locator("footer").count() == 1
    page.goto(f"{url}/find")
    page.get_by_label("User id").fill("42")
    page.get_by_role("button", name="Find answers of the user").click()
    assert page.locator("article").count() == 5
    page.screenshot(path=PICTURES / f"find-{outcome}-without-javascript.png", full_page=True)


def test_times_are_in_the_readers_zone_and_in_utc_without_javascript(
    browser: Any, url: str, console: Console, directory: Path
) -> None:
    started = 1_795_780_800  # 2026-11-27 12:00 UTC
    write_release(directory / "release", started_at=started)
    refresh(console)
    options = {"timezone_id": "Asia/Tokyo", "locale": "en-GB"}
    for javascript, text in ((True, "21:00:00"), (False, "2026-11-27 12:00:00 UTC")):
        page = browser.new_context(java_script_enabled=javascript, **options).new_page()
        page.goto(f"{url}/release")
        moment = page.locator("dt:has-text('Started') + dd time")
        playwright.expect(moment).to_contain_text(text)


def test_a_page_refreshes_by_itself_and_can_be_paused(
    browser: Any, url: str, console: Console, directory: Path
) -> None:
    write_release(directory / "release", version="8")
    refresh(console)
    page = browser.new_context().new_page()
    page.goto(f"{url}/release")
    write_release(directory / "release", version="9")
    refresh(console)
    playwright.expect(page.locator(".verdict")).to_contain_text("Version 9", timeout=60_000)
    page.get_by_role("button", name="Pause refreshing").click()
    requests: list[Any] = []
    page.on("request", lambda request: requests.append(request.url))
    time.sleep(12)  # longer than the interval of ten seconds
    assert requests == []


def test_the_keyboard_reaches_the_content_and_every_page(browser: Any, url: str) -> None:
    page = browser.new_context().new_page()
    page.goto(url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.goto(url)
    reached = []
    for _ in range(len(ALL_PAGES) + 1):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent"))
    assert reached[1:] == [label for _, label in ALL_PAGES]


#: The actions that apply to a release that is analyzed, to one that has ended, and always.
ACTIONS = {"abort": "analyzing", "promote": "analyzing", "rollback": "promoted",
           "retrain": "aborted"}  # fmt: skip


@pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "no-javascript"])
@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_is_confirmed_and_ordered(
    browser: Any,
    url: str,
    console: Console,
    directory: Path,
    prometheus: AnsweringPrometheus,
    *,
    action: str,
    javascript: bool,
) -> None:
    prometheus.samples["retrain_running"] = [({}, 0.0)]
    write_release(directory / "release", **RELEASES[ACTIONS[action]])
    refresh(console)
    page = browser.new_context(java_script_enabled=javascript).new_page()
    page.goto(f"{url}/actions")
    fill_in(page, action, TOKEN)
    playwright.expect(page.locator("h1")).to_have_text(f"Confirm: {action}")
    assert not javascript or run_axe(page) == {}
    page.screenshot(path=PICTURES / f"confirm-{action}.png", full_page=True)
    page.get_by_role("button", name=f"Yes, {action}").click()
    row = page.locator("tbody tr").first
    playwright.expect(row).to_contain_text("Ada in the console: complaints")
    playwright.expect(row).to_contain_text("waiting")
    assert not javascript or run_axe(page) == {}
    newest = max((directory / "orders").glob("*.json"))
    assert json.loads(newest.read_text())["action"] == action


def fill_in(page: Any, action: str, token: str) -> None:
    page.get_by_role("radio", name=action).check()
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Reason").fill("complaints")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Continue").click()


def test_a_wrong_token_is_refused_on_a_page(
    browser: Any, url: str, console: Console, directory: Path
) -> None:
    write_release(directory / "release")
    refresh(console)
    page = browser.new_context().new_page()
    page.goto(f"{url}/actions")
    fill_in(page, "abort", "another token")
    playwright.expect(page.locator(".notice.bad")).to_contain_text("The token is not that of")
    assert run_axe(page) == {}


def test_a_page_of_another_origin_cannot_send_the_form(
    browser: Any, url: str, console: Console, directory: Path, make_httpserver: HTTPServer
) -> None:
    write_release(directory / "release")
    refresh(console)
    page = browser.new_context().new_page()
    page.goto(f"{url}/actions")  # which sets the cookie
    before = sorted((directory / "orders").glob("*.json"))
    fields = {"action": "abort", "name": "Eve", "token": TOKEN,
              "form_key": page.locator("[name=form_key]").get_attribute("value")}  # fmt: skip
    inputs = "".join(f'<input name="{name}" value="{value}">' for name, value in fields.items())
    make_httpserver.expect_request("/forged").respond_with_data(
        f'<form method="post" action="{url}/actions">{inputs}<button>Send</button></form>',
        content_type="text/html",
    )
    page.goto(make_httpserver.url_for("/forged").replace("localhost", "127.0.0.1"))
    page.get_by_role("button", name="Send").click()
    playwright.expect(page.locator(".notice.bad")).to_contain_text("No page of this console")
    assert sorted((directory / "orders").glob("*.json")) == before
