"""Every page in Chromium: with and without JavaScript, light and dark, checked by axe-core.

Needs Playwright's Python package, Debian's `chromium`, and axe-core's `axe.min.js` at
MARQUEE_AXE_FILE (docs/testing.md). Pictures of the pages are in `build/console`.
"""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from app import http_server
from app.console.console import Console
from app.console.pages import PAGES
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

playwright = pytest.importorskip(
    "playwright.sync_api", reason="Playwright is not installed (docs/testing.md)"
)
CHROMIUM = shutil.which("chromium")
AXE = Path(os.environ.get("MARQUEE_AXE_FILE", "axe.min.js"))
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium (docs/testing.md)"),
    pytest.mark.skipif(not AXE.is_file(), reason="MARQUEE_AXE_FILE names no file"),
]
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
    "error": "/nothing",
}


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
    return open_console(settings_of(directory, prometheus.url))


@pytest.fixture(scope="module")
def url(console: Console) -> Iterator[str]:
    server = http_server.BackgroundServer("127.0.0.1:0", create_app(console, ["127.0.0.1"]))
    yield f"http://127.0.0.1:{server.port}"
    server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


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
    axe, findings = AXE.read_text(), {}
    for name, address in ADDRESSES.items():
        page.goto(url + address)
        if name != "error":
            assert not errors, (name, errors)
        errors.clear()
        page.evaluate(axe)
        for finding in page.evaluate("axe.run()")["violations"]:
            nodes = [node["html"] for node in finding["nodes"]]
            findings[f"{name}: {finding['id']}"] = nodes
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
        assert page.locator("nav a").count() == len(PAGES)
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
    for _ in range(len(PAGES) + 1):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent"))
    assert reached[1:] == [label for _, label in PAGES]
