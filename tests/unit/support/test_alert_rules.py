"""Every series that a rule names is exported by the program that the alert is about."""

import re
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from app.auto_deployment.scheduler import Scheduler, create_registry
from app.ingest.kafka.metrics import CollectorMetrics
from app.ingest.metadata.refresher import MetadataRefresher
from app.provenance.quarantine import Quarantine
from app.provenance.shipper_metrics import ShipperMetrics
from app.provenance.spool_reader import SpoolReader
from app.recent_activity.follower_metrics import FollowerMetrics
from app.service.application import create_app
from app.settings import Settings
from tests.conftest import ROOT, write_lists
from tests.support.alert_rules import find_named_series, find_selectors
from tests.support.recent import add_recent_parts

#: Of Prometheus, NGINX's exporter, and prometheus_client's collector of the process.
OTHERS = {"up", "nginx_up", "process_start_time_seconds"}


@pytest.mark.parametrize(
    ("expression", "selectors"),
    [
        ('sum by (slot) (rate(a_total{x="1"}[5m])) / b > 0', {'a_total{x="1"}', "b"}),
        ("time() - a:b:c5m offset 1h > 4 * 86400", {"a:b:c5m"}),
        ("a unless on(slot) b == 1 # not c", {"a", "b"}),
        ("sum_over_time((a == bool 0)[2m:5s]) * 5 > 60 or absent(b)", {"a", "b"}),
    ],
)
def test_the_series_of_an_expression_are_found(expression: str, selectors: set[str]) -> None:
    assert find_selectors(expression) == selectors


def export(model: Path, directory: Path) -> Iterator[str]:
    """Return the metrics of each process, and the source of those of scripts."""
    settings = Settings(
        model_dir=model,
        spool_dir=directory,
        workspace_dir=directory,
        store_dir=directory,
        outbox_dir=directory,
        recent_dir=directory,
    )
    yield create_app(settings).test_client().get("/metrics").text
    reader = SpoolReader(directory, Quarantine(directory, 1, 1))
    yield generate_latest(ShipperMetrics(reader).registry).decode()
    yield generate_latest(CollectorMetrics(directory).registry).decode()
    yield generate_latest(FollowerMetrics(directory).registry).decode()
    metadata = CollectorRegistry()
    MetadataRefresher(settings, metadata, Event())
    yield generate_latest(metadata).decode()
    scheduler = Scheduler(settings, lambda _stop: None)
    yield generate_latest(create_registry(settings, scheduler)).decode()
    for script in ("release/metrics.sh", "backup.sh"):
        yield (ROOT / "scripts" / script).read_text()


def test_every_series_that_a_rule_names_is_exported(tmp_path: Path) -> None:
    model = add_recent_parts(write_lists(tmp_path / "model"))
    exported = "\n".join(export(model, tmp_path))
    names = set(re.findall(r"\b(?:marquee|flask)_\w+", exported)) | OTHERS
    names |= {f"marquee_release{name}" for name in re.findall(r'metric\("(_\w+)"', exported)}
    missing = {
        selector: rules
        for selector, rules in find_named_series().items()
        if selector.partition("{")[0] not in names
    }
    assert missing == {}
