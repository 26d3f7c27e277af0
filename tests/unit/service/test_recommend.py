from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.service.application import create_app
from app.service.recommend import new_request_id
from app.settings import Settings
from tests.conftest import MOVIES


@pytest.fixture(scope="module")
def app(shared_model: Path) -> Flask:
    return create_app(Settings(model_dir=shared_model, slot="stable-1"))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_the_body_is_one_line_of_movie_ids(client: FlaskClient) -> None:
    response = client.get("/recommend/42")
    assert response.status_code == 200
    assert response.content_type == "text/plain; charset=utf-8"
    assert response.text == ",".join(MOVIES[1:21])


def test_headers_name_version_source_and_slot(client: FlaskClient) -> None:
    headers = client.get("/recommend/42").headers
    assert headers["X-Model-Version"] == "3"
    assert headers["X-Recommendation-Source"] == "personal"
    assert headers["X-Slot"] == "stable-1"


def test_an_unknown_user_gets_popular_movies(client: FlaskClient) -> None:
    response = client.get("/recommend/43")
    assert response.headers["X-Recommendation-Source"] == "popular"
    assert response.text == ",".join(MOVIES[::-1][:20])


def test_the_request_id_of_the_edge_is_returned(client: FlaskClient) -> None:
    response = client.get("/recommend/42", headers={"X-Request-Id": "17f3.edge-1"})
    assert response.headers["X-Request-Id"] == "17f3.edge-1"


@pytest.mark.parametrize("bad", ["", "a b", "x" * 65, "é", "a\tb"])
def test_an_invalid_request_id_is_replaced(client: FlaskClient, bad: str) -> None:
    request_id = client.get("/recommend/42", headers={"X-Request-Id": bad}).headers["X-Request-Id"]
    assert len(request_id) == 24
    assert request_id != bad


def test_request_ids_sort_by_time() -> None:
    ids = [new_request_id() for _ in range(1000)]
    assert [i[:16] for i in ids] == sorted(i[:16] for i in ids)
    assert len(set(ids)) == 1000


@pytest.mark.parametrize(
    "path",
    [
        "/recommend/abc",
        "/recommend/-1",
        "/recommend/+1",
        "/recommend/1.5",
        "/recommend/1e5",
        "/recommend/0x10",
        "/recommend/1_000",
        "/recommend/%2042",
        "/recommend/42%0a",
        "/recommend/42%00",
        "/recommend/%00",
        "/recommend/%ff%fe",
        "/recommend/%EF%BC%94%EF%BC%92",  # full-width digits
        "/recommend/%D9%A4",  # Arabic-Indic digit
        "/recommend/" + "9" * 19,
        "/recommend/" + "9" * 4000,
    ],
)
def test_an_invalid_user_id_is_a_bad_request(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 400
    assert response.content_type == "application/problem+json"
    assert response.json is not None
    assert response.json["status"] == 400


@pytest.mark.parametrize(
    "path",
    [
        "/recommend",
        "/recommend/",
        "/recommend/42/",
        "/recommend/4%2F2",
        "//recommend/42",
        "/",
        "/x",
    ],
)
def test_an_unknown_path_is_not_found(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert response.content_type == "application/problem+json"


def test_the_largest_user_id_is_accepted(client: FlaskClient) -> None:
    assert client.get("/recommend/" + "9" * 18).status_code == 200


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
def test_other_methods_are_refused_with_an_allow_header(client: FlaskClient, method: str) -> None:
    response = getattr(client, method)("/recommend/42")
    assert response.status_code == 405
    assert "GET" in response.headers["Allow"]
    assert response.content_type == "application/problem+json"
