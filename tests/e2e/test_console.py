"""The console in the stack: every page, with sources that are away, and during requests; orders."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from app.console.pages import PAGES
from tests.support.load import assert_available, attack
from tests.support.releases import SETTINGS
from tests.support.soak import soak_only
from tests.support.stack import CONSOLE, URL, Stack
from tests.support.waiting import eventually

ADDRESSES = ["/" if name == "overview" else f"/{name}" for name, _ in PAGES]


def get(address: str) -> str:
    response = requests.get(CONSOLE + address, timeout=10)
    assert response.status_code == 200, response.text
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.text))


def test_every_page_is_shown_and_every_source_is_reached(stack: Stack) -> None:
    eventually(lambda: get("/sources").count(" reached ") == 7, 120, lambda: get("/sources"))
    for address in ADDRESSES:
        get(address)
    assert "stable-1 up" in get("/slots")


def test_a_user_and_a_request_are_found_with_a_link_to_code_and_model(stack: Stack) -> None:
    request_id = requests.get(f"{URL}/recommend/4242", timeout=5).headers["X-Request-Id"]
    eventually(lambda: request_id in get("/find?user=4242"), 60, lambda: get("/find?user=4242"))
    assert "git checkout" in get(f"/find?request={request_id}")


def test_recommended_movies_are_counted_by_version(stack: Stack) -> None:
    movie = requests.get(f"{URL}/recommend/4243", timeout=5).text.split(",")[0]
    address = f"{CONSOLE}/find"

    def counted() -> bool:
        page = requests.get(address, {"movie": movie}, timeout=10).text
        return "That list the movie" in page and "No version" not in page

    eventually(counted, 240, movie)  # records are counted after two minutes


#: Source -> a page that reads it, and what that says while the source is away.
AWAY = {
    "prometheus": ("/slots", "Prometheus does not respond"),
    "mysql": ("/versions", "the database does not respond"),
    "scheduler": ("/retraining", "the scheduler does not respond"),
    "release state": ("/release", "state.json cannot be read: Permission denied"),
}


@contextmanager
def away(stack: Stack, source: str) -> Iterator[None]:
    """Stop a service, or make the files of releases unreadable for the console's user."""
    directory = stack.clone / "data" / "release"
    if source == "release state":
        mode = directory.stat().st_mode
        directory.chmod(0)
    else:
        stack.compose("stop", source)
    try:
        yield
    finally:
        if source == "release state":
            directory.chmod(mode)
        else:
            stack.compose("up", "-d", "--no-deps", "--wait", source)


@pytest.mark.parametrize(
    "source",
    [  # in make test the others are away in tests/unit/console
        source if source in ("mysql", "release state") else pytest.param(source, marks=soak_only)
        for source in AWAY
    ],
)
def test_every_page_stays_while_a_source_is_away(stack: Stack, source: str) -> None:
    page, text = AWAY[source]
    with away(stack, source):
        eventually(lambda: text in get(page), 120, lambda: get(page))
        assert re.search(r"Not reached since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", get(page))
        assert text in get("/")  # the overview names it, too
        for address in [*ADDRESSES, "/find?user=42"]:
            get(address)
    eventually(lambda: text not in get(page), 120, lambda: get(page))


def test_no_request_fails_while_the_console_is_read(stack: Stack) -> None:
    def read_pages() -> None:
        for _ in range(5):
            for address in ADDRESSES:
                get(address)

    assert_available(attack(URL, range(100), 50, 120, read_pages, stop_early=True))


def test_an_order_reaches_the_release_script_and_its_outcome_the_page(
    stack: Stack, console_token: str
) -> None:
    eventually(lambda: "Scheduler reached" in get("/sources"), 60, lambda: get("/sources"))
    browser = requests.Session()
    browser.headers["Origin"] = CONSOLE
    page = browser.get(f"{CONSOLE}/actions", timeout=10).text

    def send(path: str, **fields: str) -> requests.Response:
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
        return browser.post(CONSOLE + path, {**hidden, **fields}, timeout=10)

    fields = {"action": "rollback", "name": "Ada", "reason": "a test", "token": console_token}
    assert send("/actions", **{**fields, "token": "another"}).status_code == 403
    assert requests.post(f"{CONSOLE}/actions", fields, timeout=10).status_code == 403
    page = send("/actions", **fields).text
    assert "Ada in the console: a test" in send("/actions/confirmed").text
    pending = stack.clone / "data" / "orders" / "pending"
    assert len(list(pending.glob("*.json"))) == 1
    assert pending.stat().st_uid == 10001
    scheduler = ("exec", "-T", "scheduler", "sh", "-c")
    assert ".json" in stack.compose(*scheduler, "ls /orders/pending")
    with pytest.raises(AssertionError, match="Read-only file system"):
        stack.compose(*scheduler, "touch /orders/pending/1.json")
    subprocess.run(
        ["scripts/canary_release.sh", "supervise"],
        cwd=stack.clone, env={**stack.environment, **SETTINGS}, check=True, timeout=300,
    )  # fmt: skip
    outcome = "failed canary_release.sh: no image"  # this stack has no earlier version
    eventually(lambda: outcome in get("/actions"), 60, lambda: get("/actions"))

    def read_audit() -> list[list[str]]:
        return stack.sql(
            "select outcome, action, detail from audit order by recorded_at_us, outcome = 'failed'"
        )

    # `accepted` is a row, too, if the console has read it before the order had failed.
    eventually(lambda: "failed" in {row[0] for row in read_audit()}, 60, read_audit)
    rows = read_audit()
    assert rows[0] == ["given", "rollback", "Ada in the console: a test"]
    assert rows[-1][:2] == ["failed", "rollback"]
    printed = stack.compose("exec", "-T", "shipper", "marquee", "audit")
    assert "given     rollback" in printed
    assert "Ada in the console: a test (from " in printed
    with pytest.raises(AssertionError, match="denied"):  # the console cannot change a row
        stack.compose(
            "exec", "-T", "console", "python", "-c",
            "from app.settings import read_settings\n"
            "import sqlalchemy as sa\n"
            "from app.provenance.database import connect_reader\n"
            "with connect_reader(read_settings()).begin() as c:\n"
            "    c.execute(sa.text('delete from audit'))\n",
        )  # fmt: skip
