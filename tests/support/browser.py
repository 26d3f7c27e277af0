"""The console's pages in Chromium: what a browser test needs, and steps that several share."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from app.console.pages import ACTION_PAGES, PAGES
from tests.conftest import ROOT
from tests.support.soak import IS_SOAK

CHROMIUM = shutil.which("chromium")
AXE = ROOT / "build" / "axe.min.js"
PICTURES = ROOT / "build" / "console"
#: Name of a page that every console has -> its address.
ADDRESSES = {name: "/" if name == "overview" else f"/{name}" for name, _ in PAGES} | {
    "runbook": "/runbook/SlotDown",
    "actions": "/actions",
    "error": "/nothing",
}
ALL_PAGES = [*PAGES, *ACTION_PAGES]


def skip_without_browser() -> Any:
    """Skip the calling module where a browser test cannot run; return Playwright's interface."""
    if not IS_SOAK:
        pytest.skip("a long form: make soak PART=browser", allow_module_level=True)
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed: make soak PART=browser"
    )
    if CHROMIUM is None:
        pytest.skip("no chromium: scripts/install_system.sh browser", allow_module_level=True)
    if not AXE.is_file():
        pytest.skip(f"there is no {AXE}: make soak PART=browser", allow_module_level=True)
    return playwright


@contextmanager
def start_chromium(playwright: Any) -> Iterator[Any]:
    """Start Chromium; pictures can be written to `PICTURES`."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def run_axe(page: Any) -> dict[str, list[str]]:
    """Return what axe finds on a page: the rule, and the elements."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run()")["violations"]
    return {finding["id"]: [node["html"] for node in finding["nodes"]] for finding in found}


def find_faults(browser: Any, url: str, addresses: dict[str, str], when: str, theme: str) -> Any:
    """Open every page with JavaScript and keep a picture of it.

    Args:
        url: base URL of the console.
        addresses: name of a page -> its address.
        when: part of the names of the pictures.
        theme: `light` or `dark`.

    Returns:
        What axe finds and what the browser's log says, by page; empty if nothing is wrong.
    """
    context = browser.new_context(color_scheme=theme, timezone_id="Asia/Tokyo")
    page = context.new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    found: dict[str, list[str]] = {}
    for name, address in addresses.items():
        page.goto(url + address)
        if errors and name != "error":  # which the browser reports as one
            found[f"{name}: log"] = errors.copy()
        errors.clear()
        found |= {f"{name}: {rule}": nodes for rule, nodes in run_axe(page).items()}
        page.screenshot(path=PICTURES / f"{name}-{when}-{theme}.png", full_page=True)
    context.close()
    return found


def assert_complete_without_javascript(browser: Any, url: str, addresses: dict[str, str]) -> None:
    """Open every page without JavaScript and check that nothing of its frame is missing."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    for address in addresses.values():
        page.goto(url + address)
        assert page.locator("h1").count() == 1, address
        assert page.locator("nav a").count() == len(ALL_PAGES), address
        assert page.locator("footer").count() == 1, address
    context.close()


def choose_action(page: Any, action: str, token: str) -> None:
    """Fill in the form of the page Actions and send it: the next page asks once more."""
    page.get_by_role("radio", name=action).check()
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Reason").fill("complaints")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Continue").click()
