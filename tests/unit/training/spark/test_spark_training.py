"""What tasks compute for blocks of users is what one machine computes for all of them.

The tasks run in this process; tests/integration/spark runs them on Spark.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from app.ingest.training_tables import EventTables
from app.spark.cluster import ignore_report
from app.training.errors import TrainingError
from app.training.fit import FittedModels
from app.training.interactions import Interactions, encode_interactions, sort_movie_ids
from app.training.ranking.als import fit_als
from app.training.ranking.confidence import compute_confidence, to_matrix
from app.training.ranking.ease import fit_ease
from app.training.ranking.popularity import compute_popularity, resolve_auto
from app.training.ranking.recency import compute_recency
from app.training.ranking.transitions import fit_transitions
from app.training.spark import blocks as block_module
from app.training.spark import mllib, sums
from app.training.spark.blocks import Data, gather_blocks, read_blocks, weigh_blocks
from app.training.spark.lists import BlockLists
from app.training.spark.sums import Sums
from app.training.top_n import SeenMovies, fill_lists
from tests.support.params import make_params
from tests.support.spark import SequentialCluster

SCALE = (1.0, 5.0)
USERS, MOVIES = 700, 60
PARAMS = make_params(
    ease={"max_movies": 40},
    blend={"als": 1, "ease": 0.7, "transitions": 0.3, "popularity": 0.2, "svd": 0},
    lists={"block_size": 16, "depth": 10},
)


class Case:
    """The same events on one machine and as blocks."""

    def __init__(self, directory: Path, with_times: bool = True) -> None:
        random = np.random.default_rng(5)
        user, movie = np.nonzero(random.random((USERS, MOVIES)) < 0.3)
        microseconds = random.integers(0, 300 * 86_400_000_000, len(user))
        time = pl.Series([datetime(2022, 11, 1)] * len(user), dtype=pl.Datetime("us"))
        table = pl.DataFrame(
            {
                "user_id": user.astype(np.int64) * 7,
                "movie_id": [f"movie+{number}+1999" for number in movie],
                "time": time + pl.Series(microseconds).cast(pl.Duration("us")),
            }
        ).with_columns(
            # Some of the events have no time.
            time=pl.when((pl.int_range(pl.len()) % 11 > 0) & with_times).then("time")
        )
        is_rated = random.random(len(table)) < 0.5
        is_watched = ~is_rated | (random.random(len(table)) < 0.2)
        self.ratings = table.filter(pl.Series(is_rated)).select(
            "user_id",
            "movie_id",
            pl.Series("rating", random.integers(1, 6, int(is_rated.sum())).astype(np.float32)),
            "time",
        )
        self.watches = table.filter(pl.Series(is_watched)).select(
            "user_id",
            "movie_id",
            pl.Series("minutes", random.integers(0, 99, int(is_watched.sum())).astype(np.uint16)),
            first_time="time",
            last_time="time",
        )
        self.events = encode_interactions(self.ratings, self.watches)
        self.confidence = compute_confidence(self.events, PARAMS.confidence, SCALE)
        self.matrix = to_matrix(self.events, self.confidence)
        self.recency = compute_recency(self.events, PARAMS.recency.half_life_events)
        self._build_blocks(directory)

    def _build_blocks(self, directory: Path) -> None:
        self.ratings.write_parquet(directory / "ratings.parquet")
        self.watches.write_parquet(directory / "watches.parquet")
        self.cluster = SequentialCluster()
        tables = EventTables(directory / "ratings.parquet", directory / "watches.parquet")
        self.movies = sort_movie_ids(tables.read_movie_ids())
        scratch = directory / "scratch"
        scratch.mkdir()
        self.blocks, newest = read_blocks(
            self.cluster,
            tables,
            self.movies,
            scratch,
            ignore_report,
        )
        self.data = Data(scratch, len(self.movies), newest, None)
        self.oldest = weigh_blocks(
            self.cluster,
            self.data,
            self.blocks,
            PARAMS,
            SCALE,
            ignore_report,
        )
        self.sums = Sums(
            self.cluster,
            self.data,
            self.blocks,
            self.oldest,
            ignore_report,
        )


@pytest.fixture(scope="module", autouse=True)
def small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_module, "_MIN_ROWS", 1500)
        patch.setattr(sums, "_MIN_GROUPS", 3)
        patch.setattr("app.spark.cluster._SLICE", 700)
        yield


@pytest.fixture(scope="module")
def case(small_blocks: None, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(tmp_path_factory.mktemp("case"))


def assert_equal(found: Interactions, expected: Interactions) -> None:
    assert found.describe() == expected.describe()


def test_the_pairs_of_all_blocks_are_those_of_the_tables(case: Case) -> None:
    assert len(case.blocks) > 4
    assert [b.first_user for b in case.blocks[1:]] == [
        b.first_user + b.users for b in case.blocks[:-1]
    ]
    events, confidence, recency = gather_blocks(case.data, case.blocks, case.movies, ignore_report)
    assert_equal(events, case.events)
    np.testing.assert_array_equal(confidence, case.confidence)
    np.testing.assert_array_equal(recency, case.recency)


def test_mllib_reads_the_pairs_that_have_any_confidence(case: Case) -> None:
    table = pl.read_parquet(case.data.directory / block_module.CONFIDENCE / "*.parquet")
    found = table.sort("user", "movie")
    rows = np.repeat(np.arange(len(case.events.users)), np.diff(case.matrix.indptr))
    np.testing.assert_array_equal(found["user"], rows)
    np.testing.assert_array_equal(found["movie"], case.matrix.indices)
    np.testing.assert_array_equal(found["confidence"], case.matrix.data)


def test_counts_are_those_of_one_machine(case: Case) -> None:
    params = resolve_auto(PARAMS, case.events)
    assert case.sums.resolve_auto(PARAMS) == params
    popularity = compute_popularity(case.events, params.popularity)
    np.testing.assert_allclose(case.sums.compute_popularity(params.popularity), popularity)
    counts, pairs = case.sums.count_movies()
    ease, expected = case.sums.fit_ease(counts, params), fit_ease(case.matrix, params.ease)
    np.testing.assert_array_equal(ease.movies, expected.movies)
    np.testing.assert_allclose(ease.weights, expected.weights, atol=1e-5)
    found = case.sums.fit_transitions(counts, pairs, params)
    one = fit_transitions(case.events, case.matrix, params.transitions, params.ease.max_movies)
    assert found is not None
    assert one is not None
    np.testing.assert_array_equal(found.movies, one.movies)
    np.testing.assert_allclose(found.weights, one.weights, rtol=1e-5)


def test_the_newest_pairs_are_found_exactly(case: Case) -> None:
    ages = np.nan_to_num(case.events.age_days, nan=case.oldest)
    assert case.sums._find_cut() == np.quantile(ages, 0.1)


@pytest.mark.parametrize("active_days", ["all", 20.0])
def test_lists_are_those_of_one_machine(case: Case, active_days: object, tmp_path: Path) -> None:
    params = resolve_auto(PARAMS, case.events)
    lists = params.lists.model_copy(update={"active_days": active_days})
    params = params.model_copy(update={"lists": lists})
    models = FittedModels(
        confidence=case.confidence,
        matrix=case.matrix,
        recency=case.recency,
        popularity=compute_popularity(case.events, params.popularity),
        svd=None,
        als=fit_als(case.matrix, params.als, 0),
        ease=fit_ease(case.matrix, params.ease),
        transitions=fit_transitions(case.events, case.matrix, params.transitions, 40),
    )
    events = case.events
    data = Data(tmp_path, case.data.movies, case.data.newest_us, None)
    (tmp_path / "blocks").symlink_to(case.data.directory / "blocks")
    block_lists = BlockLists(data, case.blocks)
    block_lists.compute(case.cluster, models, params, ignore_report)
    if active_days != "all":
        active = events.find_active_users(20.0)
        assert 0 < active.sum() < len(active)
        events, pairs = events.select_users(active)
        models = models.select_users(active, pairs)
    shape = (len(events.users), 10)
    expected, found = np.empty(shape, np.uint16), np.empty(shape, np.uint16)
    scores = np.empty(shape, np.float16)
    scorer = models.build_scorer(events, params)
    fill_lists(expected, scorer, SeenMovies(events.start, events.movie), 16)
    done: list[int] = []
    block_lists.fill(found, scores, done.append)
    assert sum(done) == len(events.users)
    assert (found == expected).mean() > 0.999  # where rounding orders equal scores otherwise
    assert scores.max() > 0


def test_events_without_times(tmp_path: Path) -> None:
    case = Case(tmp_path, with_times=False)
    assert np.isnan(case.oldest)
    assert_equal(gather_blocks(case.data, case.blocks, case.movies, ignore_report)[0], case.events)
    assert case.sums.resolve_auto(PARAMS) == resolve_auto(PARAMS, case.events)
    counts, pairs = case.sums.count_movies()
    assert case.sums.fit_transitions(counts, pairs, PARAMS) is None
    popularity = case.sums.compute_popularity(case.sums.resolve_auto(PARAMS).popularity)
    np.testing.assert_array_equal(popularity, pairs)


def test_mllib_has_one_exponent() -> None:
    mllib.check_params(PARAMS.als)
    with pytest.raises(TrainingError, match=r"als\.exponent is 0\.5"):
        mllib.check_params(make_params(als={"exponent": 0.5}).als)
