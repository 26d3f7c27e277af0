"""Destinations of log lines: a file, standard output, or Kafka."""

import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from app import logs
from app.ingest.kafka.connection import ClientErrors

#: Lines that are buffered for the broker; beyond that the newest are dropped and counted.
MAX_BUFFERED_LINES = 500_000
#: How long the broker may be unreachable until a buffered line is dropped.
_DELIVERY_TIMEOUT_MS = 600_000
_BOOTSTRAP_TIMEOUT_MS = 10_000
_CLOSE_TIMEOUT_SECONDS = 10
_log = logs.get(__name__)


class FileSink:
    """Writes lines to a file, or to standard output when the name is `-`."""

    def __init__(self, name: str) -> None:
        """Create or truncate the file.

        Raises:
            OSError: it cannot be opened.
        """
        self.lost: Counter[str] = Counter()
        self._is_stdout = name == "-"
        self._file: IO[str] = (
            sys.stdout if self._is_stdout else Path(name).open("w", encoding="utf-8")  # noqa: SIM115
        )

    def write(self, label: str, lines: Sequence[str]) -> None:
        """Write lines."""
        self._file.write("\n".join(lines) + "\n")

    def close(self) -> None:
        """Flush, and close the file."""
        self._file.flush()
        if not self._is_stdout:
            self._file.close()


class KafkaSink:
    """Sends lines to Kafka from a thread, so that the simulation never waits for the broker.

    A line is lost when the broker has not acknowledged it within ten minutes, or when the buffer
    is full.
    """

    def __init__(
        self, connection: Mapping[str, Any], topic: str, *, block_when_full: bool = False
    ) -> None:
        """Connect.

        Args:
            connection: options of the client, as `connection_options` returns them.
            topic: where lines go.
            block_when_full: wait in `write` for space in the buffer instead of dropping lines;
                for runs that are not in real time.

        Raises:
            KafkaError: no broker responds within ten seconds.
        """
        # The client logs every failed connection as an error; lost lines are what matters here.
        client_errors = ClientErrors()
        self.lost: Counter[str] = Counter()
        self._topic = topic
        self._block_when_full = block_when_full
        try:
            self._producer = KafkaProducer(
                **connection,
                bootstrap_timeout_ms=_BOOTSTRAP_TIMEOUT_MS,
                linger_ms=20,
                batch_size=256 * 1024,
                delivery_timeout_ms=_DELIVERY_TIMEOUT_MS,
                max_block_ms=_DELIVERY_TIMEOUT_MS,
            )
        except KafkaError as error:
            raise KafkaError(client_errors.explain(error)) from error
        self._batches: SimpleQueue[tuple[str, Sequence[str]] | None] = SimpleQueue()
        self._buffer_changed = threading.Condition()
        self._buffered_lines = 0
        self._thread = threading.Thread(target=self._send_batches, daemon=True)
        self._thread.start()

    @property
    def buffered_lines(self) -> int:
        """Lines that have not been handed to the producer yet."""
        return self._buffered_lines

    def write(self, label: str, lines: Sequence[str]) -> None:
        """Buffer lines."""
        with self._buffer_changed:
            if self._block_when_full:
                self._buffer_changed.wait_for(lambda: self._buffered_lines < MAX_BUFFERED_LINES)
            elif self._buffered_lines >= MAX_BUFFERED_LINES:
                self.lost[label] += len(lines)
                return
            self._buffered_lines += len(lines)
        self._batches.put((label, lines))

    def close(self) -> None:
        """Wait until every line is acknowledged or lost."""
        self._batches.put(None)
        self._thread.join()
        try:
            self._producer.flush()
        except KafkaError as error:
            _log.error("kafka flush failed", error=str(error))
        self._producer.close(timeout=_CLOSE_TIMEOUT_SECONDS)

    def _send_batches(self) -> None:
        while batch := self._batches.get():
            label, lines = batch
            for line in lines:
                try:
                    future = self._producer.send(self._topic, line.encode())
                    future.add_errback(self._count_lost, label)
                except KafkaError as error:
                    self._count_lost(label, error)
            with self._buffer_changed:
                self._buffered_lines -= len(lines)
                self._buffer_changed.notify()

    def _count_lost(self, label: str, error: Exception) -> None:
        with self._buffer_changed:
            self.lost[label] += 1
            is_first = self.lost.total() == 1
        if is_first:
            _log.error("kafka delivery failed; further lost lines are counted", error=str(error))
