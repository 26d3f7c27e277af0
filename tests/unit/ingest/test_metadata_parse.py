from typing import Any

import pytest

from app.ingest.metadata.parse import movie_row, number, pair_up, text, user_row


@pytest.mark.parametrize("nothing", [None, {}, "null", "", [], "NaN", True, "x", -3, "inf", 1e300])
def test_what_says_nothing_is_nothing(nothing: Any) -> None:
    assert number(nothing) is None
    row = movie_row({"runtime": nothing, "vote_count": nothing, "genres": nothing, "title": {}})
    assert set(row.values()) == {None}


def test_both_editions_give_the_same_row() -> None:
    older = {"runtime": 96, "vote_average": "7.9", "title": "Up", "genres": [{"name": "Animation"}]}
    newer = {**older, "vote_average": 7.9}
    assert movie_row(older) == movie_row(newer)
    assert movie_row({"runtime": 0})["length"] is None
    assert user_row({"age": "34", "gender": "F"}) == {"age": 34, "gender": "F", "occupation": None}


def test_long_texts_are_cut() -> None:
    assert len(text("x" * 10_000) or "") == 500


ONE, TWO = {"user_id": 1, "age": 3}, {"user_id": 2, "age": 4}


@pytest.mark.parametrize(
    ("asked", "answer", "found"),
    [
        (["1", "2", "3"], [TWO, ONE], {"1": ONE, "2": TWO}),
        (["1", "2"], {"2": TWO}, {"2": TWO}),
        (["1", "2"], [], {}),
        (["1"], ONE, {"1": ONE}),
        (["1"], [ONE], {"1": ONE}),
        (["1"], {"error": "unknown"}, {}),
        (["1", "2"], ONE, None),  # an edition that read the first alone
        (["1", "2"], "1", None),
    ],
)
def test_rows_go_to_the_ids_asked_for(asked: list[str], answer: Any, found: Any) -> None:
    assert pair_up(asked, answer, ("user_id", "id")) == found
