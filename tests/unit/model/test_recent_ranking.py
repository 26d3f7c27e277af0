from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from app.model.recent_ranking import RankedMovies, RecentRanking
from app.model.recommendation_lists import RecommendationLists, movie_number_dtype
from app.recent_events import RecentEvent, to_seconds
from tests.conftest import MOVIES, write_lists
from tests.support.recent import NEWEST, add_recent_parts, make_recent_params

NOW = to_seconds(datetime.fromisoformat(NEWEST)) + 86_400
HOUR = 3600.0


def watched(movie: int, hours_ago: float = 0, minutes: int = 60) -> RecentEvent:
    return RecentEvent(movie, minutes, None, NOW - hours_ago * HOUR)


def rated(movie: int, rating: float, hours_ago: float = 0) -> RecentEvent:
    return RecentEvent(movie, 0, rating, NOW - hours_ago * HOUR)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_recent_parts(write_lists(tmp_path_factory.mktemp("recent") / "model"))


def open_ranking(model: Path, hidden: tuple[str, ...] = ()) -> RecentRanking:
    ranking = RecommendationLists.open(model, hidden=hidden, verify=True).recent
    assert ranking is not None
    return ranking


@pytest.fixture(scope="module")
def ranking(model: Path) -> RecentRanking:
    return open_ranking(model)


def rank(ranking: RecentRanking, user: int, *events: RecentEvent, n: int = 20) -> RankedMovies:
    return ranking.rank(user, events, NOW, n)


def test_an_unknown_user_gets_what_goes_with_the_movie_just_watched(ranking: RecentRanking) -> None:
    found = rank(ranking, 43, watched(30))
    assert found.movies == [31, 32, 33, 34, *range(59, 43, -1)]
    assert [(used.movie, used.weight) for used in found.used] == [(30, 1)]


def test_a_known_user_gets_a_blend_with_the_own_list(ranking: RecentRanking) -> None:
    # Movie 1 begins the user's list; 59 was seen in training.
    assert rank(ranking, 42, watched(56)).movies[:4] == [57, 58, 1, 2]


def test_no_movie_is_recommended_that_was_watched_or_seen_in_training(
    ranking: RecentRanking,
) -> None:
    found = rank(ranking, 42, watched(30), rated(31, 1), watched(1), n=60)
    assert len(found.movies) == len(set(found.movies)) == 55
    assert not {0, 59, 30, 31, 1} & set(found.movies)


def test_hidden_movies_are_replaced(model: Path) -> None:
    ranking = open_ranking(model, hidden=(MOVIES[31], MOVIES[59]))
    assert rank(ranking, 43, watched(30)).movies == [32, 33, 34, *range(58, 41, -1)]


def test_a_low_rating_is_no_recommendation(ranking: RecentRanking) -> None:
    found = rank(ranking, 43, rated(30, 2))
    assert found.used == []
    assert found.movies == [*range(59, 39, -1)]


@pytest.mark.parametrize(
    ("event", "weight"),
    [
        (rated(30, 5), 1),
        (rated(30, 3), 0.75),
        (rated(30, 2.1), 0.5 + 0.5 * 1.1 / 4),
        (RecentEvent(30, 60, 3, NOW), 0.75),  # the rating takes precedence
        (watched(30, minutes=500), 1),
        (watched(30, minutes=5), np.log(6) / np.log(61)),
        (watched(30, hours_ago=24), 0.5),
        (watched(30, hours_ago=72), 0.25),
        (watched(30, hours_ago=-2), 1),  # a clock that is ahead
    ],
)
def test_ratings_minutes_and_age_give_the_weight(
    ranking: RecentRanking, event: RecentEvent, weight: float
) -> None:
    assert [used.weight for used in rank(ranking, 43, event).used] == pytest.approx([weight])


def test_the_weight_halves_for_every_so_many_later_movies(ranking: RecentRanking) -> None:
    used = rank(ranking, 43, *(watched(movie) for movie in range(20))).used
    assert [u.movie for u in used] == [*range(16)]  # max_movies
    assert [u.weight for u in used[:9:4]] == pytest.approx([1, 0.5, 0.25])


