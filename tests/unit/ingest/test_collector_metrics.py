import os
import time
from pathlib import Path

import pytest

from app.ingest.kafka.metrics import MAX_HEARTBEAT_AGE_SECONDS, CollectorMetrics


def read(metrics: CollectorMetrics, name: str) -> float:
    value = metrics.registry.get_sample_value(f"marquee_{name}")
    assert value is not None, name
    return value


def test_the_time_of_the_last_commit_is_that_of_the_store(tmp_path: Path) -> None:
    """A collector that is started again and again does not look like one that commits."""
    metrics = CollectorMetrics(tmp_path)
    metrics.set_last_commit(tmp_path)
    assert abs(read(metrics, "collector_last_commit_timestamp_seconds") - time.time()) < 60
    (tmp_path / "manifest.json").write_text("{}")
    os.utime(tmp_path / "manifest.json", (0, 1000))
    metrics.set_last_commit(tmp_path)
    assert read(metrics, "collector_last_commit_timestamp_seconds") == 1000


def test_lost_messages_have_a_time(tmp_path: Path) -> None:
    """At the start there is no earlier value that Prometheus could compute an increase from."""
    metrics = CollectorMetrics(tmp_path)
    metrics.count_lost_messages(0)
    assert read(metrics, "kafka_last_loss_timestamp_seconds") == 0
    metrics.count_lost_messages(7)
    assert read(metrics, "kafka_messages_lost_total") == 7
    assert abs(read(metrics, "kafka_last_loss_timestamp_seconds") - time.time()) < 60


def test_the_collector_is_alive_while_the_heartbeat_is_recent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    metrics = CollectorMetrics(tmp_path)
    assert metrics.is_alive()
    later = time.monotonic() + MAX_HEARTBEAT_AGE_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert not metrics.is_alive()
    metrics.record_heartbeat()
    assert metrics.is_alive()
