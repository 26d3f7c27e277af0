"""A good version takes all traffic, a bad one is given up, and nobody's request fails."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.releases import (
    RATE,
    Releases,
    damaged,
    moment,
    of_strangers,
    soak_only,
    under_load,
    wait,
)
from tests.support.stack import PROJECT, docker


class Answers:
    """Slots of answers by time, as clients got them."""

    def __init__(self) -> None:
        self.got: list[tuple[float, str, str]] = []

    def __call__(self, hit: dict[str, Any]) -> None:
        headers = hit.get("headers") or {}
        if "X-Slot" in headers:
            self.got.append((moment(hit), headers["X-Slot"][0], headers["X-Model-Version"][0]))

    def between(self, start: float, end: float) -> Counter[str]:
        return Counter(slot for at, slot, _ in self.got if start <= at < end)


def test_a_good_version_gets_all_traffic_and_no_request_fails(
    releases: Releases, figures: Callable[[str], None]
) -> None:
    version = releases.new_version()
    answers = Answers()
    refused: list[str] = []

    def release() -> None:
        first = releases.begin()
        releases.until("watching")
        releases.up_changes_nothing()
        second = releases.run("start")
        assert second.returncode == 1
        refused.append(second.stderr)
        assert wait(first) == 0, releases.log()

    result = under_load(releases, release, answers)
    state = releases.state
    figures(
        f"good version released at {RATE}/s in {state['ended'] - state['started']} s: {result}, "
        f"slots {dict(result.slots)}"
    )
    assert result.failed == 0, result
    assert state["outcome"] == "promoted"
    assert set(releases.images().values()) == {state["candidate"]}
    assert f"start of {state['by']} (process " in refused[0]
    assert " since 20" in refused[0]
    shares = answers.between(state["opened"], state["deadline"])
    canary = shares["canary"] / shares.total()
    figures(f"answers while both versions ran: {dict(shares)}, the canary's share {canary:.4f}")
    assert abs(canary - 0.2) < 0.01
    releases.up_changes_nothing()
    told = releases.told()
    assert f"Successfully deployed new model: version {version}" in told.mails
    assert "requests = " in told.mails
    assert f"version {version}" in told.slack
    rows = dict(releases.stack.sql("select version_number, count(*) from reccom group by 1"))
    assert {"1", str(version)} <= set(rows), rows
    ((build, digest),) = releases.stack.sql(
        f"select build_id, image_digest from build where version_number = {version}",
    )
    assert (build, digest) == (state["build"], state["candidate"])


# Slow versions get no more requests than two workers answer: one that is swamped answers no scrape
# either, and is given up by a guard (the third of these).


@soak_only
def test_a_version_of_700_ms_is_given_up(releases: Releases) -> None:
    releases.settings = {"RELEASE_MIN_REQUESTS": "20"}
    given_up(releases, "slow:0.7", "mean_seconds is 0.7", rate=10)


def test_a_version_of_300_ms_is_given_up_though_below_500(releases: Releases) -> None:
    releases.settings = {"RELEASE_MIN_REQUESTS": "20"}
    given_up(releases, "slow:0.3", "beyond_edge_ratio is 1,", "mean_seconds = 0.3", rate=20)


@soak_only
def test_a_version_that_is_swamped_is_given_up_early(releases: Releases) -> None:
    releases.settings = {"RELEASE_READINESS_TIMEOUT": "10s", "RELEASE_ANALYSIS_WINDOW": "10m"}
    given_up(releases, "tires:0.7", "guard: reached_ratio is 0")


def test_a_version_that_errs_is_given_up_early(releases: Releases) -> None:
    releases.settings = {"RELEASE_GUARD_MIN_REQUESTS": "100", "RELEASE_ANALYSIS_WINDOW": "10m"}
    given_up(releases, "errors:3", "guard: success_ratio is 0.")
    assert releases.state["ended"] < releases.state["deadline"] - 400


@soak_only
def test_a_version_that_knows_nobody_is_given_up(releases: Releases) -> None:
    given_up(releases, "", "more_popular_ratio is 1,", change=of_strangers)


@soak_only
@pytest.mark.parametrize("where", ["model", "image"])
def test_a_damaged_model_never_takes_traffic(releases: Releases, where: str) -> None:
    if where == "model":
        releases.new_version(change=damaged)
    else:
        releases.new_version("corrupt")
    before = releases.containers()
    assert releases.run("start").returncode == 1
    state = releases.state
    reason = {"model": "could not be built", "image": "failed its test before it took traffic"}
    assert reason[where] in state["reason"]
    assert releases.containers() == before
    assert reason[where] in releases.told().mails
    releases.up_changes_nothing()
    assert [tag for tag in tags() if tag.startswith(f"{state['version']}-")] == []


def tags() -> list[str]:
    """All tags of the stack's images, those of candidates among them."""
    rows = docker("image", "ls", "--format", "{{.Repository}} {{.Tag}}").splitlines()
    return [row.split()[1] for row in rows if row.startswith(PROJECT) and "-base" not in row]


def given_up(
    releases: Releases,
    fault: str,
    reason: str,
    figure: str = "",
    rate: int = RATE,
    change: Callable[[Path], None] | None = None,
) -> None:
    """Release a version with a fault under load: given up, told why, the stables untouched."""
    version = releases.new_version(fault, change)
    before = releases.containers()
    images = releases.images()

    def release() -> None:
        assert releases.run("start").returncode == 1

    result = under_load(releases, release, rate=rate)
    state = releases.state
    assert state["outcome"] == "aborted", releases.log()
    assert reason in state["reason"]
    if not fault.startswith("errors"):
        assert result.failed == 0, result
    for slot in ("stable-1", "stable-2"):
        assert releases.containers()[slot] == before[slot]
    assert releases.images()["canary"] == images["stable-1"]
    releases.up_changes_nothing()
    told = releases.told()
    for text in (told.mails, told.slack):
        assert f"Release of version {version} aborted" in text
        assert reason in text
        assert figure in text
    again = releases.run("start")
    assert again.returncode == 1
    assert "this very version was given up before" in again.stderr
