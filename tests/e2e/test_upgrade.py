"""An installation of version 0.2.0 is upgraded by the documented steps, under load."""

import json
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import ROOT
from tests.support.deployment import Deployment
from tests.support.docker import docker, missing_image
from tests.support.images import TAGS
from tests.support.load import Result, assert_available, attack
from tests.support.releases import SETTINGS as DEFAULTS
from tests.support.releases import TIMEOUT_SECONDS, NotificationReceivers, Releases, git
from tests.support.retraining import create_log
from tests.support.shipper import count_spooled_records, wait_until_shipped
from tests.support.soak import soak_only
from tests.support.stack import (
    SHIPPER_URL,
    SLOTS,
    URL,
    Stack,
    find_missing_engine,
    find_used_port,
)
from tests.support.stream import send_lines, wait_until_collected
from tests.support.waiting import eventually

#: The commit that has set the version 0.2.0: upgrades are promised from there on.
COMMIT_OF_0_2_0 = "a9ea8b2880d3d91dc3d0d22bb74299acbbb3fcc5"
TOPIC = "upgrade"
RATE = 200
#: Recorded while the shipper of 0.2.0 is stopped.
BACKLOG_SECONDS = 10
#: Of the load: images are built meanwhile.
MAX_SECONDS = 2400
#: The days of the three versions, and settings for a scrape every five seconds.
DAYS = ((0, 12), (12, 6), (18, 6))
SETTINGS = {
    "RELEASE_SCRAPE_INTERVAL_SECONDS": "5",
    "RELEASE_GUARD_INTERVAL": "6s",
    "RELEASE_ANALYSIS_WINDOW": "30s",
}
REVISION = "org.opencontainers.image.revision"
OWN_SERVICES = (
    "init", "migrate", "shipper", "collector", "recent", "scheduler", "console", *SLOTS,
)  # fmt: skip

pytestmark = [soak_only, pytest.mark.timeout(3300)]


class Delivered:
    """Request id and slot of each response that a client has received."""

    def __init__(self) -> None:
        self.responses: set[tuple[str, str]] = set()

    def __call__(self, hit: dict[str, Any]) -> None:
        if hit["code"] == 200:
            headers = hit["headers"]
            self.responses.add((headers["X-Request-Id"][0], headers["X-Slot"][0]))


