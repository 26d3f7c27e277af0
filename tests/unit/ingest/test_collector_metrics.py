import time

import pytest

from app.ingest.kafka.metrics import MAX_HEARTBEAT_AGE_SECONDS, CollectorMetrics


def test_the_collector_is_alive_while_the_heartbeat_is_recent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metrics = CollectorMetrics()
    assert metrics.is_alive()
    later = time.monotonic() + MAX_HEARTBEAT_AGE_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert not metrics.is_alive()
    metrics.record_heartbeat()
    assert metrics.is_alive()
