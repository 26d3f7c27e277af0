"""Consume one topic: manually assigned partitions, from offsets that the caller stores.

The offsets are also committed to Kafka, for lag tools only; they are never read back.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError
from kafka.net.compat import KafkaNetClient
from kafka.structs import OffsetAndMetadata

from app import logs
from app.ingest.line_reader import split_lines

GROUP_ID = "marquee-collector"
#: Messages per poll, which are parsed together: some hundred kilobytes of text.
MAX_POLL_MESSAGES = 20_000
#: Nearly doubles the throughput of the client's default; held in memory at most twice.
_MAX_FETCH_BYTES = 4 << 20
_REQUEST_TIMEOUT_MS = 5000
_MAX_RECONNECT_BACKOFF_MS = 2000

_log = logs.get(__name__)


class TopicError(Exception):
    """The topic does not exist, or has changed since it was opened."""


#: Errors that end when the broker, or the topic, is available again.
UNAVAILABLE_ERRORS = (KafkaError, TopicError)


class PolledLines(NamedTuple):
    """The messages of one poll.

    Attributes:
        lines: messages as lines of text.
        oldest_time: when the oldest of them was produced, in seconds since 1970.
    """

    lines: list[str]
    oldest_time: float


class TopicConsumer:
    """A consumer of all partitions of a topic; a context manager that closes it.

    Attributes:
        messages_lost: messages that the broker deleted before they were read.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        topic: str,
        offsets: Mapping[str, Any],
        group_id: str = GROUP_ID,
    ) -> None:
        """Connect and seek to the stored offsets, or to the beginning of new partitions.

        Args:
            connection: the options of `connection_options`.
            topic: name of the topic.
            offsets: `offsets` of an earlier consumer; other keys are ignored.
            group_id: group whose offsets are committed to Kafka for lag tools.

        Raises:
            KafkaError: no broker responds.
            TopicError: there is no such topic.
        """
        self.messages_lost = 0
        self._topic = topic
        options: dict[str, Any] = {
            **connection,
            "bootstrap_timeout_ms": _REQUEST_TIMEOUT_MS,
            "request_timeout_ms": _REQUEST_TIMEOUT_MS,
            "reconnect_backoff_max_ms": _MAX_RECONNECT_BACKOFF_MS,
        }
        with ExitStack() as stack:
            self._admin = KafkaAdminClient(**options)
            stack.callback(self._admin.close)
            self._topic_id, self._partitions = self._describe_topic()
            self._consumer = KafkaConsumer(
                **options,
                group_id=group_id,
                allow_auto_create_topics=False,
                kafka_client=_create_client,
                isolation_level="read_committed",
                enable_auto_commit=False,
                auto_offset_reset="none",
                max_poll_records=MAX_POLL_MESSAGES,
                max_partition_fetch_bytes=_MAX_FETCH_BYTES,
                metrics_enabled=False,
            )
            stack.callback(self._consumer.close, autocommit=False, timeout_ms=_REQUEST_TIMEOUT_MS)
            self._consumer.assign(self._partitions)
            self._next_offsets = self._find_start_offsets(offsets)
            self._committed_offsets = dict(self._next_offsets)
            for partition, offset in self._next_offsets.items():
                self._consumer.seek(partition, offset)
            self._stack = stack.pop_all()

    def __enter__(self) -> "TopicConsumer":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def offsets(self) -> dict[str, Any]:
        """The next offset of each partition, to be stored together with the polled events."""
        return {
            _partition_name(partition): {"topic": self._topic_id, "offset": offset}
            for partition, offset in self._next_offsets.items()
        }

    @property
    def lag(self) -> int:
        """Messages not read yet, as of the broker's last responses."""
        ends = {p: self._consumer.highwater(p) or 0 for p in self._partitions}
        return sum(max(0, ends[p] - offset) for p, offset in self._next_offsets.items())

    @property
    def uncommitted(self) -> int:
        """Messages after the last commit, read or not, as of the broker's last responses."""
        read = (offset - self._committed_offsets[p] for p, offset in self._next_offsets.items())
        return self.lag + int(sum(read))

    def poll(self, timeout_seconds: float) -> PolledLines | None:
        """Return the next messages of any partitions; None when none came in time."""
        polled = self._consumer.poll(timeout_ms=int(timeout_seconds * 1000))
        if not polled:
            self._skip_records_of_transactions()
            return None
        values = [record.value or b"" for records in polled.values() for record in records]
        for partition, records in polled.items():
            self._next_offsets[partition] = records[-1].offset + 1
        oldest_time = min(records[0].timestamp for records in polled.values()) / 1000
        return PolledLines(decode_lines(values), oldest_time)

    def check_topic(self) -> None:
        """Check that the topic and its partitions are still those that were opened.

        Raises:
            KafkaError: no broker responds.
            TopicError: the topic was recreated or deleted, or has other partitions.
        """
        if self._describe_topic() != (self._topic_id, self._partitions):
            raise TopicError(f"topic {self._topic} has changed")

    def commit_group_offsets(self) -> None:
        """Commit the offsets, which the caller has stored, to Kafka for lag tools.

        It does not wait; failures do not matter.
        """
        self._committed_offsets = dict(self._next_offsets)
        offsets = {p: OffsetAndMetadata(o, "", -1) for p, o in self._next_offsets.items()}
        self._consumer.commit_async(offsets, callback=_log_failed_commit)

    def _skip_records_of_transactions(self) -> None:
        """Continue after records that are never returned: aborted ones, and ends of transactions.

        Otherwise they would count as lag until the next line.
        """
        for partition, offset in self._next_offsets.items():
            position = self._consumer.position(partition, timeout_ms=_REQUEST_TIMEOUT_MS)
            self._next_offsets[partition] = max(offset, position or 0)

    def _describe_topic(self) -> tuple[str, list[TopicPartition]]:
        (found,) = self._admin.describe_topics([self._topic])
        if found["error_code"] or not found["partitions"]:
            raise TopicError(f"there is no topic {self._topic}")
        numbers = sorted(partition["partition_index"] for partition in found["partitions"])
        return str(found["topic_id"]), [TopicPartition(self._topic, number) for number in numbers]

    def _find_start_offsets(self, stored: Mapping[str, Any]) -> dict[TopicPartition, int]:
        timeout = {"timeout_ms": _REQUEST_TIMEOUT_MS}
        first = self._consumer.beginning_offsets(self._partitions, **timeout)
        end = self._consumer.end_offsets(self._partitions, **timeout)
        return {p: self._find_start_offset(p, stored, first[p], end[p]) for p in self._partitions}

    def _find_start_offset(
        self, partition: TopicPartition, stored: Mapping[str, Any], first: int, end: int
    ) -> int:
        """Return where to start in a partition that holds the offsets from `first` to `end`."""
        name = _partition_name(partition)
        if name not in stored:
            return first
        if stored[name]["topic"] != self._topic_id:
            _log.warning("topic was recreated, reading it from the beginning", partition=name)
            return first
        offset = int(stored[name]["offset"])
        if offset < first:
            self.messages_lost += first - offset
            _log.error("broker deleted messages before they were read", messages=first - offset)
            return first
        if offset > end:
            _log.error("broker lost messages that were read, continuing at its end", partition=name)
            return end
        return offset


def decode_lines(messages: list[bytes]) -> list[str]:
    """Decode messages to the lines of a file that holds one message per line."""
    text = b"\n".join(message.rstrip(b"\r\n") for message in messages)
    return split_lines(text.decode("utf-8", errors="replace") + "\n")


def _create_client(**options: Any) -> KafkaNetClient:
    """Create the client of a consumer whose requests for metadata create no topic.

    Otherwise it would create a deleted topic again. kafka-python 3.0 ignores the consumer's option
    `allow_auto_create_topics`, which is read from here.
    """
    client = KafkaNetClient(**options)
    client.cluster.config["allow_auto_create_topics"] = False
    return client


def _partition_name(partition: TopicPartition) -> str:
    return f"{partition.topic}-{partition.partition}"


def _log_failed_commit(_: object, response: object) -> None:
    if isinstance(response, Exception):
        _log.debug("group offsets not committed", error=str(response))