def send_requests(
    seconds: float, on_response: Delivered, during: Callable[[], object] | None = None
) -> Result:
    """Request recommendations for known and unknown users; until `during` returns, if given."""
    users = random.Random(17).choices(range(500), k=5000)
    return attack(
        URL, users, RATE, seconds, during, on_response=on_response, stop_early=during is not None
    )


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The stack of version 0.2.0 with Kafka, an origin and a DVC remote."""
    if reason := find_missing_engine():
        pytest.skip(f"container tests: {reason}")
    known = ["git", "merge-base", "--is-ancestor", COMMIT_OF_0_2_0, "HEAD"]
    if subprocess.run(known, cwd=ROOT, capture_output=True, check=False).returncode:
        pytest.skip("a shallow clone: the commit of version 0.2.0 is missing")
    clone = tmp_path_factory.mktemp("upgrade") / "marquee"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    git(clone, "checkout", "--quiet", "-B", "main", COMMIT_OF_0_2_0)
    stack = Stack(clone)
    stack.remove()
    if reason := find_used_port():
        pytest.skip(f"container tests: {reason}")
    receivers = NotificationReceivers()
    releases = Releases(stack, clone / "model", receivers)
    settings = (clone / "scripts" / "release" / "settings.env").read_text()
    releases.defaults = {
        name: value for name, value in DEFAULTS.items() if f"\n{name}=" in settings
    }
    tag_images(clone)
    try:
        stack.compose("up", "-d", "--wait", timeout=1500)
        deployment = Deployment(releases, tmp_path_factory.mktemp("remotes"), TOPIC, {})
        releases.settings |= SETTINGS
        deployment.set_up(("kafka", "collector", "scheduler"))
        yield deployment
    finally:
        releases.end()
        receivers.close()
        stack.save_logs()
        stack.remove()


def tag_images(clone: Path) -> None:
    """Give the images of others the tags that version 0.2.0 uses, where it has other ones."""
    for line in (clone / "tests" / "images" / "images.env").read_text().splitlines():
        name, _, tag = line.partition("=")
        if name in TAGS and missing_image(tag):
            docker("tag", TAGS[name], tag)


def deploy(deployment: Deployment) -> None:
    """Run `scripts/deploy.sh`, after which a release is in progress."""
    done = deployment.releases.deploy()
    assert done.returncode == 0, done.stderr


def build_version(deployment: Deployment, first_day: int, days: int) -> int:
    """Train and push a version on lines from Kafka; return its number."""
    send_lines(TOPIC, create_log(first_day, days))
    wait_until_collected(TOPIC)
    result = deployment.retrain()
    assert result["status"] == "published", result
    return int(result["version"])


def count_events(stack: Stack) -> dict[str, int]:
    """Return how much is in the event store, and where the collector will continue."""
    statistics = stack.read_store_statistics()
    return {name: statistics[name] for name in ("pairs", "ratings", "minutes", "users", "offsets")}


def upgrade(deployment: Deployment) -> None:
    """Follow docs/upgrade.md, From 0.2.0, and wait until the release has completed."""
    releases = deployment.releases
    assert releases.run("abort").returncode == 0, releases.read_log()
    pull = ["git", "pull", "--quiet", "--ff-only"]
    subprocess.run(pull, cwd=releases.clone, env=releases.environment, check=True, timeout=60)
    releases.defaults = DEFAULTS
    deploy(deployment)
    releases.wait_for_phase("completed", in_background=True)


def test_an_installation_of_0_2_0_is_upgraded_under_load(
    deployment: Deployment, record_measurement: Callable[[str], None]
) -> None:
    stack, releases = deployment.stack, deployment.releases
    # Three versions, the second of which is in production, and a release of the third in progress.
    first = build_version(deployment, *DAYS[0])
    second = build_version(deployment, *DAYS[1])
    deploy(deployment)
    send_requests(
        MAX_SECONDS, Delivered(), lambda: releases.wait_for_phase("ended", in_background=True)
    )
    assert releases.state["outcome"] == "promoted", releases.state
    third = build_version(deployment, *DAYS[2])
    releases.settings["RELEASE_ANALYSIS_WINDOW"] = "1h"
    deploy(deployment)
    releases.wait_for_phase("watching", in_background=True)
    releases.settings |= SETTINGS
    # A response from before, a full spool, and events.
    before = requests.get(f"{URL}/recommend/42", timeout=2)
    wait_until_shipped()
    stack.compose("stop", "shipper")
    delivered = Delivered()
    assert_available(send_requests(BACKLOG_SECONDS, delivered))
    events = count_events(stack)
    assert (stack.clone / ".env").read_text().count("MARQUEE_BUILD_") == len(SLOTS)

    commit = deployment.merge(ROOT)
    start = time.monotonic()
    result = send_requests(MAX_SECONDS, delivered, lambda: upgrade(deployment))
    record_measurement(
        f"upgrade from 0.2.0 in {time.monotonic() - start:.0f} s at {RATE}/s: {result}, "
        f"versions {first}, {second}, {third}"
    )
    assert_available(result)
    state = releases.state
    assert state["outcome"] == "promoted", state
    assert state["reason"].startswith("all checks passed"), state
    assert state["version"] == str(third)
    for service in OWN_SERVICES:
        assert stack.inspect(service)["Config"]["Labels"][REVISION] == commit, service
    assert count_events(stack) == events
    assert_recorded(stack, delivered)
    trace = requests.get(f"{SHIPPER_URL}/trace/{before.headers['X-Request-Id']}", timeout=3).json()
    assert trace["records"][0]["movie_ids"] == before.text.split(",")
    restore_versions(releases, (first, second, third))
    # The step for a quiet time; then nothing is left to do.
    stack.compose("up", "-d", "--wait", "nginx")
    after = stack.start_times()
    stack.compose("up", "-d", "--wait")
    assert stack.start_times() == after


def assert_recorded(stack: Stack, delivered: Delivered) -> None:
    """Check that each delivered response is in the database."""
    eventually(lambda: count_spooled_records() == 0, TIMEOUT_SECONDS, "an empty spool", 1)
    rows = stack.sql("select request_id, slot from reccom")
    lost = delivered.responses - {(request_id, slot) for request_id, slot in rows}
    assert not lost, f"{len(lost)} of {len(delivered.responses)} responses are not recorded"


def restore_versions(releases: Releases, versions: tuple[int, ...]) -> None:
    """Restore data and model of each version in the clone, and at last those of its commit."""
    for version in (*versions, None):
        arguments = [] if version is None else [str(version)]
        done = subprocess.run(
            [Path(".venv") / "bin" / "marquee", "restore", *arguments, "--json"],
            cwd=releases.clone, env=releases.environment, capture_output=True, text=True,
            timeout=TIMEOUT_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert version is None or json.loads(done.stdout)["version"] == version
        git(releases.clone, "checkout", "--quiet", "--", ".")
