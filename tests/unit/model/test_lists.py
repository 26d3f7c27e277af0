from pathlib import Path

import pytest

from app.model.lists import RecommendationLists
from tests.conftest import FILMS


def films(text: str) -> list[str]:
    return text.split(",")


def test_a_known_user_gets_the_best_films_of_the_own_list(shared_model: Path) -> None:
    answer = RecommendationLists.open(shared_model).answer(42)
    assert answer.source == "personal"
    assert films(answer.text) == FILMS[1:21]


def test_a_stranger_gets_the_popular_films(shared_model: Path) -> None:
    answer = RecommendationLists.open(shared_model).answer(43)
    assert answer.source == "popular"
    assert films(answer.text) == FILMS[::-1][:20]


def test_a_stranger_of_a_known_segment_gets_its_popular_films(shared_model: Path) -> None:
    answer = RecommendationLists.open(shared_model).answer(500)
    assert answer.source == "popular"
    assert films(answer.text) == FILMS[10:30]


@pytest.mark.parametrize("user", [0, 6, 8, 10**18 - 1, 2**63 - 1])
def test_ids_around_and_beyond_the_known_ones_are_strangers(shared_model: Path, user: int) -> None:
    assert RecommendationLists.open(shared_model).answer(user).source == "popular"


def test_a_user_who_has_seen_nearly_all_gets_what_is_left(shared_model: Path) -> None:
    assert films(RecommendationLists.open(shared_model).answer(7).text) == FILMS[:3]


def test_hidden_films_are_never_answered_and_the_list_stays_full(shared_model: Path) -> None:
    hidden = FILMS[1:46]  # leaves 5 of user 42's fifty
    lists = RecommendationLists.open(shared_model, hidden=hidden)
    for user in (42, 43, 500, 1000):
        answer = films(lists.answer(user).text)
        expected = min(20, len(FILMS) - len(hidden))
        assert len(answer) == expected == len(set(answer))
        assert not set(answer) & set(hidden)


def test_hiding_ten_films_leaves_twenty(shared_model: Path) -> None:
    lists = RecommendationLists.open(shared_model, hidden=FILMS[:10])
    assert films(lists.answer(42).text) == FILMS[10:30]


def test_a_hidden_film_that_is_not_in_the_model_is_named(shared_model: Path) -> None:
    lists = RecommendationLists.open(shared_model, hidden=["no+such+film+1900", FILMS[0]])
    assert lists.unknown_hidden == ["no+such+film+1900"]
