"""`marquee collect` on a real broker."""

import json
import signal
import subprocess
from pathlib import Path

from kafka.structs import TopicPartition

from app.ingest.kafka.consumer import GROUP
from app.ingest.store_writer import open_writer
from tests.integration.ingest.kafka.conftest import Collecting, eventually
from tests.integration.ingest.test_commands import marquee, summary_of
from tests.support.kafka import Broker
from tests.unit.ingest.store_contents import read_store


def watched(*users: int) -> list[bytes]:
    return [f"2022-11-14T12:24,{user},GET /data/m/up+2009/0.mpg".encode() for user in users]


def stopped(collector: "subprocess.Popen[str]") -> str:
    """End it as `docker stop` does; its log."""
    collector.send_signal(signal.SIGTERM)
    _, log = collector.communicate(timeout=30)
    assert collector.returncode == 0, log
    return log


def users(store: Path) -> list[int]:
    found: list[int] = read_store(store)[0]["user_id"].to_list()
    return found


def test_the_real_log_is_collected_as_from_its_file(
    collecting: Collecting, shared_data: Path, tmp_path: Path
) -> None:
    log = shared_data / "movielog" / "stream.log"
    collecting.broker.produce(collecting.topic, log.read_bytes().splitlines())
    told, errors = collecting.start("--for", "6s", "--json").communicate(timeout=60)
    summary = json.loads(told)
    once = summary_of("collect", "--file", log, "--store", tmp_path / "once")
    for figure in once.keys() - {"seconds", "lines_per_second"}:
        assert summary[figure] == once[figure], (figure, errors)
    ours, theirs = read_store(collecting.store), read_store(tmp_path / "once")
    assert ours[0].equals(theirs[0])
    assert ours[1].equals(theirs[1])


def test_odd_messages_are_lines_like_others(collecting: Collecting) -> None:
    odd = [b"", b"\xff\xfe", b"\n", watched(1)[0] + b"\r\n", b"\n".join(watched(2, 3)), b"x" * 9999]
    collecting.broker.produce(collecting.topic, odd)
    summary = json.loads(collecting.start("--for", "5s", "--json").communicate(timeout=60)[0])
    assert (summary["lines"], summary["watches"]) == (7, 3)
    assert summary["reasons"]["fields"] == 4
    assert users(collecting.store) == [1, 2, 3]


def test_metrics_tell_kinds_reasons_lag_and_repairs(collecting: Collecting) -> None:
    good = watched(*range(60))
    damaged = [line.replace(b"up+2009", b"u p+2009") for line in watched(7, 8)]
    rated = [
        b"2022-11-14T12:24:09,7,GET /rate/up+2009=4",
        b"2022-11-14T12:24,7,GET /rate/up+2009=9",
    ]
    collecting.broker.produce(collecting.topic, good + damaged + rated)
    collector = collecting.start()
    eventually(lambda: collecting.committed() == 64, 30, "the lines in the store")
    metric = collecting.metric
    assert metric('marquee_ingest_lines_total{kind="watches"}') == 60
    assert metric('marquee_ingest_lines_total{kind="ratings"}') == 1
    assert metric('marquee_ingest_lines_total{kind="rejected"}') == 3
    assert metric('marquee_ingest_lines_rejected_total{reason="movie"}') == 2
    assert metric('marquee_ingest_lines_rejected_total{reason="rating"}') == 1
    eventually(lambda: metric("marquee_kafka_consumer_lag") == 0, 5, "no lag")
    assert metric("marquee_kafka_connected") == 1
    eventually(lambda: metric("marquee_ingest_lines_repaired_total") == 2, 60, "the repairs")
    assert metric('marquee_store_rows{table="watches"}') == 62
    stopped(collector)


def test_offsets_are_committed_for_lag_tools_alone(collecting: Collecting) -> None:
    collecting.broker.produce(collecting.topic, watched(*range(50)))
    collector = collecting.start()
    eventually(lambda: collecting.committed() == 50, 30, "the lines in the store")
    stopped(collector)
    partitions = [TopicPartition(collecting.topic, number) for number in (0, 1)]
    with collecting.broker.admin() as admin:
        offsets = admin.list_group_offsets({GROUP: partitions})[GROUP]
        assert sum(offsets[partition].offset for partition in partitions) == 50
        admin.delete_group_offsets(GROUP, partitions)
    collecting.broker.produce(collecting.topic, watched(77))
    summary = json.loads(collecting.start("--for", "5s", "--json").communicate(timeout=60)[0])
    assert summary["lines"] == 1  # the store's positions count


