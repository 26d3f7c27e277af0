from typing import Any

import pytest

from app.ingest.metadata.parse import (
    match_rows,
    parse_movie,
    parse_number,
    parse_text,
    parse_user,
)


@pytest.mark.parametrize("missing", [None, {}, "null", "", [], "NaN", True, "x", -3, "inf", 1e300])
def test_missing_and_invalid_values_become_null(missing: Any) -> None:
    assert parse_number(missing) is None
    row = parse_movie({"runtime": missing, "vote_count": missing, "genres": missing, "title": {}})
    assert set(row.values()) == {None}


def test_both_editions_of_the_api_give_the_same_row() -> None:
    older = {"runtime": 96, "vote_average": "7.9", "title": "Up", "genres": [{"name": "Animation"}]}
    newer = {**older, "vote_average": 7.9}
    assert parse_movie(older) == parse_movie(newer)
    assert parse_movie({"runtime": 0})["runtime_minutes"] is None
    assert parse_user({"age": "34", "gender": "F"}) == {
        "age": 34,
        "gender": "F",
        "occupation": None,
    }


def test_long_texts_are_cut() -> None:
    assert len(parse_text("x" * 10_000) or "") == 500


ONE, TWO = {"user_id": 1, "age": 3}, {"user_id": 2, "age": 4}


@pytest.mark.parametrize(
    ("ids", "response", "rows"),
    [
        (["1", "2", "3"], [TWO, ONE], {"1": ONE, "2": TWO}),
        (["1", "2"], {"2": TWO}, {"2": TWO}),
        (["1", "2"], [], {}),
        (["1"], ONE, {"1": ONE}),
        (["1"], [ONE], {"1": ONE}),
        (["1"], {"error": "unknown"}, {}),
        (["1", "2"], ONE, None),  # an edition that reads the first id only
        (["1", "2"], "1", None),
    ],
)
def test_rows_are_matched_to_the_requested_ids(ids: list[str], response: Any, rows: Any) -> None:
    assert match_rows(ids, response, ("user_id", "id")) == rows
