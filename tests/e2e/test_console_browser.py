"""The console in Chromium while the stack releases versions: pages, actions, axe-core, pictures.

`make soak PART=browser` installs what it needs. Pictures of the pages are in `build/console`.
"""

import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.support import browser as support
from tests.support.releases import Releases, run_under_load, wait
from tests.support.stack import CONSOLE, URL, Stack
from tests.support.waiting import eventually

playwright = support.skip_without_browser()
pytestmark = pytest.mark.timeout(1800)

REQUESTS_PER_SECOND = 20
#: Long enough to open every page meanwhile; guards are shown, and none of them ends the release.
LONG_WINDOW = {
    "RELEASE_ANALYSIS_WINDOW": "4m",
    "RELEASE_GUARD_INTERVAL": "15s",
    "RELEASE_GUARD_WINDOW": "45s",
    "RELEASE_MAX_BURST_DURATION": "15s",
    "RELEASE_FAILURE_TOLERANCE": "1",
    "RELEASE_FAILURE_MARGIN": "1",
    "RELEASE_MAX_LATENCY_INCREASE_SECONDS": "1",
}
#: Outcome of a release by its verdict -> fault of its version.
FAULTS = {"promoted": "", "aborted": "slow:0.3"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with support.start_chromium(playwright) as chromium:
        yield chromium


@pytest.mark.parametrize("outcome", FAULTS)
def test_every_page_during_and_after_a_release(
    stack: Stack,
    releases: Releases,
    console_token: str,
    browser: Any,
    record_measurement: Callable[[str], None],
    *,
    outcome: str,
) -> None:
    releases.settings = LONG_WINDOW
    version = releases.commit_version(FAULTS[outcome])
    addresses = support.ADDRESSES | find_addresses(releases.users[0])
    phases: list[str] = []

    def open_pages(when: str) -> None:
        for theme in ("light", "dark"):
            found = support.find_faults(browser, CONSOLE, addresses, f"stack-{when}", theme)
            assert found == {}
        support.assert_complete_without_javascript(browser, CONSOLE, addresses)

    def release() -> None:
        process = releases.start()
        releases.wait_for_phase("analyzing")
        wait_for_text(browser, "/release", f"Version {version}: analyzing")
        wait_for_text(browser, "/release", re.compile(r"CONTINUE: ([2-9]|\d\d)"))  # guards
        check_queries(stack, browser)
        open_pages(f"before-{outcome}")
        phases.append(releases.state["phase"])
        assert wait(process) == (0 if outcome == "promoted" else 1), releases.read_log()

    result = run_under_load(releases, release, rate=REQUESTS_PER_SECOND)
    record_measurement(
        f"console opened in Chromium during a release that was {outcome}: {result}; "
        f"phase after the last page: {phases[0]}"
    )
    assert result.failed == result.late, result
    assert releases.state["outcome"] == outcome, releases.read_log()
    wait_for_text(browser, "/release", f"Version {version}: {outcome}")
    open_pages(outcome)
    if outcome == "aborted":
        wait_for_text(browser, "/release", "share of responses slower than the edge's timeout 100")


def find_addresses(user: int) -> dict[str, str]:
    """Return addresses of look-ups of what a user is recommended."""
    response = requests.get(f"{URL}/recommend/{user}", timeout=5)
    movie = response.text.split(",")[0].replace("+", "%2B")
    request_id = response.headers["X-Request-Id"]
    eventually(
        lambda: request_id in requests.get(f"{CONSOLE}/find?user={user}", timeout=10).text, 60
    )
    return {
        "find-user": f"/find?user={user}",
        "find-request": f"/find?request={request_id}",
        "find-movie": f"/find?movie={movie}",
    }


def wait_for_text(browser: Any, address: str, text: str | re.Pattern[str]) -> None:
    """Wait until an open page shows a text: it refreshes by itself."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(CONSOLE + address)
    playwright.expect(page.locator("main")).to_contain_text(text, timeout=120_000)
    context.close()


def check_queries(stack: Stack, browser: Any) -> None:
    """Follow the link of each check and of the newest guards: Prometheus has data for each."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{CONSOLE}/release")
    checks = page.locator("tbody tr", has=page.locator("a.query"))
    links = [link.get_attribute("href") for link in checks.locator("a.query").all()]
    links = [link for link in links if "g0.expr" in link]
    assert len(links) > 10
    guards = [link.get_attribute("href") for link in page.locator(".guards a.query").all()]
    context.close()
    assert len(set(guards)) == len(guards) > 1
    for guard in guards[:2]:
        response = requests.get(CONSOLE + guard, timeout=10, allow_redirects=False)
        links.append(response.headers["Location"])
    for link in links:
        options = parse_qs(urlsplit(link).query)
        expressions = [text for name, (text,) in options.items() if name.endswith(".expr")]
        assert any(stack.query(text) for text in expressions), link


@pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "no-javascript"])
def test_actions_are_carried_out(
    stack: Stack, releases: Releases, console_token: str, browser: Any, *, javascript: bool
) -> None:
    releases.settings = {"RELEASE_ANALYSIS_WINDOW": "20m"}  # which only an action ends
    context = browser.new_context(java_script_enabled=javascript)
    page = context.new_page()

    def act(action: str) -> None:
        def can_be_chosen() -> bool:
            page.goto(f"{CONSOLE}/actions")
            return bool(page.get_by_role("radio", name=action).is_enabled())

        eventually(can_be_chosen, 60, action, 1)
        support.choose_action(page, action, console_token)
        playwright.expect(page.locator("h1")).to_have_text(f"Confirm: {action}")
        assert not javascript or support.run_axe(page) == {}
        page.get_by_role("button", name=f"Yes, {action}").click()
        playwright.expect(page.locator("tbody tr").first).to_contain_text("Ada in the console")

    def wait_for_outcome(action: str, outcome: str) -> None:
        row = page.locator("tbody tr").first

        def is_shown() -> bool:
            page.goto(f"{CONSOLE}/actions")
            return action in row.inner_text() and outcome in row.inner_text()

        eventually(is_shown, 60, row.inner_text, 1)
        recorded = "select count(*) from audit where action = '{}' and outcome in ('given', '{}')"
        eventually(
            lambda: int(stack.sql(recorded.format(action, outcome))[0][0]) >= 2, 60, action, 1
        )

    for action, outcome in (("promote", "promoted"), ("abort", "aborted")):
        releases.commit_version()
        process = releases.start()
        releases.wait_for_phase("analyzing")
        act(action)
        assert wait(process) == (0 if outcome == "promoted" else 1), releases.read_log()
        assert releases.state["outcome"] == outcome
        assert "Ada in the console: complaints" in releases.state["reason"]
        wait_for_outcome(action, "accepted")
        if action == "promote":
            act("rollback")
            subprocess.run(
                ["scripts/canary_release.sh", "supervise"],
                cwd=stack.clone, env=releases.environment, check=True, timeout=500,
            )  # fmt: skip
            wait_for_outcome("rollback", "done")
    playwright.expect(page.locator("form.action")).to_contain_text("retraining is switched off")
    context.close()
