"""Collected from a real broker, killed at random moments, the broker restarted: as one pass."""

import io
import os
import random
import signal
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import pytest

from bench.ingest_throughput import write_log
from tests.integration.ingest.kafka.conftest import Collecting, eventually
from tests.integration.ingest.test_commands import summary_of
from tests.support.kafka import Broker
from tests.unit.ingest.store_contents import read_store

#: `make soak` sets these to the full figures: 20 kills over 1,000,000 lines.
SOAK = "MARQUEE_SOAK_SECONDS" in os.environ
COPIES, KILLS, PACE = (20, 20, 10_000) if SOAK else (1, 3, 5_000)


def produce_slowly(broker: Broker, topic: str, log: Path) -> None:
    """Send a file's lines at `PACE` a second, so that collectors are killed while they come."""

    def slowly() -> Iterator[bytes]:
        for number, line in enumerate(log.read_bytes().splitlines()):
            if number % (PACE // 10) == 0:
                time.sleep(0.1)
            yield line

    broker.produce(topic, slowly())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_and_a_restarted_broker_change_nothing(
    collecting: Collecting, shared_data: Path, tmp_path: Path
) -> None:
    log = io.BytesIO()
    write_log(shared_data / "movielog" / "stream.log", log, COPIES)
    whole = tmp_path / "whole.log"
    whole.write_bytes(log.getvalue())
    offline = summary_of("collect", "--file", whole, "--store", tmp_path / "once")

    # A process of its own: the producer's connections do not end cleanly when a broker does.
    produce = get_context("spawn").Process(
        target=produce_slowly, args=(collecting.broker, collecting.topic, whole)
    )
    produce.start()
    seconds, chance = offline["lines"] / PACE, random.Random()
    for kill in range(KILLS):
        collector = collecting.start()
        # It needs a second to start; a kill while it does is one of the moments.
        time.sleep(chance.uniform(0.5, 2 * seconds / KILLS))
        if kill == KILLS // 2:
            collecting.broker.stop()
            collecting.broker.start()
        collector.send_signal(signal.SIGKILL)
        collector.communicate(timeout=30)
        assert collector.returncode == -signal.SIGKILL
    last = collecting.start()
    produce.join(300)
    assert produce.exitcode == 0
    eventually(lambda: collecting.committed() == offline["lines"], 120, "all lines")
    eventually(lambda: collecting.metric("marquee_kafka_connected") == 1, 30, "a collector")
    last.send_signal(signal.SIGTERM)
    _, told = last.communicate(timeout=60)
    assert last.returncode == 0, told
    collected, once = read_store(collecting.store), read_store(tmp_path / "once")
    assert collected[0].equals(once[0])
    assert collected[1].equals(once[1])
    assert collected[0].height == offline["pairs"]
