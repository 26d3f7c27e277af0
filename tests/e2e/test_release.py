"""Releases under load: a good version is promoted, a bad one is aborted, no request fails."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.docker import docker
from tests.support.load import assert_available
from tests.support.releases import (
    REQUESTS_PER_SECOND,
    Releases,
    corrupt_model,
    get_request_time,
    make_users_unknown,
    roll_back_under_load,
    run_under_load,
    wait,
)
from tests.support.soak import soak_only
from tests.support.stack import PROJECT

pytestmark = pytest.mark.timeout(900)

SLOWER = "share of responses slower than the edge's timeout 100 %"


class SlotRecorder:
    """Records time and slot of each response."""

    def __init__(self) -> None:
        self._responses: list[tuple[float, str]] = []

    def __call__(self, hit: dict[str, Any]) -> None:
        headers = hit.get("headers") or {}
        if "X-Slot" in headers:
            self._responses.append((get_request_time(hit), headers["X-Slot"][0]))

    def count_between(self, start: float, end: float) -> Counter[str]:
        """Return the number of responses by slot between two Unix times."""
        return Counter(slot for time, slot in self._responses if start <= time < end)


@soak_only  # in make test: test_interrupted_release.py and test_retraining.py
def test_good_version_is_promoted_and_no_request_fails(
    releases: Releases, record_measurement: Callable[[str], None]
) -> None:
    releases.stack.compose("up", "-d", "--wait")  # services that earlier tests have changed
    version = releases.commit_version()
    responses = SlotRecorder()
    errors_of_second_start: list[str] = []

    def release() -> None:
        first = releases.start()
        releases.wait_for_phase("analyzing")
        releases.assert_up_changes_nothing()
        second = releases.run("start")
        assert second.returncode == 1
        errors_of_second_start.append(second.stderr)
        assert wait(first) == 0, releases.read_log()

    result = run_under_load(releases, release, responses)
    state = releases.state
    record_measurement(
        f"good version released at {REQUESTS_PER_SECOND} requests/s in "
        f"{state['completed_at'] - state['started_at']} s: {result}, "
        f"slots {dict(result.slots)}"
    )
    assert_available(result)
    assert state["outcome"] == "promoted"
    assert set(releases.get_images().values()) == {state["candidate_image"]}
    assert f"start by {state['started_by']} (PID " in errors_of_second_start[0]
    assert " since 20" in errors_of_second_start[0]
    counts = responses.count_between(state["analysis_started_at"], state["analysis_deadline"])
    canary_share = counts["canary"] / counts.total()
    record_measurement(
        f"responses during the analysis: {dict(counts)}, canary share {canary_share:.4f}"
    )
    assert abs(canary_share - 0.2) < 0.01
    releases.assert_up_changes_nothing()
    notifications = releases.read_notifications()
    assert f"Successfully deployed new model: version {version}" in notifications.mails
    assert "number of canary requests" in notifications.mails
    assert f"version {version}" in notifications.slack
    rows = dict(releases.stack.sql("select version_number, count(*) from reccom group by 1"))
    assert str(version) in rows, rows
    ((build, digest),) = releases.stack.sql(
        f"select build_id, image_digest from build where version_number = {version}",
    )
    assert (build, digest) == (state["build_id"], state["candidate_image"])


# The request rate of slow versions is low enough for two workers: an overloaded version does not
# respond to scrapes either and is aborted by a guard (the third of these tests).


@soak_only
def test_version_with_700_ms_latency_is_aborted(releases: Releases) -> None:
    # Of 5 requests a second the canary serves one: its workers are busy a third of the time, and
    # respond to scrapes on a busy machine as well.
    releases.settings = {"RELEASE_MIN_REQUESTS": "8"}
    assert_aborted(releases, "slow:0.7", SLOWER, rate=5)


def test_version_with_300_ms_latency_is_aborted_because_of_timeouts(releases: Releases) -> None:
    releases.settings = {"RELEASE_MIN_REQUESTS": "20"}
    assert_aborted(releases, "slow:0.3", SLOWER, "timeouts: ", rate=20)


@soak_only
def test_overloaded_version_is_aborted_by_a_guard(releases: Releases) -> None:
    releases.settings = {"RELEASE_READINESS_TIMEOUT": "10s", "RELEASE_ANALYSIS_WINDOW": "10m"}
    assert_aborted(releases, "degrading:0.7", "guard in minute ")


@soak_only
def test_version_with_errors_is_aborted_by_a_guard(releases: Releases) -> None:
    releases.settings = {"RELEASE_ANALYSIS_WINDOW": "10m"}
    assert_aborted(releases, "errors:3", "share of failed requests")
    assert releases.state["completed_at"] < releases.state["analysis_deadline"] - 400


@soak_only
def test_version_with_fallback_lists_only_is_aborted(releases: Releases) -> None:
    assert_aborted(
        releases, "", "share of popular recommendations 100 %", modify_model=make_users_unknown
    )


@soak_only  # in make test: test_retraining.py
def test_rollback_under_load_fails_no_request(
    releases: Releases, record_measurement: Callable[[str], None]
) -> None:
    release_previous_version(releases)
    record_measurement(f"rollback: {roll_back_under_load(releases)}")


def release_previous_version(releases: Releases) -> None:
    """Promote a version unless an earlier one can already be restored."""
    if docker("image", "ls", "--quiet", f"{PROJECT}:previous"):
        return
    releases.commit_version()
    process = releases.start()
    releases.wait_for_phase("analyzing")
    assert releases.run("promote").returncode == 0, releases.read_log()
    assert wait(process) == 0, releases.read_log()
    releases.read_notifications()


@soak_only
@pytest.mark.parametrize("where", ["model", "image"])
def test_corrupt_model_gets_no_traffic(releases: Releases, where: str) -> None:
    if where == "model":
        releases.commit_version(modify_model=corrupt_model)
    else:
        releases.commit_version("corrupt")
    before = releases.get_containers()
    assert releases.run("start").returncode == 1
    state = releases.state
    reason = {"model": "could not be built", "image": "failed its smoke test"}
    assert reason[where] in state["reason"]
    assert releases.get_containers() == before
    assert reason[where] in releases.read_notifications().mails
    releases.assert_up_changes_nothing()
    assert [tag for tag in list_tags() if tag.startswith(f"{state['version']}-")] == []


def list_tags() -> list[str]:
    """Return all tags of the stack's images, including candidates."""
    rows = docker("image", "ls", "--format", "{{.Repository}} {{.Tag}}").splitlines()
    return [row.split()[1] for row in rows if row.startswith(PROJECT) and "-base" not in row]


