"""The stack's Kafka broker: send lines, and wait until the collector has stored them."""

import itertools
from collections.abc import Iterable
from contextlib import closing

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from app.ingest.kafka.consumer import GROUP_ID
from tests.support.stack import PORTS
from tests.support.waiting import eventually

#: The broker's listener for the host.
BROKER = f"127.0.0.1:{PORTS['MARQUEE_KAFKA_PORT']}"
#: The day of recent events in the stack: later than those that the model of the sample was trained
#: on, and the same in all tests, since events that are a week older than others are dropped.
RECENT_DAY = "2026-10-31"


#: Users of whom nothing has been sent yet.
unused_user_ids = itertools.count(10**9)


def send_lines(topic: str, lines: Iterable[str]) -> None:
    """Send lines to a topic; return when the broker has confirmed them."""
    with KafkaProducer(bootstrap_servers=BROKER) as producer:
        for line in lines:
            producer.send(topic, line.encode())
        producer.flush()


def send_watches(topic: str, n_users: int) -> None:
    """Send one watched minute of each of so many new users."""
    line = "2022-11-14T12:24,{},GET /data/m/whiplash+2014/42.mpg"
    send_lines(topic, (line.format(user) for user in itertools.islice(unused_user_ids, n_users)))


def delete_lines(topic: str) -> None:
    """Delete all lines of a topic from the broker, as its retention does after some days."""
    partition = TopicPartition(topic, 0)
    with closing(KafkaConsumer(bootstrap_servers=BROKER)) as consumer:
        end = consumer.end_offsets([partition])[partition]
    with closing(KafkaAdminClient(bootstrap_servers=BROKER)) as admin:
        admin.delete_records({partition: end})


def wait_until_collected(topic: str, timeout_seconds: float = 120) -> None:
    """Wait until all lines of a topic are in the store.

    The collector commits its group's offsets after each commit of its store.
    """
    partition = TopicPartition(topic, 0)

    def is_collected() -> bool:
        consumer = KafkaConsumer(
            bootstrap_servers=BROKER, group_id=GROUP_ID, enable_auto_commit=False
        )
        with closing(consumer):
            end: int = consumer.end_offsets([partition])[partition]
            return end > 0 and consumer.committed(partition) == end

    eventually(is_collected, timeout_seconds, f"all lines of {topic} in the store", 0.5)