@pytest.mark.parametrize(
    "event",
    [watched(-1), watched(60), watched(30, minutes=0), watched(30, hours_ago=24 * 1000)],
    ids=["unknown movie", "movie of another model", "nothing watched", "long ago"],
)
def test_events_without_effect_leave_the_list_as_it_is(
    ranking: RecentRanking, event: RecentEvent
) -> None:
    found = rank(ranking, 42, event)
    assert found.used == []
    assert found.movies == [movie for movie in range(1, 22) if movie != event.movie][:20]


def test_events_that_the_list_rests_on_have_no_effect(ranking: RecentRanking) -> None:
    before = [RecentEvent(movie, 60, None, NOW - 30 * HOUR) for movie in (0, 30)]
    assert [used.movie for used in ranking.rank(42, before, NOW, 20).used] == [30]


def test_a_user_with_a_segment_gets_its_popular_movies(ranking: RecentRanking) -> None:
    # The segment's list begins with 10, 11, ...: movies that are not popular among all.
    assert rank(ranking, 500, watched(30)).movies[:7] == [31, 32, 33, 34, 10, 11, 12]


def test_a_user_who_has_seen_nearly_everything_gets_the_rest(ranking: RecentRanking) -> None:
    assert rank(ranking, 7, watched(1)).movies == [2, 0]


def test_more_recent_movies_than_the_margin_do_not_shorten_the_list(
    ranking: RecentRanking,
) -> None:
    events = [watched(movie) for movie in range(10, 50)]
    found = rank(ranking, 43, *events)
    assert sorted(found.movies) == [*range(10), *range(50, 60)]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_the_order_is_that_of_a_plain_computation(known: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    count, dtype = 300, movie_number_dtype(300)
    params = make_recent_params(list_few=0.3, popularity_few=0.2, half_life_hours=5)
    own = random.permutation(count)[:50]
    scores = np.sort(random.random(50).astype(np.float16))[::-1]
    seen = np.setdiff1d(random.permutation(count)[:60], own)
    related = np.stack([random.permutation(count)[:30] for _ in range(count)])
    weights = np.sort(random.random((count, 30)).astype(np.float32), axis=1)[:, ::-1]
    popularity = random.random(count).astype(np.float32)
    arrays = {
        "users": np.array([5]),
        "lists": own[None, :].astype(dtype),
        "list_scores": scores[None, :],
        "popular": np.argsort(-popularity).astype(dtype),
        "popularity": popularity,
        "seen_start": np.array([0, len(seen)]),
        "seen_movies": seen.astype(dtype),
        "related_movies": related.astype(dtype),
        "related_weights": weights,
        "segment_users": np.empty(0, np.int64),
        "segment_of": np.empty(0, np.uint8),
        "segment_popular": np.empty((0, 50), dtype),
    }
    events = [rated(int(m), float(random.integers(1, 6)), i) for i, m in enumerate(own[:12])]
    ranking = RecentRanking(arrays, params, (1, 5), hidden=[int(own[20])])
    found = ranking.rank(5 if known else 6, events, NOW, 40)
    used = dict(found.used)
    plain = np.zeros(count)
    for movie, weight in used.items():
        plain[related[movie]] += weight * weights[movie] / sum(w**2 for w in used.values()) ** 0.5
    total = sum(used.values())
    plain += popularity * (params.popularity + (0 if known else params.popularity_few / total))
    if known:
        plain[own] += scores * (params.list + params.list_few / total)
        plain[seen] = -np.inf
    plain[[own[20], *(event.movie for event in events)]] = -np.inf
    assert len(set(found.movies)) == 40
    assert np.diff(plain[found.movies]).max() < 1e-5
    left = np.delete(plain, found.movies)
    assert left.max() < plain[found.movies[-1]] + 1e-5
    assert found == ranking.rank(5 if known else 6, events, NOW, 40)


def test_a_model_without_the_parts_has_no_ranking(shared_model: Path) -> None:
    assert RecommendationLists.open(shared_model, verify=True).recent is None