def test_a_topic_made_anew_is_read_from_its_beginning(collecting: Collecting) -> None:
    collecting.broker.produce(collecting.topic, watched(*range(50)))
    collector = collecting.start()
    eventually(lambda: collecting.committed() == 50, 30, "the lines in the store")
    with collecting.broker.admin() as admin:
        admin.delete_topics([collecting.topic])
    # The broker makes it when a client names it.
    collecting.broker.produce(collecting.topic, watched(*range(100, 170)))
    both = [*range(50), *range(100, 170)]
    eventually(lambda: users(collecting.store) == both, 40, "the new topic's lines")
    assert "made anew" in stopped(collector)


def test_new_partitions_are_found(collecting: Collecting) -> None:
    collector = collecting.start()
    collecting.broker.produce(collecting.topic, watched(*range(10)))
    eventually(lambda: collecting.committed() == 10, 30, "the first lines")
    with collecting.broker.admin() as admin:
        admin.create_partitions({collecting.topic: 4})
    collecting.broker.produce(collecting.topic, watched(*range(10, 500)))
    eventually(lambda: collecting.committed() == 500, 60, "the lines of all partitions")
    stopped(collector)


def test_lines_deleted_before_they_were_taken_are_counted(collecting: Collecting) -> None:
    collecting.broker.produce(collecting.topic, watched(*range(50)))
    collector = collecting.start()
    eventually(lambda: collecting.committed() == 50, 30, "the first lines")
    stopped(collector)
    collecting.broker.produce(collecting.topic, watched(*range(50, 90)))
    with collecting.broker.admin() as admin:
        partitions = [TopicPartition(collecting.topic, number) for number in (0, 1)]
        admin.delete_records(dict.fromkeys(partitions, -1))
    collecting.broker.produce(collecting.topic, watched(90))
    collector = collecting.start()
    eventually(lambda: collecting.committed() == 91, 30, "the line after them")
    assert collecting.metric("marquee_kafka_messages_lost_total") == 40
    assert "deleted lines that were not taken" in stopped(collector)


def test_a_broker_that_is_away_is_waited_for(collecting: Collecting) -> None:
    collecting.broker.stop()
    collector = collecting.start()
    eventually(lambda: collecting.metric("marquee_kafka_failures_total") == 1, 30, "an attempt")
    assert collecting.metric("marquee_kafka_connected") == 0
    collecting.broker.start()
    collecting.broker.produce(collecting.topic, watched(5))
    eventually(lambda: collecting.committed() == 1, 60, "the line")
    assert stopped(collector).count("waiting for the broker") == 1


def test_without_a_broker_it_idles_and_leaves_the_store_alone(tmp_path: Path) -> None:
    nowhere = Collecting(Broker("", 0), "movielog", tmp_path / "store", 0)
    collector = nowhere.start(MARQUEE_KAFKA_SERVERS="")
    assert collector.stderr is not None
    assert "idle: no broker is configured" in collector.stderr.readline()
    with open_writer(tmp_path / "store"):
        assert collector.poll() is None
    stopped(collector)


def test_a_while_without_a_broker_is_wrong_or_fails(tmp_path: Path) -> None:
    done = marquee("collect", "--for", "1s", "--store", tmp_path)
    assert done.returncode == 2
    assert b"MARQUEE_KAFKA_SERVERS is not set" in done.stderr
    done = marquee(
        "collect", "--for", "1s", "--store", tmp_path,
        MARQUEE_KAFKA_SERVERS="127.0.0.1:1", MARQUEE_COLLECTOR_BIND="127.0.0.1:0",
    )  # fmt: skip
    assert done.returncode == 1
    assert b"no broker with movielog at 127.0.0.1:1" in done.stderr
    for wrong in ("15", "0m", "soon"):
        assert marquee("collect", "--for", wrong, "--store", tmp_path).returncode == 2
