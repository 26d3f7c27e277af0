"""A version made in the stack by command, from lines on the broker to a pushed commit."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from kafka import KafkaProducer

from tests.support.retraining import create_log, create_origin, git
from tests.support.stack import Stack, docker, eventually

MAILS = "http://127.0.0.1:1080"
TOPIC = "retraining"
SERVICES = ("kafka", "maildev", "collector", "scheduler")


@pytest.fixture(scope="module")
def remotes(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A bare repository in a directory of the host, and the scheduler told of it by settings."""
    place = tmp_path_factory.mktemp("remotes")
    create_origin(place)
    for path in [place, *place.parents[:1]]:
        path.chmod(0o755)
    owner = ("--user=0", f"--volume={place}:/remotes", "--entrypoint=chown")
    image = f"{stack.environment['MARQUEE_IMAGE']}:deployment"
    docker("run", "--rm", *owner, image, "-R", "10001:10001", "/remotes")
    # What earlier tests collected is another world's.
    stack.compose("rm", "--stop", "--force", "collector", "scheduler")
    store = f"--volume={stack.environment['COMPOSE_PROJECT_NAME']}_store:/store"
    empty = ("find", "/store", "-mindepth", "1", "-delete")
    docker("run", "--rm", "--user=0", store, f"--entrypoint={empty[0]}", image, *empty[1:])
    (stack.clone / ".env").write_text(
        f"MARQUEE_KAFKA_SERVERS=kafka:9092\nMARQUEE_KAFKA_TOPIC={TOPIC}\n"
        f"MARQUEE_REMOTES={place}\nMARQUEE_GIT_REMOTE=/remotes/origin.git\n"
        "MARQUEE_SMTP_HOST=maildev:1025\nMARQUEE_MAIL_TLS=false\n"
        "MARQUEE_MAIL_FROM=marquee@localhost\nMARQUEE_MAIL_TO=team@localhost\n"
    )
    stack.compose("--profile", "demo", "up", "-d", "--wait", *SERVICES)
    yield place
    docker("run", "--rm", *owner, image, "-R", "0:0", "/remotes")
    (stack.clone / ".env").unlink()
    stack.compose("--profile", "demo", "rm", "--stop", "--force", "kafka", "maildev")
    stack.compose("up", "-d", "--wait", "collector", "scheduler")


def retrain(stack: Stack) -> dict[str, object]:
    said = stack.compose("exec", "-T", "scheduler", "marquee", "retrain", "--json", timeout=600)
    outcome: dict[str, object] = json.loads(said)
    return outcome


def collected(stack: Stack, lines: list[str]) -> None:
    """Produce lines to the broker, and wait until the collector has them in the store."""
    with KafkaProducer(bootstrap_servers="127.0.0.1:9094") as producer:
        for line in lines:
            producer.send(TOPIC, line.encode())
        producer.flush()

    def taken() -> bool:
        found = stack.query("sum(marquee_ingest_lines_total)")
        return bool(found) and float(found[0]["value"][1]) == len(lines)

    eventually(taken, 60, "every line taken")
    lag = "marquee_kafka_consumer_lag"
    eventually(lambda: stack.query(lag)[0]["value"][1] == "0", 60, "nothing waiting")
    stack.compose("stop", "collector")  # commits what it took
    stack.compose("start", "collector")


@pytest.mark.timeout(900)
def test_a_retraining_by_command_publishes_a_version(
    stack: Stack, remotes: Path, tmp_path: Path
) -> None:
    collected(stack, create_log(0, 12))
    outcome = retrain(stack)
    if outcome["status"] == "unchanged":  # the scheduler was quicker, as it should be
        outcome["version"] = 2
    assert outcome["version"] == 2, outcome
    log = git(tmp_path, "-c", "safe.directory=*", "-C", str(remotes / "origin.git"), "log",
              "--format=%s", "main")  # fmt: skip
    assert log.splitlines()[0] == "Data and Model version update: [2]"
    assert any((remotes / "versions" / "files" / "md5").iterdir())
    subjects = [mail["subject"] for mail in requests.get(f"{MAILS}/api/email", timeout=5).json()]
    assert "Version 2 trained and pushed, release starting" in subjects


def test_the_database_knows_the_version_before_any_slot_has_it(stack: Stack, remotes: Path) -> None:
    trace = ("exec", "-T", "shipper", "marquee", "trace", "--version", "2", "--json")

    def known() -> bool:
        try:
            return '"version_number": 2' in stack.compose(*trace)
        except AssertionError:
            return False

    eventually(known, 60, "the row of tracking is shipped")


def test_the_scheduler_stopped_and_started_does_not_run_again(stack: Stack, remotes: Path) -> None:
    def metric(name: str) -> float:
        found = stack.query(f"marquee_retrain_{name}")
        return float(found[0]["value"][1]) if found else -1

    eventually(lambda: metric("version") == 2, 60, "Prometheus knows of the version")
    runs = sum(float(r["value"][1]) for r in stack.query("marquee_retrain_runs_total"))
    stack.compose("stop", "--timeout", "30", "scheduler")
    assert stack.inspect("scheduler")["State"]["ExitCode"] == 0
    stack.compose("up", "-d", "--wait", "scheduler")
    eventually(lambda: metric("configured") == 1, 60, "it is scraped again")
    due = metric("next_timestamp_seconds") - metric("last_success_timestamp_seconds")
    assert abs(due - 48 * 3600) < 60
    assert sum(float(r["value"][1]) for r in stack.query("marquee_retrain_runs_total")) == runs
