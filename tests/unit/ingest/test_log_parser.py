import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ingest.log_parser import (
    REASONS,
    Account,
    Event,
    InvalidLine,
    Rating,
    RatingScale,
    Recommendation,
    Watch,
    parse_line,
)

NOON = datetime(2022, 11, 14, 12, 24)


def to_case(event: Event | InvalidLine) -> dict[str, Any]:
    """Return an event in the format of `lines.jsonl`."""
    if isinstance(event, InvalidLine):
        return {"event": None, "reason": event.reason}
    fields = event._asdict() | {"event": type(event).__name__.lower()}
    if isinstance(event, Recommendation):
        fields["movie_ids"] = list(event.movie_ids)
    return fields


def test_the_documented_lines_are_parsed(shared_data: Path) -> None:
    for text in (shared_data / "movielog/lines.jsonl").read_text().splitlines():
        expected = json.loads(text)
        line = expected.pop("line")
        if "time" in expected:
            expected["time"] = datetime.fromisoformat(expected["time"])
        assert to_case(parse_line(line)) == expected, line


def test_a_time_without_seconds_is_valid() -> None:
    assert parse_line("2022-11-14T12:24,7,GET /data/m/up+2009/0.mpg") == Watch(
        NOON, 7, "up+2009", 0
    )


@pytest.mark.parametrize(
    ("fraction", "microsecond"),
    [("1", 100000), ("184", 184000), ("122692999", 122692), ("000000001", 0)],
)
def test_a_fraction_is_cut_to_microseconds(fraction: str, microsecond: int) -> None:
    event = parse_line(f"2022-11-14T12:24:00.{fraction},7,GET /create_account")
    assert event == Account(NOON.replace(microsecond=microsecond), 7)


@pytest.mark.parametrize(
    "time",
    [
        "2022-02-30T12:24:00",
        "2022-11-14T24:00:00",
        "2022-11-14T12:24:60",
        "2022-11-14T12:24:00.",
        "2022-11-14T12:24:00.1234567890",
        "2022-11-14T12:24:00Z",
        "2022-11-14T12",
        "0000-11-14T12:24",
        "٢٠٢٢-11-14T12:24",
    ],
)
def test_an_invalid_time_is_rejected(time: str) -> None:
    assert parse_line(f"{time},7,GET /create_account") == InvalidLine("time")


def test_user_ids_have_at_most_18_digits() -> None:
    last = "9" * 18
    assert parse_line(f"2022-11-14T12:24,{last},GET /create_account") == Account(NOON, int(last))
    for user in (last + "9", "٣", "-1", ""):
        assert parse_line(f"2022-11-14T12:24,{user},GET /create_account") == InvalidLine("user")


def test_ratings_outside_the_scale_are_rejected() -> None:
    line = "2022-11-14T12:24,7,GET /rate/up+2009=9"
    assert parse_line(line) == InvalidLine("rating")
    assert parse_line(line, RatingScale(1, 10)) == Rating(NOON, 7, "up+2009", 9)


def test_the_first_failed_check_is_the_reason() -> None:
    line = "x,x,GET /data/m/X/x.mpg"
    valid = ["2022-11-14T12:24", "7"]
    assert parse_line(line) == InvalidLine("time")
    assert parse_line(f"{valid[0]},x,GET /data/m/X/x.mpg") == InvalidLine("user")
    assert parse_line(",".join([*valid, "PUT /data/m/X/x.mpg"])) == InvalidLine("request")
    assert parse_line(",".join([*valid, "GET /data/m/X/x.mpg"])) == InvalidLine("movie")
    assert parse_line(",".join([*valid, "GET /rate/X=x"])) == InvalidLine("movie")


def test_an_id_with_one_inserted_character_gives_a_repairable_event() -> None:
    for movie in ("u p+2009", "Up+2009", "%%3a", "%3xa", "up,+2009", "u/p+2009"):
        event = parse_line(f"2022-11-14T12:24,7,GET /data/m/{movie}/3.mpg")
        assert event == InvalidLine("movie", Watch(NOON, 7, movie, 3))
    rating = parse_line("2022-11-14T12:24,7,GET /rate/u p+2009=3")
    assert rating == InvalidLine("movie", Rating(NOON, 7, "u p+2009", 3))


def test_an_unrepairable_id_gives_no_event() -> None:
    for movie in ("", "X", "aDdjc1gioFamIk7", "x" * 201, "u p+2009" + "x" * 300):
        event = parse_line(f"2022-11-14T12:24,7,GET /data/m/{movie}/3.mpg")
        assert event == InvalidLine("movie"), movie


def test_a_failed_recommendation_has_no_movies() -> None:
    line = "2022-11-14T12:24,7,recommendation request h:1, status 0, result: a.B: late, x, 815 ms"
    assert parse_line(line) == Recommendation(NOON, 7, 0, (), 815)


@given(
    st.text(st.characters(exclude_categories=()), max_size=300)
    | st.text("0129-T:,GET /datamr=+.pg", max_size=80)
)
def test_parse_line_never_raises(line: str) -> None:
    event = parse_line(line)
    assert not isinstance(event, InvalidLine) or event.reason in REASONS


@pytest.mark.parametrize("escape", ["%C3%A9", "%c3%a9", "%C3%a9"])
def test_escapes_in_a_movie_id_have_one_spelling(escape: str) -> None:
    time = "2019-09-06T09:47:37"
    rating = parse_line(f"{time},11,GET /rate/la+moiti{escape}+2000=3")
    watch = parse_line(f"{time},11,GET /data/m/la+moiti{escape}+2000/3.mpg")
    request = "recommendation request host:8082, status 200, result:"
    response = parse_line(f"{time},11,{request} up+2009, la+moiti{escape}+2000, 5 ms")
    expected = "la+moiti%c3%a9+2000"
    assert isinstance(rating, Rating)
    assert isinstance(watch, Watch)
    assert isinstance(response, Recommendation)
    assert (rating.movie_id, watch.movie_id, response.movie_ids[1]) == (expected,) * 3


@pytest.mark.parametrize("movie", ["Up+2009", "up%C+2009", "up%G0+2009", "UP%c3+2009"])
def test_upper_case_elsewhere_is_still_invalid(movie: str) -> None:
    assert isinstance(parse_line(f"2019-09-06T09:47,1,GET /rate/{movie}=3"), InvalidLine)
