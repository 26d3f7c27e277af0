from pathlib import Path

import pytest
from flask import Flask

from app.model.manifest import ArtifactError
from app.model.recommendation_lists import RecommendationLists
from app.service.application import create_app
from app.settings import Settings
from tests.conftest import MOVIES


@pytest.fixture
def app(shared_model: Path) -> Flask:
    return create_app(Settings(model_dir=shared_model, slot="canary"))


def test_health_ready_and_version(app: Flask) -> None:
    client = app.test_client()
    assert client.get("/health").json == {"status": "alive"}
    assert client.get("/ready").json == {"status": "ready", "version": 3}
    version = client.get("/version").json
    assert version is not None
    assert (version["version"], version["slot"], version["movies"]) == (3, "canary", 60)
    assert len(version["model_hash"]) == 64


def test_openapi_describes_every_route(app: Flask) -> None:
    described = app.test_client().get("/openapi.json").json
    assert described is not None
    routes = {str(rule).replace("<user_id>", "{user_id}") for rule in app.url_map.iter_rules()}
    assert set(described["paths"]) == routes


def test_openapi_describes_the_errors_of_nginx(app: Flask) -> None:
    described = app.test_client().get("/openapi.json").json
    assert described is not None
    for path, operations in described["paths"].items():
        responses = operations["get"]["responses"]
        assert {"400", "413", "414", "429", "503", "504"} <= responses.keys(), path
        is_internal = path in ("/metrics", "/ready", "/version")
        assert not is_internal or "404" in responses


def test_a_missing_model_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such model directory"):
        create_app(Settings(model_dir=tmp_path / "none"))


def test_hidden_movies_are_never_recommended(shared_model: Path) -> None:
    settings = Settings(model_dir=shared_model, hidden_movies=f"{MOVIES[1]}, {MOVIES[59]}\n")
    client = create_app(settings).test_client()
    assert client.get("/recommend/42").text.split(",") == MOVIES[2:22]
    assert client.get("/recommend/43").text.split(",") == MOVIES[:59][::-1][:20]


@pytest.mark.parametrize("path", ["/recommend/42?profiling=false", "/recommend/77"])
def test_without_profiling_everyone_gets_the_same_popular_movies(
    shared_model: Path, path: str
) -> None:
    # User 42 has a list, and 500 a segment; 77 is on the list of users without a profile.
    settings = Settings(
        model_dir=shared_model, unprofiled_users="77,\n 500", hidden_movies=MOVIES[59]
    )
    client = create_app(settings).test_client()
    popular = MOVIES[:59][::-1][:20]
    response = client.get(path)
    assert response.text.split(",") == popular
    assert response.headers["X-Recommendation-Source"] == "general"
    assert client.get("/recommend/500").text.split(",") == popular
    assert client.get("/recommend/42").headers["X-Recommendation-Source"] == "personal"
    for query in ("profiling=true", "other=1"):
        assert client.get(f"/recommend/42?{query}").text.split(",") == MOVIES[1:21]
    for query in ("profiling=", "profiling=no", "profiling=true&profiling=1"):
        assert client.get(f"/recommend/42?{query}").status_code == 400, query


def test_a_list_without_profiling_is_made_again_from_its_record(shared_model: Path) -> None:
    lists = RecommendationLists.open(shared_model)
    assert lists.remake(42, "general", b"") == lists.general
    assert lists.general.source == "general"
    assert lists.general.movie_numbers != lists.get(42).movie_numbers


def test_list_length_sets_the_number_of_movies(shared_model: Path) -> None:
    client = create_app(Settings(model_dir=shared_model, list_length=5)).test_client()
    assert client.get("/recommend/42").text.split(",") == MOVIES[1:6]


def test_an_uncaught_exception_is_logged_and_returned_as_a_problem(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(user_id: str) -> str:
        raise RuntimeError("a fault")

    app.view_functions["recommend.recommend"] = fail
    response = app.test_client().get("/recommend/42")
    assert response.status_code == 500
    assert response.content_type == "application/problem+json"
    assert "a fault" not in response.text
    (record,) = (record for record in caplog.records if record.exc_info)
    assert "/recommend/42" in record.getMessage()
