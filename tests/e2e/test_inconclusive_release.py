"""Without sufficient data nothing is promoted; a short gap in the data does not prevent it."""

import re
import time
from collections.abc import Callable, Iterator

import pytest
import requests
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.support.docker import docker
from tests.support.load import assert_available
from tests.support.releases import Notifications, Releases, run_under_load, wait
from tests.support.soak import soak_only
from tests.support.stack import PROMETHEUS, SLOTS
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(900)

SCRAPED = "share of scrapes that reached the canary"


@pytest.fixture(scope="module")
def version(shared_releases: Releases) -> int:
    return shared_releases.commit_version()


@pytest.fixture
def prometheus_restored(releases: Releases) -> Iterator[Releases]:
    """Releases; after the test Prometheus is started and scrapes every slot."""
    yield releases
    releases.stack.compose("start", "prometheus")
    eventually(
        lambda: get_scrape_status() == dict.fromkeys(SLOTS, "1"), 60, "every slot is scraped"
    )


def get_scrape_status() -> dict[str, str]:
    """Return the value of `up` by slot; empty if Prometheus does not respond."""
    try:
        response = requests.get(
            f"{PROMETHEUS}/api/v1/query", params={"query": 'up{job="marquee"}'}, timeout=2
        )
        return {r["metric"]["slot"]: r["value"][1] for r in response.json()["data"]["result"]}
    except (requests.RequestException, ValueError):
        return {}


def assert_inconclusive(
    releases: Releases, disturb: Callable[[], object], reason: str
) -> Notifications:
    """Release under load, disturb the analysis, and check that the release is inconclusive."""
    before = releases.get_images()

    def release() -> None:
        process = releases.start()
        releases.wait_for_phase("analyzing")
        disturb()
        assert wait(process) == 1, releases.read_log()

    run_under_load(releases, release)
    assert releases.state["outcome"] == "inconclusive", releases.read_log()
    assert reason in releases.state["reason"]
    assert releases.state["window_extended"]
    after = releases.get_images()
    assert after == {**before, "canary": before["stable-1"]}
    notifications = releases.read_notifications()
    number = releases.state["version"]
    for text in (notifications.mails, notifications.slack):
        assert f"Release of version {number} is inconclusive, analysis window extended" in text
        assert f"Release of version {number} inconclusive: " in text
        assert reason in text
    return notifications


@soak_only
def test_release_without_traffic_is_inconclusive(releases: Releases, version: int) -> None:
    releases.settings = {"RELEASE_ANALYSIS_WINDOW": "6s"}
    before = releases.get_images()
    assert releases.run("start").returncode == 1
    assert releases.state["outcome"] == "inconclusive", releases.read_log()
    assert "number of canary requests 0, must be at least 100" in releases.state["reason"]
    assert releases.get_images() == {**before, "canary": before["stable-1"]}
    releases.assert_up_changes_nothing()
    assert "inconclusive" in releases.run("history").stdout


@soak_only
def test_release_is_inconclusive_if_prometheus_is_stopped(
    prometheus_restored: Releases, version: int
) -> None:
    releases = prometheus_restored
    releases.settings = {"RELEASE_ANALYSIS_WINDOW": "6s"}
    assert_inconclusive(
        releases,
        lambda: releases.stack.compose("stop", "prometheus"),
        "Prometheus did not respond",
    )


@soak_only
def test_release_is_inconclusive_if_prometheus_returns_html(
    releases: Releases, version: int, httpserver: HTTPServer
) -> None:
    """A proxy between the script and Prometheus returns HTML from the start of the analysis on."""
    replacement: list[Response] = []

    def forward(request: Request) -> Response:
        if replacement:
            return replacement[0]
        parameters = request.values.to_dict(flat=False)
        response = requests.post(f"{PROMETHEUS}{request.path}", parameters, timeout=5)
        return Response(response.content, response.status_code, content_type="application/json")

    httpserver.expect_request(re.compile("/api/v1/.*")).respond_with_handler(forward)
    releases.settings = {
        "RELEASE_ANALYSIS_WINDOW": "6s",
        "RELEASE_PROMETHEUS_URL": httpserver.url_for("").rstrip("/"),
    }
    page = "<html>It works!</html>"
    assert_inconclusive(releases, lambda: replacement.append(Response(page)), f"not JSON: {page}")


def pause_prometheus(releases: Releases, seconds: float) -> None:
    container = releases.stack.container("prometheus")
    docker("pause", container)
    time.sleep(seconds)
    docker("unpause", container)


@soak_only
def test_release_is_inconclusive_if_over_10_percent_of_scrapes_are_missing(
    prometheus_restored: Releases, version: int
) -> None:
    releases = prometheus_restored
    releases.settings = {"RELEASE_ANALYSIS_WINDOW": "16s"}
    assert_inconclusive(releases, lambda: pause_prometheus(releases, 9), SCRAPED)


@soak_only
@pytest.mark.parametrize("disturbance", ["gap", "restart"])
def test_good_version_is_promoted_despite_a_short_disturbance(
    prometheus_restored: Releases, disturbance: str, record_measurement: Callable[[str], None]
) -> None:
    releases = prometheus_restored
    releases.commit_version()
    releases.settings = {"RELEASE_ANALYSIS_WINDOW": {"gap": "30s", "restart": "75s"}[disturbance]}

    def release() -> None:
        process = releases.start()
        releases.wait_for_phase("analyzing")
        time.sleep(5)
        if disturbance == "gap":
            pause_prometheus(releases, 2.5)
        else:
            docker("restart", releases.stack.container("canary"))
        assert wait(process) == 0, releases.read_log()

    result = run_under_load(releases, release)
    checks = {
        check["name"]: check["value"] for check in releases.state["last_evaluation"]["checks"]
    }
    record_measurement(
        f"{disturbance} during the analysis: promoted, scraped ratio "
        f"{checks['scraped_ratio']:.3f}, {result}"
    )
    assert releases.state["outcome"] == "promoted"
    assert not releases.state["window_extended"]
    assert 0.9 <= checks["scraped_ratio"] < 1
    assert_available(result)
