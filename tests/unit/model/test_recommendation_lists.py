from pathlib import Path

import pytest

from app.model.recommendation_lists import RecommendationLists
from tests.conftest import MOVIES


def movies(text: str) -> list[str]:
    return text.split(",")


def test_a_known_user_gets_the_best_movies_of_the_own_list(shared_model: Path) -> None:
    answer = RecommendationLists.open(shared_model).answer(42)
    assert answer.source == "personal"
    assert movies(answer.text) == MOVIES[1:21]


def test_a_stranger_gets_the_popular_movies(shared_model: Path) -> None:
    answer = RecommendationLists.open(shared_model).answer(43)
    assert answer.source == "popular"
    assert movies(answer.text) == MOVIES[::-1][:20]


def test_a_stranger_of_a_known_segment_gets_its_popular_movies(shared_model: Path) -> None:
    answer = RecommendationLists.open(shared_model).answer(500)
    assert answer.source == "popular"
    assert movies(answer.text) == MOVIES[10:30]


@pytest.mark.parametrize("user", [0, 6, 8, 10**18 - 1, 2**63 - 1])
def test_ids_around_and_beyond_the_known_ones_are_strangers(shared_model: Path, user: int) -> None:
    assert RecommendationLists.open(shared_model).answer(user).source == "popular"


def test_a_user_who_has_seen_nearly_all_gets_what_is_left(shared_model: Path) -> None:
    assert movies(RecommendationLists.open(shared_model).answer(7).text) == MOVIES[:3]


def test_hidden_movies_are_never_answered_and_the_list_stays_full(shared_model: Path) -> None:
    hidden = MOVIES[1:46]  # leaves 5 of user 42's fifty
    lists = RecommendationLists.open(shared_model, hidden=hidden)
    for user in (42, 43, 500, 1000):
        answer = movies(lists.answer(user).text)
        expected = min(20, len(MOVIES) - len(hidden))
        assert len(answer) == expected == len(set(answer))
        assert not set(answer) & set(hidden)


def test_hiding_ten_movies_leaves_twenty(shared_model: Path) -> None:
    lists = RecommendationLists.open(shared_model, hidden=MOVIES[:10])
    assert movies(lists.answer(42).text) == MOVIES[10:30]


def test_a_hidden_movie_that_is_not_in_the_model_is_named(shared_model: Path) -> None:
    lists = RecommendationLists.open(shared_model, hidden=["no+such+movie+1900", MOVIES[0]])
    assert lists.unknown_hidden == ["no+such+movie+1900"]
