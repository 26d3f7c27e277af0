"""Each kind of bad canary is aborted; failures that hit all slots alike do not stop a good version.

More traffic and shorter intervals than in production, so that each release ends within three
minutes; margins are wider, because there are fewer requests.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.load import assert_available
from tests.support.releases import Releases, run_under_load, wait
from tests.support.soak import soak_only

pytestmark = pytest.mark.timeout(900)

REQUESTS_PER_SECOND = 100
MAX_RELEASE_SECONDS = 180
SETTINGS = {
    "RELEASE_ANALYSIS_WINDOW": "150s",
    "RELEASE_GUARD_INTERVAL": "5s",
    "RELEASE_GUARD_WINDOW": "25s",
    "RELEASE_MIN_REQUESTS": "1000",
    "RELEASE_FAILURE_TOLERANCE": "0.002",
    "RELEASE_FAILURE_MARGIN": "0.03",
    "RELEASE_MAX_BURST_DURATION": "5s",
    "RELEASE_MIN_SUCCESS_RATIO": "0.95",
}


def release_under_load(releases: Releases, fault: str) -> dict[str, Any]:
    """Release a version with a fault while users request recommendations; return its state."""
    releases.settings = dict(SETTINGS)
    releases.commit_version(fault)
    run_under_load(releases, lambda: releases.run("start"), rate=REQUESTS_PER_SECOND)
    return releases.state


def assert_aborted(
    releases: Releases, fault: str, reason: str, record_measurement: Callable[[str], None]
) -> None:
    before = releases.get_images()
    state = release_under_load(releases, fault)
    seconds = state["last_evaluation"]["evaluated_at"] - state["analysis_started_at"]
    record_measurement(f"canary with {fault}: {state['outcome']} after {seconds} s of analysis")
    assert state["outcome"] == "aborted", releases.read_log()
    assert reason in state["reason"]
    assert seconds <= MAX_RELEASE_SECONDS
    assert releases.get_images() == {**before, "canary": before["stable-1"]}
    assert reason in releases.read_notifications().mails
    assert reason in releases.run("history", state["id"]).stdout


@soak_only
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("dies:50", "share of requests begun and never answered"),
        ("client_errors:3", "share of client errors (4xx)"),
        ("errors:21", "share of failed requests"),  # none of the smoke test
        ("tail:0.3", "share of responses slower than the edge's timeout"),
    ],
)
def test_a_bad_canary_is_aborted(
    releases: Releases, fault: str, reason: str, record_measurement: Callable[[str], None]
) -> None:
    assert_aborted(releases, fault, reason, record_measurement)


@pytest.fixture
def promote(releases: Releases) -> Iterator[Callable[[str], None]]:
    """Promotes a version with a fault to all slots without a verdict; after the test a good one."""

    def promote(fault: str) -> None:
        releases.commit_version(fault)
        process = releases.start()
        releases.wait_for_phase("analyzing")
        assert releases.run("promote").returncode == 0, releases.read_log()
        assert wait(process) == 0, releases.read_log()
        releases.read_notifications()

    yield promote
    releases.settings = {}
    promote("")


@soak_only
def test_a_good_version_under_bursts_that_hit_all_slots_alike_is_promoted(
    releases: Releases, promote: Callable[[str], None]
) -> None:
    promote("bursts")
    state = release_under_load(releases, "bursts")
    assert state["outcome"] == "promoted", releases.read_log()
    checks = {check["name"]: check for check in state["last_evaluation"]["checks"]}
    assert checks["failures"]["value"] > 0
    assert checks["failures"]["stables"] > 0


@soak_only
def test_a_release_over_a_build_with_fewer_metrics_skips_their_check(
    releases: Releases, promote: Callable[[str], None]
) -> None:
    promote("old_metrics")
    releases.commit_version()
    result = run_under_load(releases, lambda: releases.run("start"))
    assert_available(result)
    assert releases.state["outcome"] == "promoted", releases.read_log()
    skipped = "unanswered: share of requests begun and never answered: the stables do not export it"
    assert skipped in releases.read_notifications().mails
    assert skipped in releases.run("history", releases.state["id"]).stdout
