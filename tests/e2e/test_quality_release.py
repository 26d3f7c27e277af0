"""A release that is aborted because of what users watch alone, and a better one that is promoted.

Users watch movies of the lists that were recorded as answered; `marquee quality` runs as a release
runs it, in its container. tests/integration/canary_analysis/test_quality_release.py is the short
form, by the commands alone.
"""

import shutil
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.releases import TIMEOUT_SECONDS, Releases, run_under_load, wait
from tests.support.soak import soak_only
from tests.support.stack import SLOTS
from tests.support.waiting import eventually
from tests.support.watching import WatchedMovies, Watching, exchange_lists

pytestmark = pytest.mark.timeout(2400)

#: Waits until the watches are in the store, as the collector would have them in a longer window.
MEASURE = """\
#!/bin/bash
touch "$0.begun"
until [[ -e $0.ready ]]; do sleep 0.2; done
exec docker compose run --rm -T quality "$@"
"""
ANALYSIS_WINDOW_SECONDS, REQUESTS_PER_SECOND = 60, 75
#: The machine may be slow: what is tested here is what users watch.
SETTINGS = {
    "RELEASE_ANALYSIS_WINDOW": f"{ANALYSIS_WINDOW_SECONDS}s",
    "RELEASE_ANALYSIS_TIMEOUT": "120s",
    "RELEASE_READINESS_TIMEOUT": "300s",
    "RELEASE_PROMETHEUS_TIMEOUT": "60s",
    "RELEASE_MIN_SCRAPED_RATIO": "0.5",
    "RELEASE_MAX_P99_SECONDS": "2",
    "RELEASE_MAX_TIMEOUT_RATIO": "0.3",
    "RELEASE_MIN_SUCCESS_RATIO": "0.9",
    "RELEASE_MIN_TRAFFIC_SHARE": "0.1",
    "RELEASE_MAX_TRAFFIC_SHARE": "0.3",
}
#: The version that serves before the release.
Promote = Callable[[bool], tuple[int, Path]]


@pytest.fixture
def promote(releases: Releases, tmp_path: Path) -> Promote:
    """Promotes a version with exchanged lists or not, without a verdict."""

    def promote(is_worse: bool) -> tuple[int, Path]:
        releases.settings = dict(SETTINGS)
        version = releases.commit_version("", exchange_lists if is_worse else None)
        process = releases.start()
        releases.wait_for_phase("analyzing")
        assert releases.run("promote").returncode == 0, releases.read_log()
        assert wait(process) == 0, releases.read_log()
        releases.read_notifications()
        return version, copy_model(releases, tmp_path, version)

    return promote


@pytest.fixture(scope="module")
def watched() -> WatchedMovies:
    """What users have watched in the tests before: the store has it, and it counts once."""
    return defaultdict(set)


def copy_model(releases: Releases, directory: Path, version: int) -> Path:
    """Keep the model of the newest commit: the next one replaces it."""
    return Path(shutil.copytree(releases.clone / "model", directory / str(version)))


def release_and_watch(
    releases: Releases,
    promote: Promote,
    directory: Path,
    watched: WatchedMovies,
    *,
    is_worse: bool,
) -> dict[str, Any]:
    """Release a worse version over a good one, or a good one over a worse; return its state."""
    models = dict([promote(not is_worse)])
    version = releases.commit_version("", exchange_lists if is_worse else None)
    models[version] = releases.clone / "model"
    script = directory / "measure.sh"
    script.write_text(MEASURE)
    script.chmod(0o700)
    releases.settings = {**SETTINGS, "RELEASE_QUALITY_COMMAND": str(script)}

    def run() -> None:
        process = releases.start()
        releases.wait_for_phase("analyzing")
        began = releases.state["analysis_started_at"]
        end = time.monotonic() + TIMEOUT_SECONDS
        while not Path(f"{script}.begun").exists():
            assert process.poll() is None and time.monotonic() < end, releases.read_log()
            time.sleep(0.2)
        # Records of later answers come on meanwhile; all of the window are read before them.
        eventually(lambda: is_shipped(releases), 120, "the answers are recorded")
        watching = Watching(releases.stack, releases.model, models, watched)
        assert watching.watch_since(datetime.fromtimestamp(began, UTC)) > 0
        Path(f"{script}.ready").touch()
        wait(process)

    run_under_load(releases, run, rate=REQUESTS_PER_SECOND)
    return releases.state


def is_shipped(releases: Releases) -> bool:
    """Whether an answer of each slot after the window is in the database: they arrive in order."""
    deadline = releases.state["analysis_started_at"] + ANALYSIS_WINDOW_SECONDS
    newest = releases.stack.sql("select slot, max(answered_at_us) from reccom group by slot")
    times = {slot: int(time_us) / 1e6 for slot, time_us in newest}
    return all(times.get(slot, 0) > deadline for slot in SLOTS)


def split_checks(state: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """The check of the quality, and the names of other checks that failed."""
    checks = {check["name"]: check for check in state["last_evaluation"]["checks"]}
    assert "quality" in checks, state["last_evaluation"]
    quality = checks.pop("quality")
    return quality, {name for name, check in checks.items() if check["outcome"] == "failed"}


@soak_only
def test_a_version_with_worse_lists_is_aborted_for_what_users_watch_alone(
    releases: Releases,
    promote: Promote,
    tmp_path: Path,
    watched: WatchedMovies,
    record_measurement: Callable[[str], None],
) -> None:
    state = release_and_watch(releases, promote, tmp_path, watched, is_worse=True)
    quality, failed = split_checks(state)
    record_measurement(f"worse lists: {state['outcome']}, {quality['sentence']}")
    assert (state["outcome"], quality["outcome"]) == ("aborted", "failed"), releases.read_log()
    assert failed == set()
    assert quality["sentence"] in state["reason"]
    images = releases.get_images()
    assert images["canary"] == images["stable-1"]
    assert "takes per answer within 1 h" in releases.read_notifications().mails


@soak_only
def test_a_version_with_better_lists_is_promoted(
    releases: Releases,
    promote: Promote,
    tmp_path: Path,
    watched: WatchedMovies,
    record_measurement: Callable[[str], None],
) -> None:
    state = release_and_watch(releases, promote, tmp_path, watched, is_worse=False)
    quality, failed = split_checks(state)
    record_measurement(f"better lists: {state['outcome']}, {quality['sentence']}")
    assert (state["outcome"], quality["outcome"]) == ("promoted", "passed"), releases.read_log()
    assert failed == set()
    assert quality["value"] > quality["stables"]
