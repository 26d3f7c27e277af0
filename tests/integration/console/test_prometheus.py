"""The console's queries and a real Prometheus with the project's rules."""

from collections.abc import Iterator

import pytest
from pytest_httpserver import HTTPServer

from app.console.prometheus import PrometheusClient
from app.console.queries import QUERIES
from app.console.sources import SourceError
from tests.support import scraping_prometheus
from tests.support.dashboards import read_panels
from tests.support.waiting import eventually

METRICS = """\
# TYPE marquee_volume_free_bytes gauge
marquee_volume_free_bytes{volume="store"} 7
# TYPE marquee_notification_undeliverable_messages gauge
marquee_notification_undeliverable_messages 2
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, make_httpserver: HTTPServer) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("prometheus")
    with scraping_prometheus.serve(directory, make_httpserver, METRICS) as url:
        yield url


def test_prometheus_understands_every_query(url: str) -> None:
    client = PrometheusClient(url)
    metrics = client.read_metrics()
    assert metrics.get("free", volume="store", slot="stable-1") == 7
    assert metrics.get("up", slot="stable-1") == 1
    assert metrics.get("free", volume="other") is None
    assert [name for name in QUERIES if metrics.all(name)] == ["up", "free"]
    assert set(client.read_histories()) == {"requests", "success", "p99"}


def test_a_firing_alert_has_its_sentence_time_and_expression(url: str) -> None:
    client = PrometheusClient(url)

    def find_firing() -> bool:
        return any(a.name == "NotificationUndeliverable" for a in client.read_alerts())

    eventually(find_firing, 60, client.read_alerts)
    (alert,) = [a for a in client.read_alerts() if a.name == "NotificationUndeliverable"]
    assert alert.state == "firing"
    assert alert.summary.startswith("2 notifications are undeliverable")
    assert alert.expression == "marquee_notification_undeliverable_messages > 0"
    assert alert.active_at.startswith("20")


def test_a_prometheus_that_is_away_is_a_sentence() -> None:
    with pytest.raises(SourceError, match="Prometheus does not respond: "):
        PrometheusClient("http://127.0.0.1:9").read_metrics()


def test_prometheus_understands_every_query_of_the_dashboards(url: str) -> None:
    panels = list(read_panels())
    assert len(panels) > 40
    for panel in panels:
        for query in panel.queries:
            scraping_prometheus.query(url, query)  # one that is refused is an error
