"""A version built in the stack, from lines in Kafka to a pushed commit, and its release."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from tests.support.deployment import ORIGIN, Deployment
from tests.support.load import Result, assert_available
from tests.support.releases import Releases, roll_back_under_load, run_under_load
from tests.support.retraining import USERS, create_log, git
from tests.support.shipper import wait_until_shipped
from tests.support.stack import MAIL_SETTINGS, MAILDEV, URL, Stack
from tests.support.stream import send_lines, wait_until_collected
from tests.support.waiting import eventually

TOPIC = "retraining"
SERVICES = ("kafka", "maildev", "collector", "scheduler")

pytestmark = pytest.mark.timeout(900)


class Deployed(NamedTuple):
    """A version in all slots, the load meanwhile, and its responses by version."""

    version: int
    result: Result
    received: Counter[str]


@pytest.fixture(scope="module")
def deployment(
    shared_releases: Releases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """The stack with Kafka, a mail server, and a scheduler that runs by command only."""
    shared_releases.remove_fault()
    directory = tmp_path_factory.mktemp("remotes")
    deployment = Deployment(shared_releases, directory, TOPIC, MAIL_SETTINGS)
    try:
        deployment.set_up(SERVICES)
        yield deployment
    finally:
        deployment.tear_down()


@pytest.fixture(scope="module")
def version(deployment: Deployment) -> int:
    """The number of a version trained on lines from Kafka."""
    send_lines(TOPIC, create_log(0, 12))
    wait_until_collected(TOPIC)
    result = deployment.retrain()
    assert result["status"] == "published", result
    return int(result["version"])


def test_retraining_by_command_publishes_a_version(
    deployment: Deployment, version: int, tmp_path: Path
) -> None:
    origin = ("-c", "safe.directory=*", "-C", str(deployment.origin))
    subjects = git(tmp_path, *origin, "log", "--format=%s", "HEAD").splitlines()
    assert subjects[0] == f"Data and Model version update: [{version}]"
    tag = f"version-{version}^{{commit}}"
    tagged, head = git(tmp_path, *origin, "rev-parse", tag, "HEAD").split()
    assert tagged == head
    assert any((deployment.directory / "versions" / "files" / "md5").iterdir())
    mails = requests.get(f"{MAILDEV}/api/email", timeout=5).json()
    subject = f"Version {version} trained and pushed, release starting"
    assert subject in [mail["subject"] for mail in mails]


def test_the_database_has_the_version_before_any_slot_serves_it(
    deployment: Deployment, version: int
) -> None:
    trace = ("exec", "-T", "shipper", "marquee", "trace", "--version", str(version), "--json")

    def is_shipped() -> bool:
        try:
            return f'"version_number": {version}' in deployment.stack.compose(*trace)
        except AssertionError:
            return False

    eventually(is_shipped, 60, "the row of tracking is shipped")


@pytest.fixture(scope="module")
def deployed(deployment: Deployment, version: int) -> Deployed:
    """The version deployed and promoted under load."""
    received: Counter[str] = Counter()

    def count_version(hit: dict[str, Any]) -> None:
        received.update((hit.get("headers") or {}).get("X-Model-Version", []))

    def deploy() -> None:
        assert deployment.deploy()["outcome"] == "promoted", deployment.releases.state

    result = run_under_load(deployment.releases, deploy, count_version, users=range(USERS))
    return Deployed(version, result, received)


def test_a_published_version_is_deployed_under_load_and_recorded(
    deployment: Deployment, deployed: Deployed, record_measurement: Callable[[str], None]
) -> None:
    version, result, received = deployed
    record_measurement(f"version {version} deployed: {result}, received {dict(received)}")
    assert_available(result)
    for _ in range(10):
        response = requests.get(f"{URL}/recommend/42", timeout=0.6)
        assert response.headers["X-Model-Version"] == str(version)
    wait_until_shipped()
    stack = deployment.stack
    recorded = stack.sql(
        f"select count(distinct request_id) from reccom where version_number = {version}"
    )
    assert int(recorded[0][0]) >= received[str(version)] + 10
    join = "select count(*) from reccom left join build using (build_id)"
    assert stack.sql(f"{join} where build.build_id is null") == [["0"]]


def test_a_rollback_under_load_fails_no_request(
    deployment: Deployment, deployed: Deployed, record_measurement: Callable[[str], None]
) -> None:
    result = roll_back_under_load(deployment.releases)
    record_measurement(f"rollback from version {deployed.version}: {result}")
    response = requests.get(f"{URL}/recommend/42", timeout=2)
    assert response.headers["X-Model-Version"] != str(deployed.version)


def test_a_restart_of_the_scheduler_starts_no_run(deployment: Deployment, version: int) -> None:
    stack = deployment.stack
    with (stack.clone / ".env").open("a") as file:
        file.write(f"MARQUEE_GIT_REMOTE={ORIGIN}\n")
    stack.compose("up", "-d", "--wait", "scheduler")  # before it is healthy, SIGTERM kills it
    eventually(lambda: metric(stack, "version") == version, 60, "Prometheus has the version")
    runs = count_runs(stack)
    stack.compose("stop", "--timeout", "30", "scheduler")
    assert stack.inspect("scheduler")["State"]["ExitCode"] == 0
    restarted = time.time()
    stack.compose("up", "-d", "scheduler")
    scraped = "timestamp(marquee_retrain_configured)"
    eventually(lambda: stack.query_value(scraped) > restarted, 60, "the scheduler is scraped again")
    assert metric(stack, "configured") == 1
    interval = metric(stack, "next_timestamp_seconds") - metric(
        stack, "last_success_timestamp_seconds"
    )
    assert abs(interval - 48 * 3600) < 60
    assert count_runs(stack) == runs


def test_processes_whose_parent_has_ended_are_reaped(deployment: Deployment) -> None:
    """Without an init they stay as zombies: PID 1 would be the scheduler, which does not wait."""
    stack = deployment.stack
    stack.compose("up", "-d", "--wait", "scheduler")  # before it is healthy, SIGTERM kills it
    in_scheduler = ("exec", "-T", "scheduler", "sh", "-c")
    for _ in range(3):
        stack.compose(*in_scheduler, "sleep 0.1 & exec true")
    list_processes = (*in_scheduler, "cat /proc/[0-9]*/stat; true")
    eventually(lambda: "(sleep)" not in stack.compose(*list_processes), 30, "all are reaped")
    stack.compose("stop", "--timeout", "30", "scheduler")
    assert stack.inspect("scheduler")["State"]["ExitCode"] == 0, "SIGTERM was not passed on"
    stack.compose("up", "-d", "scheduler")


def metric(stack: Stack, name: str) -> float:
    """Return a metric of the scheduler; -1 if Prometheus has none."""
    samples = stack.query(f"marquee_retrain_{name}")
    return float(samples[0]["value"][1]) if samples else -1


def count_runs(stack: Stack) -> float:
    samples = stack.query("marquee_retrain_runs_total")
    return sum(float(sample["value"][1]) for sample in samples)