def assert_aborted(
    releases: Releases,
    fault: str,
    reason: str,
    check: str = "",
    rate: int = REQUESTS_PER_SECOND,
    modify_model: Callable[[Path], None] | None = None,
) -> None:
    """Release a version with a fault under load and check that it is aborted and rejected.

    Args:
        reason: expected in the outcome and in notifications.
        check: value of a check, expected in notifications.
        rate: requests per second.
    """
    version = releases.commit_version(fault, modify_model)
    before = releases.get_containers()
    images = releases.get_images()

    def release() -> None:
        assert releases.run("start").returncode == 1

    result = run_under_load(releases, release, rate=rate)
    state = releases.state
    assert state["outcome"] == "aborted", releases.read_log()
    assert reason in state["reason"]
    if not fault.startswith("errors"):
        assert_available(result)
    for slot in ("stable-1", "stable-2"):
        assert releases.get_containers()[slot] == before[slot]
    assert releases.get_images()["canary"] == images["stable-1"]
    releases.assert_up_changes_nothing()
    notifications = releases.read_notifications()
    for text in (notifications.mails, notifications.slack):
        assert f"Release of version {version} aborted" in text
        assert reason in text
        assert check in text
    again = releases.run("start")
    assert again.returncode == 1
    assert "this version was already rejected" in again.stderr
