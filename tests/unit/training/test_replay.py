from datetime import datetime, timedelta
from math import log2
from pathlib import Path

import polars as pl
import pytest

from app.model.recommendation_lists import RecommendationLists
from app.training.interactions import Interactions, encode_interactions
from app.training.replay import LAGS, make_replay_log, replay, replay_model
from tests.conftest import MOVIES, write_lists
from tests.support.recent import add_recent_parts

START = datetime(2026, 5, 2)
#: User, movie number, seconds from `START`. User 42 is known, 5 and 6 are not. What goes with movie
#: 30 are 31 to 34; 59 is the most popular one.
EVENTS = [
    (5, 30, 0.0),
    (5, 31, 1.0),
    (5, 33, 1.5),
    (5, 59, 4000.0),
    (6, 59, 2.0),
    (6, 20, 3.0),
    (42, 1, 5.0),
    (42, 59, 6.0),
]


def held_out(events: list[tuple[int, int, float]], timed: bool = True) -> Interactions:
    names = [*MOVIES, "unknown+movie+2026"]
    rows = {
        "user_id": [user for user, _, _ in events],
        "movie_id": [names[movie] for _, movie, _ in events],
        "rating": [5.0] * len(events),
        "time": [START + timedelta(seconds=seconds) for _, _, seconds in events],
    }
    table = pl.DataFrame(rows, schema_overrides={"time": pl.Datetime("us")})
    if not timed:
        table = table.with_columns(time=pl.lit(None, pl.Datetime("us")))
    return encode_interactions(table, None)


NUMBERS = {name: number for number, name in enumerate(MOVIES)}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_recent_parts(write_lists(tmp_path_factory.mktemp("replay") / "model"))


@pytest.fixture(scope="module")
def lists(model: Path) -> RecommendationLists:
    return RecommendationLists.open(model)


def positions(
    lists: RecommendationLists, lag: float | None, events: list[tuple[int, int, float]] = EVENTS
) -> list[int]:
    found: list[int] = replay(
        lists, make_replay_log(held_out(events), NUMBERS), lag
    ).position.tolist()
    return found


def test_an_event_is_known_once_it_is_older_than_the_lag(lists: RecommendationLists) -> None:
    # Of user 5: nothing is known, 30, 30 alone (31 is 0.5 s old), all three.
    assert positions(lists, 1)[:4] == [-1, 0, 2, 5]
    # After an hour only the last one has a past: the five movies that go with 30, 31 and 33 and
    # were not watched come before the most popular one.
    assert positions(lists, 3600)[:4] == [-1, -1, -1, 5]


def test_without_recent_events_the_stored_lists_are_evaluated(lists: RecommendationLists) -> None:
    assert positions(lists, None) == [-1, -1, -1, 0, 0, -1, 0, -1]


def test_a_movie_seen_in_training_or_unknown_is_a_miss(lists: RecommendationLists) -> None:
    assert positions(lists, 1)[-1] == -1
    assert positions(lists, 1, [(5, 60, 0.0), (5, 59, 9.0)]) == [-1, 0]


def test_events_are_counted_by_user_and_movies_known(lists: RecommendationLists) -> None:
    outcome = replay(lists, make_replay_log(held_out(EVENTS), NUMBERS), 1)
    assert outcome.known.tolist() == [False] * 6 + [True] * 2
    assert outcome.movies.tolist() == [0, 1, 1, 3, 0, 1, 2, 3]
    summary = outcome.summarize()
    gains = [1.0, 1 / log2(4), 1 / log2(7), 1.0, 1.0]
    assert summary["hit_rate"] == 5 / 8
    assert summary["ndcg"] == pytest.approx(sum(gains) / 8)
    assert summary["known"] == {"events": 2, "hit_rate": 0.5, "ndcg": 0.5}
    assert summary["unknown"]["events"] == 6
    assert [group["events"] for group in summary["by_movies"]] == [2, 3, 1, 2, 0, 0]
    assert summary["by_movies"][5] == {
        "movies": [10, None], "events": 0, "hit_rate": None, "ndcg": None
    }  # fmt: skip


def test_a_draw_evaluates_some_events_and_knows_all(lists: RecommendationLists) -> None:
    events = held_out(EVENTS)
    every = replay(lists, make_replay_log(events, NUMBERS), 1)
    some = make_replay_log(events, NUMBERS, max_events=3, seed=1)
    assert some.evaluated.sum() == 3
    assert replay(lists, some, 1).position.tolist() == every.position[some.evaluated].tolist()


def test_only_the_kept_movies_are_left_out(lists: RecommendationLists) -> None:
    events = [(5, movie, float(movie)) for movie in range(40, 60)] + [(5, 39, 100.0)]
    log = make_replay_log(held_out(events), NUMBERS)
    for kept, older, is_found in ((20, 0, True), (2, 0, False), (2, 18, True)):
        position = replay(lists, log, 1, kept, older).position[-1]
        assert (position >= 0) == is_found, (kept, older)


def test_older_movies_have_no_other_effect(lists: RecommendationLists) -> None:
    log = make_replay_log(held_out([(5, movie, float(movie)) for movie in range(30, 60)]), NUMBERS)
    assert lists.recent is not None
    events = log.events[0][:20][::-1]
    expected = lists.recent.rank(5, events[:4], events[0].time + 1, 60).movies
    watched = {event.movie for event in events}
    found = replay(lists, log, 1, 4, 16)
    shown = [movie for movie in expected if movie not in watched][:20]
    assert found.position[20] == (shown.index(50) if 50 in shown else -1)
    assert found.position[20] >= 0


def test_a_model_is_replayed_with_every_lag(model: Path) -> None:
    result = replay_model(model, held_out(EVENTS))
    assert result is not None
    assert [lag["lag_seconds"] for lag in result["lags"]] == list(LAGS)
    assert result["ndcg"] == pytest.approx(sum(lag["ndcg"] for lag in result["lags"]) / 5)
    assert result["uses_recent_events"]
    assert result["without_recent_events"]["hit_rate"] == 3 / 8


def test_a_model_without_the_parts_is_replayed_with_its_lists(shared_model: Path) -> None:
    result = replay_model(shared_model, held_out(EVENTS))
    assert result is not None
    assert not result["uses_recent_events"]
    assert {lag["hit_rate"] for lag in result["lags"]} == {3 / 8}


def test_events_without_times_have_no_replay(model: Path) -> None:
    assert replay_model(model, held_out(EVENTS, timed=False)) is None
