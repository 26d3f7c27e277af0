"""One topic, read by one reader: partitions assigned by hand, positions in the reader's own hands.

The group's offsets are committed for tools that show lag; nothing here reads them.
"""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from app import logs
from app.ingest.line_reader import split_lines

GROUP = "marquee-collector"
#: Lines of one poll: a block for the parser, some hundred kilobytes of text.
POLL_LINES = 20_000
#: Larger fetches than the defaults nearly double the rate; this much is held twice at most.
_FETCH_BYTES = 4 << 20
_ANSWER_MS = 5000

_log = logs.get(__name__)


class TopicError(Exception):
    """The topic cannot be followed as it was opened; opening it again may do."""


#: What passes when the broker, or the topic, is there again.
AWAY = (KafkaError, TopicError)


class Lines(NamedTuple):
    """Lines of one poll, and when the oldest of them was produced (seconds since 1970)."""

    lines: list[str]
    oldest: float


class Topic:
    """A topic opened at given positions; a context manager that closes it.

    `missed` counts lines that the broker had deleted before they could be taken.
    """

    def __init__(self, servers: str, name: str, positions: Mapping[str, Any]) -> None:
        """Connect, and go to the positions, or to the beginning where there are none.

        Raises:
            KafkaError, TopicError: no broker answers, or there is no such topic.
        """
        self.name = name
        self.missed = 0
        given: dict[str, Any] = {
            "bootstrap_servers": servers.split(","),
            "bootstrap_timeout_ms": _ANSWER_MS,
            "request_timeout_ms": _ANSWER_MS,
            "reconnect_backoff_max_ms": 2000,
        }
        with ExitStack() as stack:
            self._admin = KafkaAdminClient(**given)
            stack.callback(self._admin.close)
            self._id, self._partitions = self._describe()
            self._consumer = KafkaConsumer(
                **given,
                group_id=GROUP,
                enable_auto_commit=False,
                auto_offset_reset="none",
                max_poll_records=POLL_LINES,
                max_partition_fetch_bytes=_FETCH_BYTES,
                metrics_enabled=False,
            )
            stack.callback(self._consumer.close, autocommit=False, timeout_ms=_ANSWER_MS)
            self._consumer.assign(self._partitions)
            self._offsets = self._start(positions)
            for partition, offset in self._offsets.items():
                self._consumer.seek(partition, offset)
            self._stack = stack.pop_all()

    def __enter__(self) -> "Topic":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def positions(self) -> dict[str, Any]:
        """The next line of each partition, to be kept with the lines before it."""
        return {
            _key(partition): {"topic": self._id, "offset": offset}
            for partition, offset in self._offsets.items()
        }

    @property
    def lag(self) -> int:
        """How many lines wait at the broker, as far as its last answers tell."""
        ends = {p: self._consumer.highwater(p) or 0 for p in self._partitions}
        return sum(max(0, ends[p] - offset) for p, offset in self._offsets.items())

    def take(self, seconds: float) -> Lines | None:
        """The next lines, of whichever partitions have some; None when none came in time."""
        polled = self._consumer.poll(timeout_ms=int(seconds * 1000))
        if not polled:
            return None
        values = [record.value or b"" for records in polled.values() for record in records]
        for partition, records in polled.items():
            self._offsets[partition] = records[-1].offset + 1
        oldest = min(records[0].timestamp for records in polled.values()) / 1000
        return Lines(as_lines(values), oldest)

    def check(self) -> None:
        """Ask the broker whether the topic is still as it was opened.

        Raises:
            KafkaError, TopicError: no broker answers, or it is not.
        """
        if self._describe() != (self._id, self._partitions):
            raise TopicError(f"topic {self.name} has changed")

    def publish_positions(self) -> None:
        """Tell lag tools how far the store is; whether that succeeds matters to nobody else."""
        offsets = {p: OffsetAndMetadata(o, "", -1) for p, o in self._offsets.items()}
        self._consumer.commit_async(offsets, callback=_said)

    def _describe(self) -> tuple[str, list[TopicPartition]]:
        (found,) = self._admin.describe_topics([self.name])
        if found["error_code"] or not found["partitions"]:
            raise TopicError(f"there is no topic {self.name}")
        numbers = sorted(partition["partition_index"] for partition in found["partitions"])
        return str(found["topic_id"]), [TopicPartition(self.name, number) for number in numbers]

    def _start(self, positions: Mapping[str, Any]) -> dict[TopicPartition, int]:
        first = self._consumer.beginning_offsets(self._partitions, timeout_ms=_ANSWER_MS)
        end = self._consumer.end_offsets(self._partitions, timeout_ms=_ANSWER_MS)
        return {
            p: self._start_of(positions.get(_key(p)), first[p], end[p], _key(p))
            for p in self._partitions
        }

    def _start_of(self, kept: Any, first: int, end: int, name: str) -> int:
        """Where to begin in a partition that now holds the lines from `first` to `end`."""
        if kept is None:
            return first
        if kept["topic"] != self._id:
            _log.warning("the topic was made anew; reading it from its beginning", partition=name)
            return first
        offset = int(kept["offset"])
        if offset < first:
            self.missed += first - offset
            _log.error("the broker deleted lines that were not taken", lines=first - offset)
            return first
        if offset > end:
            _log.error("the broker lost lines that were taken; going on at its end", partition=name)
            return end
        return offset


def as_lines(values: list[bytes]) -> list[str]:
    """Messages as lines, as a file that holds them one a line would be read."""
    text = b"\n".join(value.rstrip(b"\r\n") for value in values)
    return split_lines(text.decode("utf-8", errors="replace") + "\n")


def _key(partition: TopicPartition) -> str:
    return f"{partition.topic}-{partition.partition}"


def _said(_: object, answer: object) -> None:
    if isinstance(answer, Exception):
        _log.debug("the group's offsets were not taken", why=str(answer), at=time.time())
