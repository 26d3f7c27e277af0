"""Tables that are read by ranges of users give the same events as those that are read whole."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from app.ingest.errors import IngestError
from app.ingest.schemas import KEY
from app.ingest.training_tables import EventTables, read_ratings, read_watches
from app.training.errors import TrainingError
from app.training.interactions import encode_interactions, encode_parts
from app.training.load import load_interactions
from tests.unit.training.tables import NEWEST, Row, ratings, watches

USERS, MOVIES = 400, 50


def create_rows(seed: int, count: int) -> list[Row]:
    random = np.random.default_rng(seed)
    pairs = np.sort(random.choice(USERS * MOVIES, count, replace=False))
    return [
        (
            int(pair // MOVIES) * 3,
            f"movie+{pair % MOVIES}%3{'Aa'[pair % 2]}",
            int(random.integers(1, 6)),
            None if random.random() < 0.05 else float(random.integers(0, 500)) / 7,
        )
        for pair in pairs.tolist()
    ]


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path]:
    """Ratings and watches, some of an impossible time, a movie id in two spellings."""
    early = (1 + 3 * USERS, "movie+of+no+other+row", 3, 40 * 365.0)
    rated = ratings(*create_rows(1, 6000), early)
    watched = watches(*create_rows(2, 4000))
    found = tmp_path / "ratings.parquet", tmp_path / "watches.parquet"
    for path, table in zip(found, (rated, watched), strict=True):
        table.sort(KEY).write_parquet(path, row_group_size=700)
    return found


def test_ranges_of_users_give_the_same_events_as_whole_tables(paths: tuple[Path, Path]) -> None:
    expected = encode_interactions(read_ratings(paths[0]), read_watches(paths[1]))
    tables = EventTables(*paths)
    assert tables.can_be_split()
    parts = list(tables.read_ranges(1000))
    assert len(parts) > 5
    found = encode_parts(parts, tables.rows, tables.read_movie_ids())
    assert found.describe() == expected.describe()
    assert found.movies == expected.movies
    assert "movie+of+no+other+row" not in found.movies


@pytest.mark.parametrize("missing", [0, 1])
def test_one_table_is_enough(paths: tuple[Path, Path], missing: int) -> None:
    given = [None if number == missing else path for number, path in enumerate(paths)]
    expected = encode_interactions(
        None if given[0] is None else read_ratings(given[0]),
        None if given[1] is None else read_watches(given[1]),
    )
    found = load_interactions(given[0], given[1], (1, 5))
    assert found.describe() == expected.describe()


def test_tables_in_another_order_are_read_whole(paths: tuple[Path, Path]) -> None:
    expected = load_interactions(*paths, (1, 5)).describe()
    pl.read_parquet(paths[0]).sample(fraction=1, shuffle=True, seed=3).write_parquet(paths[0])
    assert not EventTables(*paths).can_be_split()
    assert load_interactions(*paths, (1, 5)).describe() == expected


def test_a_row_without_a_user_is_an_error(paths: tuple[Path, Path]) -> None:
    table = pl.read_parquet(paths[0])
    table = table.with_columns(user_id=pl.when(pl.col("user_id") != 9).then("user_id"))
    table.write_parquet(paths[0])
    with pytest.raises(TrainingError, match="a row without user_id"):
        load_interactions(*paths, (1, 5))


def test_a_damaged_file_is_an_error(paths: tuple[Path, Path]) -> None:
    paths[0].write_bytes(paths[0].read_bytes()[:-2000])
    with pytest.raises(IngestError, match="not a Parquet file"):
        load_interactions(*paths, (1, 5))


def test_a_table_without_rows_is_an_error(tmp_path: Path) -> None:
    ratings().write_parquet(tmp_path / "r.parquet")
    with pytest.raises(TrainingError, match="no events"):
        load_interactions(tmp_path / "r.parquet", None, (1, 5))


def test_users_and_pairs_are_split_into_ranges_that_cover_them() -> None:
    data = encode_interactions(ratings(*create_rows(4, 3000)), None)
    data = replace(data, block_pairs=50)
    ranges = list(data.split_users(2))
    assert [first for first, _ in ranges[1:]] == [last for _, last in ranges[:-1]]
    assert (ranges[0][0], ranges[-1][1]) == (0, len(data.users))
    assert all(data.start[last] - data.start[first] <= 100 for first, last in ranges)
    single = replace(data, block_pairs=1)
    assert list(single.split_users()) == [(user, user + 1) for user in range(len(data.users))]
    assert {pairs.stop - pairs.start for pairs in data.split_pairs()} == {50}
    assert sum(pairs.stop - pairs.start for pairs in data.split_pairs()) == len(data.movie)
    assert data.find_users(np.arange(len(data.movie))).tolist() == data.user.tolist()


def test_the_newest_time_is_that_of_all_ranges(paths: tuple[Path, Path]) -> None:
    table = pl.read_parquet(paths[0])
    last = (pl.col("user_id") == 9).fill_null(value=False)
    later = NEWEST + timedelta(days=2)
    table.with_columns(time=pl.when(last).then(later).otherwise("time")).cast(
        {"time": pl.Datetime("us")}
    ).write_parquet(paths[0])
    assert load_interactions(*paths, (1, 5)).newest == later


def test_active_users_have_a_pair_of_at_most_that_age() -> None:
    data = encode_interactions(
        ratings((1, "a", 3, 9), (1, "b", 3, 2), (2, "a", 3, 9), (3, "b", 3, None), (4, "a", 3, 0)),
        None,
    )
    active = data.find_active_users(2)
    assert active.tolist() == [True, False, False, True]
    selected, pairs = data.select_users(active)
    assert selected.users.tolist() == [1, 4]
    assert selected.start.tolist() == [0, 2, 3]
    assert selected.movie.tolist() == [0, 1, 0]
    assert pairs.tolist() == [True, True, False, False, True]
    assert encode_interactions(ratings((1, "a", 3, None)), None).find_active_users(1).all()
