"""A version built in the stack by command, from lines in Kafka to a pushed commit."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from kafka import KafkaProducer

from tests.support.retraining import create_log, create_origin, git
from tests.support.stack import Stack, docker, eventually

MAILDEV_URL = "http://127.0.0.1:1080"
TOPIC = "retraining"
SERVICES = ("kafka", "maildev", "collector", "scheduler")


@pytest.fixture(scope="module")
def remotes(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory of the host with a bare repository, which the scheduler's settings name."""
    directory = tmp_path_factory.mktemp("remotes")
    create_origin(directory)
    for path in [directory, *directory.parents[:1]]:
        path.chmod(0o755)
    chown = ("--user=0", f"--volume={directory}:/remotes", "--entrypoint=chown")
    image = f"{stack.environment['MARQUEE_IMAGE']}:deployment"
    docker("run", "--rm", *chown, image, "-R", "10001:10001", "/remotes")
    # Remove what earlier tests collected.
    stack.compose("rm", "--stop", "--force", "collector", "scheduler")
    store = f"--volume={stack.environment['COMPOSE_PROJECT_NAME']}_store:/store"
    empty = ("find", "/store", "-mindepth", "1", "-delete")
    docker("run", "--rm", "--user=0", store, f"--entrypoint={empty[0]}", image, *empty[1:])
    (stack.clone / ".env").write_text(
        f"MARQUEE_KAFKA_SERVERS=kafka:9092\nMARQUEE_KAFKA_TOPIC={TOPIC}\n"
        f"MARQUEE_REMOTES={directory}\nMARQUEE_GIT_REMOTE=/remotes/origin.git\n"
        "MARQUEE_SMTP_HOST=maildev:1025\nMARQUEE_SMTP_TLS=false\n"
        "MARQUEE_MAIL_FROM=marquee@localhost\nMARQUEE_MAIL_TO=team@localhost\n"
    )
    stack.compose("--profile", "demo", "up", "-d", "--wait", *SERVICES)
    yield directory
    docker("run", "--rm", *chown, image, "-R", "0:0", "/remotes")
    (stack.clone / ".env").unlink()
    stack.compose("--profile", "demo", "rm", "--stop", "--force", "kafka", "maildev")
    stack.compose("up", "-d", "--wait", "collector", "scheduler")


def retrain(stack: Stack) -> dict[str, object]:
    output = stack.compose("exec", "-T", "scheduler", "marquee", "retrain", "--json", timeout=600)
    result: dict[str, object] = json.loads(output)
    return result


def collect(stack: Stack, lines: list[str]) -> None:
    """Send lines to Kafka, and wait until the collector has committed them to the store."""
    with KafkaProducer(bootstrap_servers="127.0.0.1:9094") as producer:
        for line in lines:
            producer.send(TOPIC, line.encode())
        producer.flush()

    def all_read() -> bool:
        samples = stack.query("sum(marquee_ingest_lines_total)")
        return bool(samples) and float(samples[0]["value"][1]) == len(lines)

    eventually(all_read, 60, "all lines are read")
    lag = "marquee_kafka_consumer_lag"
    eventually(lambda: stack.query(lag)[0]["value"][1] == "0", 60, "the consumer has no lag")
    stack.compose("stop", "collector")  # commits what it has read
    stack.compose("start", "collector")


@pytest.mark.timeout(900)
def test_retraining_by_command_publishes_a_version(
    stack: Stack, remotes: Path, tmp_path: Path
) -> None:
    collect(stack, create_log(0, 12))
    result = retrain(stack)
    if result["status"] == "unchanged":  # the scheduler published it first
        result["version"] = 2
    assert result["version"] == 2, result
    origin = ("-c", "safe.directory=*", "-C", str(remotes / "origin.git"))
    subjects = git(tmp_path, *origin, "log", "--format=%s", "main").splitlines()
    assert subjects[0] == "Data and Model version update: [2]"
    tagged, head = git(tmp_path, *origin, "rev-parse", "version-2^{commit}", "main").split()
    assert tagged == head
    assert any((remotes / "versions" / "files" / "md5").iterdir())
    mails = requests.get(f"{MAILDEV_URL}/api/email", timeout=5).json()
    subject = "Version 2 trained and pushed, release starting"
    assert subject in [mail["subject"] for mail in mails]


def test_the_database_has_the_version_before_any_slot_serves_it(
    stack: Stack, remotes: Path
) -> None:
    trace = ("exec", "-T", "shipper", "marquee", "trace", "--version", "2", "--json")

    def is_shipped() -> bool:
        try:
            return '"version_number": 2' in stack.compose(*trace)
        except AssertionError:
            return False

    eventually(is_shipped, 60, "the row of tracking is shipped")


def test_a_restart_of_the_scheduler_starts_no_run(stack: Stack, remotes: Path) -> None:
    def metric(name: str) -> float:
        samples = stack.query(f"marquee_retrain_{name}")
        return float(samples[0]["value"][1]) if samples else -1

    def count_runs() -> float:
        samples = stack.query("marquee_retrain_runs_total")
        return sum(float(sample["value"][1]) for sample in samples)

    eventually(lambda: metric("version") == 2, 60, "Prometheus has the version")
    runs = count_runs()
    stack.compose("stop", "--timeout", "30", "scheduler")
    assert stack.inspect("scheduler")["State"]["ExitCode"] == 0
    stack.compose("up", "-d", "--wait", "scheduler")
    eventually(lambda: metric("configured") == 1, 60, "the scheduler is scraped again")
    interval = metric("next_timestamp_seconds") - metric("last_success_timestamp_seconds")
    assert abs(interval - 48 * 3600) < 60
    assert count_runs() == runs
