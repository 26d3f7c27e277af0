"""`marquee follow` with a Kafka broker, beside the collector."""

import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import pytest
import requests

from tests.conftest import ROOT
from tests.integration.ingest.kafka.conftest import CollectorHarness
from tests.integration.ingest.kafka.test_crash_recovery import produce_slowly
from tests.support.kafka import Broker
from tests.support.recent_activity import get_events, read_positions, read_table
from tests.support.service import free_port
from tests.support.soak import IS_SOAK
from tests.support.waiting import eventually

KILLS = 20 if IS_SOAK else 3


@dataclass
class FollowerHarness:
    """Runs `marquee follow` for one topic and one directory."""

    broker: Broker
    topic: str
    directory: Path
    store: Path
    port: int

    def start(self, *arguments: str, **settings: str) -> "subprocess.Popen[str]":
        """Start the follower, with further arguments and settings."""
        environment = {
            **os.environ,
            "MARQUEE_KAFKA_SERVERS": self.broker.servers,
            "MARQUEE_KAFKA_TOPIC": self.topic,
            "MARQUEE_FOLLOWER_BIND": f"127.0.0.1:{self.port}",
            "MARQUEE_RECENT_DIR": str(self.directory),
            "MARQUEE_STORE_DIR": str(self.store),
            "MARQUEE_RECENT_MAX_USERS": "40000",
            **settings,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "app", "follow", *arguments],
            cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def committed(self) -> int:
        """Return how many lines of the topic are in the file."""
        return sum(position["offset"] for position in read_positions(self.directory).values())

    def metric(self, name: str) -> float | None:
        """Return a metric of the running follower; None when there is none (yet)."""
        try:
            text = requests.get(f"http://127.0.0.1:{self.port}/metrics", timeout=2).text
        except requests.ConnectionError:
            return None
        found = [line for line in text.splitlines() if line.startswith(f"{name} ")]
        return float(found[0].split()[1]) if found else None


@pytest.fixture
def follower(harness: CollectorHarness, tmp_path: Path) -> FollowerHarness:
    """A follower of the harness's topic, with its own directory."""
    return FollowerHarness(
        harness.broker, harness.topic, tmp_path / "recent", harness.store, free_port()
    )


def stop(process: "subprocess.Popen[str]") -> str:
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    return log


def watch_lines(*users: int) -> list[bytes]:
    return [f"2022-11-14T12:24,{user},GET /data/m/up+2009/0.mpg".encode() for user in users]


def test_lines_of_the_topic_are_read_with_metrics(follower: FollowerHarness) -> None:
    process = follower.start()
    follower.broker.produce(follower.topic, [*watch_lines(*range(60)), b"no line"])
    eventually(lambda: follower.committed() == 61, 120, "the lines in the file")
    assert get_events(follower.directory, 59).state == "found"
    metric = follower.metric
    eventually(lambda: metric("marquee_recent_users") == 60, 60, "the number of users")
    assert metric('marquee_recent_lines_total{kind="watches"}') == 60
    assert metric('marquee_recent_lines_total{kind="rejected"}') == 1
    eventually(lambda: metric("marquee_recent_consumer_lag") == 0, 60, "no lag")
    assert metric("marquee_recent_connected") == 1
    first = metric("marquee_recent_last_commit_timestamp_seconds")
    assert first is not None
    eventually(
        lambda: (metric("marquee_recent_last_commit_timestamp_seconds") or 0) > first,
        60, "a commit without new lines",
    )  # fmt: skip
    health = requests.get(f"http://127.0.0.1:{follower.port}/health", timeout=5)
    assert (health.status_code, health.json()) == (200, {"status": "alive"})
    stop(process)


def test_a_first_start_goes_on_from_the_stores_positions(
    harness: CollectorHarness, follower: FollowerHarness
) -> None:
    harness.broker.produce(harness.topic, watch_lines(*range(50)))
    harness.collect(50)
    harness.broker.produce(harness.topic, watch_lines(50, 51))
    process = follower.start()
    eventually(lambda: follower.committed() == 52, 120, "all lines")
    assert follower.metric('marquee_recent_lines_total{kind="watches"}') == 2
    stop(process)
    users, _ = read_table(follower.directory)
    assert users.keys() == set(range(52))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_and_a_damaged_file_lose_no_event(
    follower: FollowerHarness, shared_data: Path, tmp_path: Path
) -> None:
    log = shared_data / "movielog" / "stream.log"
    lines = log.read_bytes().splitlines()

    produce = get_context("spawn").Process(
        target=produce_slowly, args=(follower.broker, follower.topic, log)
    )
    produce.start()
    for kill in range(KILLS):
        goal = follower.committed() + random.randrange(len(lines) // (2 * KILLS))
        process = follower.start()
        eventually(lambda goal=goal: follower.committed() >= goal, 120, f"{goal} lines")  # type: ignore[misc]
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        if kill == KILLS // 2:
            os.truncate(follower.directory / "activity.table", 70_000)
    last = follower.start()
    produce.join(300)
    assert produce.exitcode == 0
    eventually(lambda: follower.committed() == len(lines), 300, "all lines")
    stop(last)
    read, _ = read_table(follower.directory)
    other = FollowerHarness(
        follower.broker, follower.topic, tmp_path / "other", follower.store, follower.port
    )
    process = other.start()
    eventually(lambda: other.committed() == len(lines), 300, "all lines again")
    stop(process)
    expected, _ = read_table(tmp_path / "other")
    # Minutes are counted in the order of arrival, which differs between two partitions.
    assert read.keys() == expected.keys()
    for user_id, events in read.items():
        assert {event[:2] for event in events} == {event[:2] for event in expected[user_id]}


def test_the_file_is_damaged_while_the_follower_runs(follower: FollowerHarness) -> None:
    process = follower.start()
    follower.broker.produce(follower.topic, watch_lines(*range(60)))
    eventually(lambda: follower.committed() == 60, 120, "the lines in the file")
    inode = (follower.directory / "activity.table").stat().st_ino
    os.truncate(follower.directory / "activity.table", 70_000)
    eventually(
        lambda: (follower.directory / "activity.table").stat().st_ino != inode, 120, "a new file"
    )
    eventually(lambda: follower.committed() == 60, 120, "the lines from the topic again")
    assert follower.metric('marquee_recent_files_refused_total{reason="damaged"}') == 1
    stop(process)
    assert read_table(follower.directory)[0].keys() == set(range(60))


def test_without_a_broker_it_idles(tmp_path: Path) -> None:
    harness = FollowerHarness(Broker("", 0, 0), "movielog", tmp_path, tmp_path / "store", 0)
    process = harness.start("--json", MARQUEE_KAFKA_SERVERS="")
    assert process.stderr is not None
    assert "idle: no broker is configured" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert json.loads(output) == {"status": "disabled"}


def test_an_unavailable_broker_is_waited_for_and_reported(tmp_path: Path) -> None:
    broker = Broker("", 1, 0)
    harness = FollowerHarness(broker, "movielog", tmp_path / "r", tmp_path / "store", free_port())
    process = harness.start("--for", "1s")
    _, log = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "no broker with movielog at 127.0.0.1:1" in log
