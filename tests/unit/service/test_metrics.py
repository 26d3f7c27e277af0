"""The metrics of one process; tests/integration/service covers several workers."""

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.service.application import create_app
from app.service.metrics import EDGE_TRY_TIMEOUT_SECONDS
from app.settings import Settings


@pytest.fixture
def client(shared_model: Path) -> FlaskClient:
    return create_app(Settings(model_dir=shared_model)).test_client()


def test_requests_are_grouped_by_url_rule(client: FlaskClient) -> None:
    for user in range(50):
        client.get(f"/recommend/{user}")
    text = client.get("/metrics").text
    assert 'flask_http_request_duration_seconds_count{method="GET"' in text
    assert "/recommend/<user_id>" in text
    assert "/recommend/1" not in text


def test_the_latency_histogram_has_a_bucket_at_the_timeout_of_the_edge(client: FlaskClient) -> None:
    client.get("/recommend/42")
    assert f'le="{EDGE_TRY_TIMEOUT_SECONDS}"' in client.get("/metrics").text


def test_recommendations_are_counted_by_source(client: FlaskClient) -> None:
    for user in (42, 43, 44):
        client.get(f"/recommend/{user}")
    text = client.get("/metrics").text
    assert 'marquee_recommendations_total{source="personal"} 1.0' in text
    assert 'marquee_recommendations_total{source="popular"} 2.0' in text


def read_started(client: FlaskClient) -> str:
    lines = client.get("/metrics").text.splitlines()
    (line,) = [x for x in lines if x.startswith("marquee_requests_started_total{")]
    return line


def test_requests_are_counted_when_they_start(shared_model: Path) -> None:
    app = create_app(Settings(model_dir=shared_model))
    seen = []
    client = app.test_client()
    assert read_started(client) == 'marquee_requests_started_total{version="3"} 0.0'
    view = app.view_functions["recommend.recommend"]

    def check_and_recommend(user_id: str) -> Any:
        seen.append(read_started(app.test_client()))
        if user_id == "13":
            raise RuntimeError("fault of this test")
        return view(user_id=user_id)

    app.view_functions["recommend.recommend"] = check_and_recommend
    for path in ("/recommend/42", "/recommend/x", "/recommend/13"):
        client.get(path)
    assert [line.split()[1] for line in seen] == ["1.0", "2.0", "3.0"]


def test_as_many_requests_are_started_as_finished(client: FlaskClient) -> None:
    for method in ("GET", "HEAD", "OPTIONS", "POST", "BREW"):
        client.open("/recommend/42", method=method)
    for path in ("/recommend/x", "/recommend/", "/health", "/version", "/nothing"):
        client.get(path)
    finished = [
        float(line.rsplit(" ", 1)[1])
        for line in client.get("/metrics").text.splitlines()
        if line.startswith("flask_http_request_duration_seconds_count{")
        and 'url_rule="/recommend/<user_id>"' in line
    ]
    assert float(read_started(client).split()[1]) == sum(finished) > 0


def test_version_and_age_of_the_model_are_metrics(client: FlaskClient) -> None:
    text = client.get("/metrics").text
    assert 'marquee_model_info{model_hash="' in text
    assert 'version="3"} 1.0' in text
    age = next(x for x in text.splitlines() if x.startswith("marquee_model_age_seconds "))
    assert 0 <= float(age.split()[1]) < 3600


def test_probes_are_not_counted(client: FlaskClient) -> None:
    for path in ("/health", "/ready", "/metrics"):
        client.get(path)
    text = client.get("/metrics").text
    assert "/health" not in text
    counts = [x for x in text.splitlines() if x.startswith("flask_http_request_total{")]
    assert counts
    assert all(line.endswith(" 0.0") for line in counts)


def test_an_unknown_method_adds_no_series(client: FlaskClient) -> None:
    assert client.open("/recommend/42", method="BREW").status_code == 405
    assert "BREW" not in client.get("/metrics").text
