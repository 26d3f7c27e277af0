"""`marquee collect` with a Kafka broker."""

import json
import signal
import subprocess
from pathlib import Path

import requests
from kafka import KafkaProducer
from kafka.structs import TopicPartition

from app.ingest.kafka.consumer import GROUP_ID
from app.ingest.store_writer import open_writer
from tests.integration.ingest.kafka.conftest import CollectorHarness
from tests.support.commands import marquee, summary_of
from tests.support.kafka import Broker
from tests.support.store_contents import read_store
from tests.support.waiting import eventually


def watch_lines(*users: int) -> list[bytes]:
    return [f"2022-11-14T12:24,{user},GET /data/m/up+2009/0.mpg".encode() for user in users]


def stop(process: "subprocess.Popen[str]") -> str:
    """Stop the collector as `docker stop` does; return its log."""
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    return log


def users_in(store: Path) -> list[int]:
    users: list[int] = read_store(store)[0]["user_id"].to_list()
    return users


def test_a_topic_gives_the_same_store_as_a_file(
    harness: CollectorHarness, shared_data: Path, tmp_path: Path
) -> None:
    log = shared_data / "movielog" / "stream.log"
    harness.broker.produce(harness.topic, log.read_bytes().splitlines())
    summary = harness.collect(50_000)
    once = summary_of("collect", "--file", log, "--store", tmp_path / "once")
    for key in once.keys() - {"seconds", "lines_per_second"}:
        assert summary[key] == once[key], key
    from_topic, from_file = read_store(harness.store), read_store(tmp_path / "once")
    assert from_topic[0].equals(from_file[0])
    assert from_topic[1].equals(from_file[1])


def test_unusual_messages_are_parsed_as_lines_of_a_file(harness: CollectorHarness) -> None:
    messages = [
        b"",
        b"\xff\xfe",
        b"\n",
        watch_lines(1)[0] + b"\r\n",
        b"\n".join(watch_lines(2, 3)),
        b"x" * 9999,
    ]
    harness.broker.produce(harness.topic, messages)
    summary = harness.collect(6)  # messages, of which one holds two lines
    assert (summary["lines"], summary["watches"]) == (7, 3)
    assert summary["reasons"]["fields"] == 4
    assert users_in(harness.store) == [1, 2, 3]


def test_a_collector_with_a_duration_ends_by_itself(harness: CollectorHarness) -> None:
    for duration in ("1s", "10s", "60s"):  # includes the connection: long on a busy machine
        process = harness.start("--for", duration, "--json")
        output, log = process.communicate(timeout=120)
        if process.returncode == 0:
            break
    assert process.returncode == 0, log
    assert json.loads(output)["lines"] == 0


def test_metrics_count_kinds_reasons_lag_and_repairs(harness: CollectorHarness) -> None:
    valid = watch_lines(*range(60))
    corrupted = [line.replace(b"up+2009", b"u p+2009") for line in watch_lines(7, 8)]
    ratings = [
        b"2022-11-14T12:24:09,7,GET /rate/up+2009=4",
        b"2022-11-14T12:24,7,GET /rate/up+2009=9",
    ]
    harness.broker.produce(harness.topic, valid + corrupted + ratings)
    process = harness.start()
    eventually(lambda: harness.committed() == 64, 120, "the lines in the store")
    metric = harness.metric
    assert metric('marquee_ingest_lines_total{kind="watches"}') == 60
    assert metric('marquee_ingest_lines_total{kind="ratings"}') == 1
    assert metric('marquee_ingest_lines_total{kind="rejected"}') == 3
    assert metric('marquee_ingest_lines_rejected_total{reason="movie"}') == 2
    assert metric('marquee_ingest_lines_rejected_total{reason="rating"}') == 1
    eventually(lambda: metric("marquee_kafka_consumer_lag") == 0, 120, "no lag")
    assert metric("marquee_kafka_connected") == 1
    eventually(lambda: metric("marquee_ingest_lines_repaired_total") == 2, 120, "the repairs")
    assert metric('marquee_store_rows{table="watches"}') == 62
    health = requests.get(f"http://127.0.0.1:{harness.port}/health", timeout=5)
    assert (health.status_code, health.json()) == (200, {"status": "alive"})
    stop(process)


def test_messages_that_are_read_and_not_committed_are_counted(harness: CollectorHarness) -> None:
    harness.broker.produce(harness.topic, watch_lines(*range(40)))
    process = harness.start(MARQUEE_COLLECTOR_COMMIT_INTERVAL_SECONDS="600")
    metric = harness.metric
    waiting = "marquee_collector_uncommitted_messages"
    eventually(lambda: metric(waiting) == 40, 120, "the waiting messages")
    eventually(lambda: metric("marquee_kafka_consumer_lag") == 0, 120, "no lag")
    assert (metric(waiting), harness.committed()) == (40, 0)
    stop(process)
    assert harness.committed() == 40


def test_group_offsets_are_committed_but_not_read(harness: CollectorHarness) -> None:
    harness.broker.produce(harness.topic, watch_lines(*range(50)))
    process = harness.start()
    eventually(lambda: harness.committed() == 50, 120, "the lines in the store")
    stop(process)
    partitions = [TopicPartition(harness.topic, number) for number in (0, 1)]
    with harness.broker.admin() as admin:
        offsets = admin.list_group_offsets({GROUP_ID: partitions})[GROUP_ID]
        assert sum(offsets[partition].offset for partition in partitions) == 50
        admin.delete_group_offsets(GROUP_ID, partitions)
    harness.broker.produce(harness.topic, watch_lines(77))
    assert harness.collect(51)["lines"] == 1  # the offsets in the store count


