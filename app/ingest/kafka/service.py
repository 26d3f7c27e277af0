"""The process that follows the stream: its signals, its port, its store."""

import logging
import signal
import time
from threading import Event
from types import FrameType
from typing import Any

from app.ingest.errors import IngestError
from app.ingest.ingest_files import summarize_lines
from app.ingest.kafka.collector import Follower, idle
from app.ingest.kafka.metrics import StreamMetrics
from app.ingest.metadata.refresher import MetadataRefresher
from app.ingest.store_writer import open_writer
from app.settings import Settings


def follow(settings: Settings, seconds: float | None) -> dict[str, Any]:
    """Follow the stream until told to stop, or so long; the summary of what was taken.

    Raises:
        IngestError: another process writes the store, or it cannot be written; or no broker
            answered in all that time.
    """
    started = time.perf_counter()
    stop = Event()
    _stop_on_signals(stop)
    if settings.log_level != "debug":
        # The client tells of every attempt; this room tells once what they come to.
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
    metrics = StreamMetrics()
    metrics.configured.set(bool(settings.kafka_servers))
    server = metrics.serve(settings.collector_bind)
    try:
        if not settings.kafka_servers:
            idle(metrics, stop)
            return {}
        with open_writer(settings.store_dir) as writer:
            if seconds is None:
                MetadataRefresher(settings, metrics.registry, stop).start()
            follower = Follower(settings, writer, metrics, stop)
            follower.run(seconds)
    finally:
        if server:
            server.shutdown()
            server.server_close()
    if seconds is not None and not follower.seen_broker:
        raise IngestError(f"no broker with {settings.kafka_topic} at {settings.kafka_servers}")
    return summarize_lines(follower.collector, follower.repaired, follower.pairs, started)


def _stop_on_signals(stop: Event) -> None:
    def told(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, told)
    signal.signal(signal.SIGINT, told)
