"""The collector counts the lines that the simulator reports as sent to the broker."""

from pathlib import Path

from tests.integration.ingest.kafka.conftest import CollectorHarness
from tests.support.commands import summary_of

#: Counted by both.
COUNTS = ("lines", "watches", "ratings", "recommendations", "accounts", "rejected")


def test_a_collector_counts_what_the_simulator_sent_to_the_broker(
    harness: CollectorHarness, shared_model: Path
) -> None:
    damage = ["--corruption", 0.01, "--random-ids", 0.004, "--invalid", 0.05]
    options = ["--days", 0.2, "--rate", 0.03, *damage, "--model", shared_model]
    sent = summary_of(
        "simulate", *options,
        MARQUEE_KAFKA_SERVERS=harness.broker.servers, MARQUEE_KAFKA_TOPIC=harness.topic,
    )["log"]  # fmt: skip
    assert sent["lost"] == 0
    counted = harness.collect(sent["lines"])
    assert {name: sent[name] for name in COUNTS} == {name: counted[name] for name in COUNTS}
    assert sent["reasons"] == {r: count for r, count in counted["reasons"].items() if count}
    assert set(sent["reasons"]) >= {"time", "user", "request", "movie", "minute"}
    assert min(sent[name] for name in COUNTS) > 20