def test_a_recreated_topic_is_read_from_its_beginning(harness: CollectorHarness) -> None:
    harness.broker.produce(harness.topic, watch_lines(*range(50)))
    process = harness.start()
    eventually(lambda: harness.committed() == 50, 120, "the lines in the store")
    with harness.broker.admin() as admin:
        admin.delete_topics([harness.topic])
        # The broker creates a topic when a client asks for it; this one must not.
        eventually(lambda: harness.metric("marquee_kafka_connected") == 0, 120, "a lost topic")
        assert harness.topic not in admin.list_topics()
    harness.broker.produce(harness.topic, watch_lines(*range(100, 170)))
    both = [*range(50), *range(100, 170)]
    eventually(lambda: users_in(harness.store) == both, 120, "the new topic's lines")
    assert "topic was recreated" in stop(process)


def test_lines_of_aborted_transactions_are_not_ingested(harness: CollectorHarness) -> None:
    process = harness.start()
    transactions = ((range(5), True), (range(100, 150), False), (range(5, 9), True), ([99], False))
    with KafkaProducer(
        bootstrap_servers=harness.broker.servers, transactional_id=harness.topic
    ) as producer:
        producer.init_transactions()
        for users, is_committed in transactions:
            producer.begin_transaction()
            for line in watch_lines(*users):
                producer.send(harness.topic, line)
            producer.flush()
            if is_committed:
                producer.commit_transaction()
            else:
                producer.abort_transaction()
    # 60 lines and at least one record for the end of each transaction.
    eventually(lambda: harness.committed() >= 64, 60, "the ends of all transactions")
    eventually(lambda: harness.metric("marquee_kafka_consumer_lag") == 0, 60, "no lag")
    stop(process)
    assert users_in(harness.store) == list(range(9))


def test_new_partitions_are_found(harness: CollectorHarness) -> None:
    process = harness.start()
    harness.broker.produce(harness.topic, watch_lines(*range(10)))
    eventually(lambda: harness.committed() == 10, 120, "the first lines")
    with harness.broker.admin() as admin:
        admin.create_partitions({harness.topic: 4})
    harness.broker.produce(harness.topic, watch_lines(*range(10, 500)))
    eventually(lambda: harness.committed() == 500, 120, "the lines of all partitions")
    stop(process)


def test_messages_deleted_before_they_were_read_are_counted(harness: CollectorHarness) -> None:
    harness.broker.produce(harness.topic, watch_lines(*range(50)))
    process = harness.start()
    eventually(lambda: harness.committed() == 50, 120, "the first lines")
    stop(process)
    harness.broker.produce(harness.topic, watch_lines(*range(50, 90)))
    with harness.broker.admin() as admin:
        partitions = [TopicPartition(harness.topic, number) for number in (0, 1)]
        admin.delete_records(dict.fromkeys(partitions, -1))
    harness.broker.produce(harness.topic, watch_lines(90))
    process = harness.start()
    eventually(lambda: harness.committed() == 91, 120, "the line after them")
    assert harness.metric("marquee_kafka_messages_lost_total") == 40
    assert "deleted messages before they were read" in stop(process)


def test_the_collector_waits_for_an_unavailable_broker(harness: CollectorHarness) -> None:
    harness.broker.stop()
    process = harness.start()
    eventually(
        lambda: harness.metric("marquee_kafka_connection_failures_total") == 1, 120, "an attempt"
    )
    assert harness.metric("marquee_kafka_connected") == 0
    harness.broker.start()
    harness.broker.produce(harness.topic, watch_lines(5))
    eventually(lambda: harness.committed() == 1, 120, "the line")
    assert stop(process).count("waiting for the broker") == 1


def test_without_a_broker_it_idles_and_leaves_the_store_alone(tmp_path: Path) -> None:
    harness = CollectorHarness(Broker("", 0, 0), "movielog", tmp_path / "store", 0)
    process = harness.start(MARQUEE_KAFKA_SERVERS="")
    assert process.stderr is not None
    assert "idle: no broker is configured" in process.stderr.readline()
    with open_writer(tmp_path / "store"):
        assert process.poll() is None
    stop(process)


def test_a_duration_without_a_broker_fails(tmp_path: Path) -> None:
    result = marquee("collect", "--for", "1s", "--store", tmp_path)
    assert result.returncode == 2
    assert b"MARQUEE_KAFKA_SERVERS is not set" in result.stderr
    result = marquee(
        "collect", "--for", "1s", "--store", tmp_path,
        MARQUEE_KAFKA_SERVERS="127.0.0.1:1", MARQUEE_COLLECTOR_BIND="127.0.0.1:0",
    )  # fmt: skip
    assert result.returncode == 1
    assert b"no broker with movielog at 127.0.0.1:1" in result.stderr
    for invalid in ("15", "0m", "soon"):
        assert marquee("collect", "--for", invalid, "--store", tmp_path).returncode == 2
