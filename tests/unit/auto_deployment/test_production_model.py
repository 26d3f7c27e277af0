"""Which model is in production, its files, and the events that it has not seen."""

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from pytest_httpserver import HTTPServer

from app.auto_deployment.errors import DeploymentError
from app.auto_deployment.production_model import (
    ProductionModel,
    fetch_model,
    get_production_version,
    write_unseen_events,
)
from app.ingest.schemas import RATINGS, WATCHES, conform
from app.model.manifest import read_manifest
from tests.conftest import MOVIES, USERS
from tests.unit.auto_deployment.conftest import NEWEST, VersionRepository, write_model

UNREACHABLE = "http://127.0.0.1:1"


def test_the_first_instance_that_answers_names_the_version(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/broken/version").respond_with_data("an error", status=500)
    httpserver.expect_request("/version").respond_with_json({"version": 7})
    broken, good = httpserver.url_for("/broken"), httpserver.url_for("/")
    assert get_production_version(f"{UNREACHABLE},{broken},{good}") == 7


@pytest.mark.parametrize(
    ("urls", "reason"), [("", "MARQUEE_SERVICE_URLS is empty"), (UNREACHABLE, UNREACHABLE)]
)
def test_without_an_answer_the_version_is_unknown(urls: str, reason: str) -> None:
    with pytest.raises(DeploymentError, match=reason):
        get_production_version(urls)


def test_the_model_of_a_tagged_version_is_fetched(
    repository: VersionRepository, tmp_path: Path
) -> None:
    fetch_model(repository.tree, 2, tmp_path / "production")
    production = fetch_model(repository.tree, 3, tmp_path / "production")
    assert list((tmp_path / "production").iterdir()) == [production.path], "the older one is gone"
    assert (production.version, production.newest) == (3, datetime.fromisoformat(NEWEST))
    assert read_manifest(production.path / "lists", "lists").version == 3


def test_a_fetch_that_was_killed_is_repeated(repository: VersionRepository, tmp_path: Path) -> None:
    directory = tmp_path / "production"
    model = fetch_model(repository.tree, 3, directory).path
    (directory / "leftover").mkdir()
    for path in model.rglob("*.npy"):  # the largest file was not complete, others did not arrive
        path.unlink()
    (model / "lists" / "lists.npy").write_bytes(b"\x93NUMPY")
    assert read_manifest(fetch_model(repository.tree, 3, directory).path / "lists", "lists")
    assert list(directory.iterdir()) == [model]


def test_a_version_without_a_tag_has_no_model(
    repository: VersionRepository, tmp_path: Path
) -> None:
    with pytest.raises(DeploymentError, match="there is no tag version-9"):
        fetch_model(repository.tree, 9, tmp_path / "production")


def test_pairs_that_the_model_was_trained_on_are_left_out(tmp_path: Path) -> None:
    write_model(tmp_path / "model", 3)  # in which every user has seen the first movie
    time = datetime(2026, 5, 2)
    ratings = {"user_id": [USERS[0], USERS[0], 5], "movie_id": [MOVIES[0], MOVIES[1], MOVIES[0]],
               "rating": [5, 4, 3], "time": [time] * 3}  # fmt: skip
    watches = {"user_id": USERS[1:2], "movie_id": MOVIES[:1], "minutes": [9],
               "first_time": [time], "last_time": [time]}  # fmt: skip
    conform(pl.DataFrame(ratings), RATINGS).write_parquet(tmp_path / "ratings.parquet")
    conform(pl.DataFrame(watches), WATCHES).write_parquet(tmp_path / "watches.parquet")
    production = ProductionModel(3, tmp_path / "model", time)
    assert write_unseen_events(production, tmp_path, tmp_path / "unseen") == 2
    unseen = pl.read_parquet(tmp_path / "unseen" / "ratings.parquet")
    assert unseen["rating"].to_list() == [4, 3]
    assert pl.read_parquet(tmp_path / "unseen" / "watches.parquet").is_empty()
