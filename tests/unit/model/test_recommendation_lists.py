from collections.abc import Iterator
from pathlib import Path

import pytest

from app.model.recommendation_lists import RecommendationLists
from tests.conftest import MOVIES, write_lists


def movies(text: str) -> list[str]:
    return text.split(",")


def test_a_known_user_gets_the_personal_list(shared_model: Path) -> None:
    found = RecommendationLists.open(shared_model).get(42)
    assert found.source == "personal"
    assert movies(found.text) == MOVIES[1:21]


def test_an_unknown_user_gets_the_popular_movies(shared_model: Path) -> None:
    found = RecommendationLists.open(shared_model).get(43)
    assert found.source == "popular"
    assert movies(found.text) == MOVIES[::-1][:20]


def test_an_unknown_user_with_a_known_segment_gets_its_popular_movies(shared_model: Path) -> None:
    found = RecommendationLists.open(shared_model).get(500)
    assert found.source == "popular"
    assert movies(found.text) == MOVIES[10:30]


@pytest.mark.parametrize("user", [0, 6, 8, 10**18 - 1, 2**63 - 1])
def test_ids_between_and_beyond_the_known_ones_are_unknown_users(
    shared_model: Path, user: int
) -> None:
    assert RecommendationLists.open(shared_model).get(user).source == "popular"


def test_a_user_who_has_seen_nearly_all_movies_gets_a_short_list(shared_model: Path) -> None:
    assert movies(RecommendationLists.open(shared_model).get(7).text) == MOVIES[:3]


def test_hidden_movies_are_replaced_and_never_recommended(shared_model: Path) -> None:
    hidden = MOVIES[1:46]  # leaves 5 of the 50 of user 42
    lists = RecommendationLists.open(shared_model, hidden=hidden)
    for user in (42, 43, 500, 1000):
        found = movies(lists.get(user).text)
        expected = min(20, len(MOVIES) - len(hidden))
        assert len(found) == expected == len(set(found))
        assert not set(found) & set(hidden)


def test_hidden_movies_are_replaced_from_the_rest_of_the_stored_list(shared_model: Path) -> None:
    lists = RecommendationLists.open(shared_model, hidden=MOVIES[:10])
    assert movies(lists.get(42).text) == MOVIES[10:30]


def test_a_hidden_id_may_have_its_escapes_in_either_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.conftest.MOVIES", ["m%c3%a9+2000", *MOVIES[1:]])
    model = write_lists(tmp_path / "model")
    lists = RecommendationLists.open(model, hidden=["m%C3%A9+2000", "n%C3+2000"])
    assert movies(lists.get(7).text)[0] == MOVIES[1]
    assert lists.unknown_hidden_ids == ["n%C3+2000"]


def test_hidden_ids_that_the_model_does_not_contain_are_listed(shared_model: Path) -> None:
    lists = RecommendationLists.open(shared_model, hidden=["no+such+movie+1900", MOVIES[0]])
    assert lists.unknown_hidden_ids == ["no+such+movie+1900"]


def test_only_as_many_popular_movies_as_needed_are_compared(
    shared_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cost does not grow with the catalogue: 35 ms a request with 27,000 movies otherwise."""

    class Popular(list[int]):
        compared = 0

        def __iter__(self) -> Iterator[int]:
            for number in super().__iter__():
                Popular.compared += 1
                yield number

    lists = RecommendationLists.open(shared_model, length=6, hidden=MOVIES[1:46])
    monkeypatch.setattr(lists, "_popular", Popular(lists._popular))
    assert movies(lists.get(42).text) == [*MOVIES[46:51], MOVIES[59]]
    assert Popular.compared == 1
