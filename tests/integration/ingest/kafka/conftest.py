"""A Kafka broker for the session, and the collector as a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from app.ingest.store_files import read_manifest
from tests.conftest import ROOT
from tests.support.kafka import Broker, run_broker, skip_reason
from tests.support.service import free_port
from tests.support.waiting import eventually


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if reason := skip_reason():
        pytest.skip(f"no Kafka broker: {reason}")
    with run_broker(tmp_path_factory.mktemp("kafka")) as running:
        yield running


@dataclass
class CollectorHarness:
    """Runs `marquee collect` for one topic and one store."""

    broker: Broker
    topic: str
    store: Path
    port: int

    def start(self, *arguments: str, **settings: str) -> subprocess.Popen[str]:
        """Start the collector, with further arguments and settings."""
        environment = {
            **os.environ,
            "MARQUEE_KAFKA_SERVERS": self.broker.servers,
            "MARQUEE_KAFKA_TOPIC": self.topic,
            "MARQUEE_COLLECTOR_BIND": f"127.0.0.1:{self.port}",
            "MARQUEE_COLLECTOR_COMMIT_INTERVAL_SECONDS": "0.2",
            **settings,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "app", "collect", "--store", str(self.store), *arguments],
            cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def collect(self, lines: int) -> dict[str, Any]:
        """Run the collector until it has stored so many lines; return its summary."""
        process = self.start("--json")
        eventually(lambda: self.committed() == lines, 120, f"{lines} lines in the store")
        process.send_signal(signal.SIGTERM)
        output, log = process.communicate(timeout=60)
        assert process.returncode == 0, log
        summary: dict[str, Any] = json.loads(output)
        return summary

    def committed(self) -> int:
        """Return how many lines of the topic are in the store."""
        manifest = read_manifest(self.store)
        if manifest is None:
            return 0
        return sum(
            position["offset"]
            for name, position in manifest.offsets.items()
            if name.rpartition("-")[0] == self.topic
        )

    def metric(self, name: str) -> float | None:
        """Return a metric of the running collector; None when there is none (yet)."""
        try:
            text = requests.get(f"http://127.0.0.1:{self.port}/metrics", timeout=2).text
        except requests.ConnectionError:
            return None
        found = [line for line in text.splitlines() if line.startswith(f"{name} ")]
        return float(found[0].split()[1]) if found else None


@pytest.fixture
def harness(broker: Broker, tmp_path: Path, request: pytest.FixtureRequest) -> CollectorHarness:
    """A new topic with two partitions and a new store."""
    topic = f"{request.node.originalname[:60]}-{time.time_ns()}"
    broker.create_topic(topic, partitions=2)
    return CollectorHarness(broker, topic, tmp_path / "store", free_port())
