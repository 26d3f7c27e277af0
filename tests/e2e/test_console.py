"""The console in the stack: every page, with sources that are away, and during requests."""

import re

import pytest
import requests

from app.console.pages import PAGES
from tests.support.load import assert_available, attack
from tests.support.stack import PORTS, URL, Stack
from tests.support.waiting import eventually

CONSOLE = f"http://127.0.0.1:{PORTS['MARQUEE_CONSOLE_PORT']}"
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


@pytest.mark.parametrize(
    ("service", "page", "text"),
    [
        ("prometheus", "/slots", "Prometheus does not respond"),
        ("mysql", "/versions", "the database does not respond"),
        ("scheduler", "/retraining", "the scheduler does not respond"),
    ],
)
def test_every_page_stays_while_a_source_is_away(
    stack: Stack, service: str, page: str, text: str
) -> None:
    stack.compose("stop", service)
    try:
        eventually(lambda: text in get(page), 120, lambda: get(page))
        assert "Not reached since" in get(page)
        for address in [*ADDRESSES, "/find?user=42"]:
            get(address)
    finally:
        stack.compose("up", "-d", "--no-deps", "--wait", service)
    eventually(lambda: text not in get(page), 120, lambda: get(page))


def test_no_request_fails_while_the_console_is_read(stack: Stack) -> None:
    def read_pages() -> None:
        for _ in range(5):
            for address in ADDRESSES:
                get(address)

    assert_available(attack(URL, range(100), 50, 120, read_pages, stop_early=True))
