"""Where lines go: a file, or Kafka."""

import logging
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from kafka import KafkaProducer
from kafka.errors import KafkaError

from app import logs

#: Lines that may wait for the broker; of more, the newest are lost and counted.
MOST_WAITING = 500_000
#: How long the broker may be away before lines are given up.
_PATIENCE_MS = 600_000
#: How long the first answer of a broker is waited for.
_FIRST_PATIENCE_MS = 10_000
_log = logs.get(__name__)


class FileOutput:
    """Writes lines to a file, or with `-` to standard output."""

    def __init__(self, name: str) -> None:
        self.lost: Counter[str] = Counter()
        self._close = name != "-"
        self._file: IO[str] = (
            Path(name).open("w", encoding="utf-8") if self._close else sys.stdout  # noqa: SIM115
        )

    def write(self, label: str, lines: Sequence[str]) -> None:
        """Write lines."""
        self._file.write("\n".join(lines) + "\n")

    def close(self) -> None:
        """Nothing is left in memory."""
        self._file.flush()
        if self._close:
            self._file.close()


class KafkaOutput:
    """Hands lines to a thread that sends them: nobody waits for the broker.

    A line counts as lost when the broker has not confirmed it in ten minutes, or when too many
    wait already.
    """

    def __init__(self, servers: str, topic: str, *, may_wait: bool = False) -> None:
        """With `may_wait`, whoever writes waits while too many lines do (nothing is live).

        Raises:
            KafkaError: no broker answers.
        """
        # The client tells of every attempt to connect, as an error; what counts is lost lines.
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        self.lost: Counter[str] = Counter()
        self._topic = topic
        self._may_wait = may_wait
        self._producer = KafkaProducer(
            bootstrap_servers=servers.split(","),
            bootstrap_timeout_ms=_FIRST_PATIENCE_MS,
            linger_ms=20,
            batch_size=256 * 1024,
            delivery_timeout_ms=_PATIENCE_MS,
            max_block_ms=_PATIENCE_MS,
        )
        self._waiting: SimpleQueue[tuple[str, Sequence[str]] | None] = SimpleQueue()
        self._room = threading.Condition()
        self._count = 0
        self._thread = threading.Thread(target=self._send_all, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Lines that wait for the broker."""
        return self._count

    def write(self, label: str, lines: Sequence[str]) -> None:
        """Take lines."""
        with self._room:
            if self._may_wait:
                self._room.wait_for(lambda: self._count < MOST_WAITING)
            elif self._count >= MOST_WAITING:
                self.lost[label] += len(lines)
                return
            self._count += len(lines)
        self._waiting.put((label, lines))

    def close(self) -> None:
        """Wait until the broker has confirmed every line, or they are given up."""
        self._waiting.put(None)
        self._thread.join()
        try:
            self._producer.flush()
        except KafkaError as error:
            _log.error("the broker did not take everything", error=str(error))
        self._producer.close(timeout=10)

    def _send_all(self) -> None:
        while batch := self._waiting.get():
            label, lines = batch
            for line in lines:
                try:
                    future = self._producer.send(self._topic, line.encode())
                    future.add_errback(self._lose, label)
                except KafkaError as error:
                    self._lose(label, error)
            with self._room:
                self._count -= len(lines)
                self._room.notify()

    def _lose(self, label: str, error: Exception) -> None:
        with self._room:
            self.lost[label] += 1
            first = self.lost.total() == 1
        if first:
            _log.error(
                "a line did not reach the broker; further ones are counted", error=str(error)
            )
