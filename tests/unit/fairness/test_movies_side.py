"""Exposure of movies by decade, genre and popularity."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from app.fairness.movies_side import classify_movies, describe_exposure, read_movies
from app.fairness.params import FairnessParams

PARAMS = FairnessParams(min_users=30, resamples=200, significance=0.05)
MOVIES = ["alien+1979", "the+matrix+1999", "2001+a+space+odyssey+1968", "endeavour+"]


def test_movies_are_classified_by_metadata_and_id() -> None:
    metadata = pl.DataFrame(
        {
            "movie_id": ["alien+1979", "endeavour+"],
            "release_date": ["1980-01-02", None],
            "genres": ["Horror|Drama", None],
        }
    )
    classes = classify_movies(MOVIES, np.array([9, 1, 1, 1]), metadata)
    decades = {name: own.tolist() for name, own in classes["decade"].items()}
    assert decades["1980s"] == [True, False, False, False], "the date counts before the id"
    assert decades["1960s"] == [False, False, True, False]
    assert decades["unknown"] == [False, False, False, True]
    assert sorted(classes["genre"]) == ["Drama", "Horror", "unknown"]
    assert "genre" not in classify_movies(MOVIES, np.ones(4, int), None)


def test_exposure_is_described_with_its_share_of_watches() -> None:
    shown = np.array([[0, 1]] * 60 + [[0, -1]] * 40)
    users = np.array([50, 30, 20, 0])
    classes = classify_movies(MOVIES, users, None)
    side = describe_exposure(shown, users, classes, PARAMS, seed=1)
    assert side["never_shown"] == 0.5
    assert side["gini"] == pytest.approx((60 + 3 * 100) / (4 * 160))
    rows = {row["class"]: row for row in side["by_class"]["decade"]}
    seventies = rows["1970s"]
    assert seventies["watched"] == 0.5
    assert seventies["shown"]["value"] == pytest.approx(0.6 * 0.5 + 0.4)
    assert seventies["shown"]["low"] < 0.7 < seventies["shown"]["high"]
    assert seventies["shown_to_watched"] == pytest.approx(1.4)
    assert rows["unknown"]["shown_to_watched"] is None, "it was never watched"
    assert 0.5 <= side["similarity"]["value"] <= 1


def test_the_bands_of_popularity_cover_all_movies_once() -> None:
    users = np.random.default_rng(1).integers(0, 9, 250)
    bands = classify_movies([f"m+{n}+1999" for n in range(250)], users, None)["popularity"]
    assert [int(own.sum()) for own in bands.values()] == [2, 23, 100, 125]
    assert np.all(sum(own.astype(int) for own in bands.values()) == 1)


def test_a_store_without_metadata_has_none(tmp_path: Path) -> None:
    assert read_movies(tmp_path / "movies.parquet") is None
