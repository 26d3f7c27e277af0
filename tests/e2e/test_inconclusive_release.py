"""No data means no promotion; a small gap in it does not stand in the way of a good version."""

import time
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs

import pytest
import requests
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.support.releases import Releases, Told, soak_only, under_load, wait
from tests.support.stack import PROMETHEUS, SLOTS, docker, eventually


@pytest.fixture(scope="module")
def version(shared_releases: Releases) -> int:
    return shared_releases.new_version()


@pytest.fixture
def scraped(releases: Releases) -> Iterator[Releases]:
    """Prometheus back, and every slot scraped, whatever a test did to it."""
    yield releases
    releases.stack.compose("start", "prometheus")
    eventually(lambda: up() == dict.fromkeys(SLOTS, "1"), 60, "every slot scraped after the test")


def up() -> dict[str, str]:
    try:
        answer = requests.get(
            f"{PROMETHEUS}/api/v1/query", params={"query": 'up{job="marquee"}'}, timeout=2
        )
        return {r["metric"]["slot"]: r["value"][1] for r in answer.json()["data"]["result"]}
    except (requests.RequestException, ValueError):
        return {}


def inconclusive(releases: Releases, during: Callable[[], object], reason: str) -> Told:
    """Release under load, with something done while the canary is watched: not promoted."""
    before = releases.images()

    def release() -> None:
        process = releases.begin()
        releases.until("watching")
        during()
        assert wait(process) == 1, releases.log()

    under_load(releases, release)
    assert releases.state["outcome"] == "inconclusive", releases.log()
    assert reason in releases.state["reason"]
    assert releases.state["extended"]
    after = releases.images()
    assert after == {**before, "canary": before["stable-1"]}
    told = releases.told()
    number = releases.state["version"]
    for text in (told.mails, told.slack):
        assert f"Release of version {number} is inconclusive, its window is extended" in text
        assert f"Release of version {number} inconclusive: " in text
        assert reason in text
    return told


def test_no_traffic(releases: Releases, version: int) -> None:
    releases.settings = {"RELEASE_ANALYSIS_WINDOW": "6s"}
    before = releases.images()
    assert releases.run("start").returncode == 1
    assert releases.state["outcome"] == "inconclusive", releases.log()
    assert "requests is 0, must be at least 100" in releases.state["reason"]
    assert releases.images() == {**before, "canary": before["stable-1"]}
    releases.up_changes_nothing()
    assert "inconclusive" in releases.run("history").stdout


@soak_only
def test_prometheus_stopped_at_the_verdict(scraped: Releases, version: int) -> None:
    scraped.settings = {"RELEASE_ANALYSIS_WINDOW": "6s"}
    inconclusive(
        scraped, lambda: scraped.stack.compose("stop", "prometheus"), "Prometheus did not answer"
    )


@soak_only
def test_prometheus_answering_rubbish(
    releases: Releases, version: int, httpserver: HTTPServer
) -> None:
    """A stand between the script and Prometheus, which passes all on until it talks nonsense."""
    talk: list[Response] = []

    def answer(request: Request) -> Response:
        if talk:
            return talk[0]
        asked = parse_qs(request.query_string.decode())
        told = requests.get(f"{PROMETHEUS}{request.path}", params=asked, timeout=5)
        return Response(told.content, told.status_code, content_type="application/json")

    httpserver.expect_request("/api/v1/query").respond_with_handler(answer)
    releases.settings = {
        "RELEASE_ANALYSIS_WINDOW": "6s",
        "RELEASE_PROMETHEUS_URL": httpserver.url_for("").rstrip("/"),
    }
    page = "<html>It works!</html>"
    inconclusive(releases, lambda: talk.append(Response(page)), f"not JSON: {page}")


def pause_prometheus(releases: Releases, seconds: float) -> None:
    container = releases.stack.container("prometheus")
    docker("pause", container)
    time.sleep(seconds)
    docker("unpause", container)


def test_a_gap_of_scrapes_over_ten_per_cent(scraped: Releases, version: int) -> None:
    scraped.settings = {"RELEASE_ANALYSIS_WINDOW": "16s"}
    inconclusive(scraped, lambda: pause_prometheus(scraped, 9), "scraped_ratio is 0.")


@soak_only
@pytest.mark.parametrize("disturbance", ["gap", "restart"])
def test_a_small_disturbance_does_not_stop_a_good_version(
    scraped: Releases, disturbance: str, figures: Callable[[str], None]
) -> None:
    releases = scraped
    releases.new_version()
    releases.settings = {"RELEASE_ANALYSIS_WINDOW": {"gap": "30s", "restart": "75s"}[disturbance]}

    def release() -> None:
        process = releases.begin()
        releases.until("watching")
        time.sleep(5)
        if disturbance == "gap":
            pause_prometheus(releases, 2.5)
        else:
            docker("restart", releases.stack.container("canary"))
        assert wait(process) == 0, releases.log()

    result = under_load(releases, release)
    checks = {check["name"]: check["value"] for check in releases.state["last"]["checks"]}
    figures(
        f"a {disturbance} of the canary: promoted, scraped {checks['scraped_ratio']:.3f}, {result}"
    )
    assert releases.state["outcome"] == "promoted"
    assert not releases.state["extended"]
    assert 0.9 <= checks["scraped_ratio"] < 1
    assert result.failed == 0, result
