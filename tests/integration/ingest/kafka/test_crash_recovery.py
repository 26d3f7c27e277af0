"""Kills of the collector and a restart of the broker change nothing in the store."""

import io
import random
import signal
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import pytest

from bench.ingest_throughput import write_log
from tests.integration.ingest.kafka.conftest import CollectorHarness
from tests.support.commands import summary_of
from tests.support.kafka import Broker
from tests.support.soak import IS_SOAK
from tests.support.store_contents import read_store
from tests.support.waiting import eventually

#: `make soak` runs the full test: 20 kills over 1,000,000 lines.
COPIES, KILLS, LINES_PER_SECOND = (20, 20, 10_000) if IS_SOAK else (1, 3, 5_000)


def produce_slowly(broker: Broker, topic: str, log: Path) -> None:
    """Send the lines of a file over some time, so that the kills happen meanwhile."""

    def slowly() -> Iterator[bytes]:
        for number, line in enumerate(log.read_bytes().splitlines()):
            if number % (LINES_PER_SECOND // 10) == 0:
                time.sleep(0.1)
            yield line

    broker.produce(topic, slowly())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_and_a_restarted_broker_change_nothing(
    harness: CollectorHarness, shared_data: Path, tmp_path: Path
) -> None:
    content = io.BytesIO()
    write_log(shared_data / "movielog" / "stream.log", content, COPIES)
    whole = tmp_path / "whole.log"
    whole.write_bytes(content.getvalue())
    offline = summary_of("collect", "--file", whole, "--store", tmp_path / "once")

    # In a process of its own, because the producer's connections break with the broker.
    produce = get_context("spawn").Process(
        target=produce_slowly, args=(harness.broker, harness.topic, whole)
    )
    produce.start()
    for kill in range(KILLS):
        goal = harness.committed() + random.randrange(offline["lines"] // (2 * KILLS))
        process = harness.start()
        eventually(lambda goal=goal: harness.committed() >= goal, 120, f"{goal} lines")  # type: ignore[misc]
        if kill == KILLS // 2:
            harness.broker.stop()
            harness.broker.start()
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        assert process.returncode == -signal.SIGKILL
    last = harness.start()
    produce.join(300)
    assert produce.exitcode == 0
    eventually(lambda: harness.committed() == offline["lines"], 300, "all lines")
    eventually(lambda: harness.metric("marquee_kafka_connected") == 1, 120, "a collector")
    last.send_signal(signal.SIGTERM)
    _, log = last.communicate(timeout=60)
    assert last.returncode == 0, log
    collected, once = read_store(harness.store), read_store(tmp_path / "once")
    assert collected[0].equals(once[0])
    assert collected[1].equals(once[1])
    assert collected[0].height == offline["pairs"]
