"""Delimiter, header and order of columns are recognised, or refused where they are not clear."""

import pytest

from app.ingest.errors import IngestError
from app.ingest.log_parser import RatingScale
from app.ingest.table_layout import Layout, find_layout

SCALE = RatingScale(1, 5)


def layout(text: str, scale: RatingScale = SCALE) -> Layout:
    return find_layout("table", text.splitlines(), scale)


def columns(found: Layout, width: int) -> dict[str, int]:
    """Return the column of each field that is read."""
    return {field: column for column, field in enumerate(found.orders[width]) if field}


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "::", "|"])
@pytest.mark.parametrize("names", ["userId,movieId,rating,timestamp", ""])
def test_the_delimiter_is_recognised(delimiter: str, names: str) -> None:
    rows = [names] * bool(names) + ["1,1193,5,978300760", "2,661,3,978302109"]
    found = layout("\n".join(row.replace(",", delimiter) for row in rows))
    assert found.delimiter == delimiter
    assert columns(found, 4) == {"user": 0, "movie": 1, "rating": 2, "time": 3}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("user_id:token,item_id:token,rating:float", {"user": 0, "movie": 1, "rating": 2}),
        (
            "CustomerID,MovieID,Rating,Date",
            {"user": 0, "movie": 1, "rating": 2, "time": 3},
        ),
        ("overall,reviewerID,asin,unixReviewTime", {"rating": 0, "user": 1, "movie": 2, "time": 3}),
        ("Stars, Movie Id ,comment,User-ID", {"rating": 0, "movie": 1, "user": 3}),
        ('"ts","score","item","uid"', {"time": 0, "rating": 1, "movie": 2, "user": 3}),
    ],
)
def test_columns_are_recognised_by_real_spellings(header: str, expected: dict[str, int]) -> None:
    found = layout(f"{header}\n")
    assert columns(found, header.count(",") + 1) == expected
    assert found.skipped_lines == 1


def test_blank_lines_and_comments_before_the_first_row_are_skipped() -> None:
    assert layout("\n# exported\n \nuser,movie,rating\n1,2,3\n").skipped_lines == 4
    assert layout("# exported\n1,2,3\n").skipped_lines == 1


@pytest.mark.parametrize(
    ("row", "time", "user"),
    [
        ("978300760,1,1193,5", 0, 1),
        ("2023-11-29 01:56:37,1,up+2009,3.5", 0, 1),
        ("1,up+2009,4,2005-09-06", 3, 0),
        ("1,1193,5,978300760123", 3, 0),
        ("1.0,1193,5,978300760", 3, 0),
    ],
)
def test_without_a_header_the_time_is_first_or_last(row: str, time: int, user: int) -> None:
    found = columns(layout(f"{row}\n"), 4)
    assert (found["time"], found["user"]) == (time, user)


def test_a_few_damaged_rows_do_not_hide_the_order() -> None:
    rows = ["1,2,4,978300760"] * 6 + ["", "x,y", "1,2,9,978300760", "N1,2,4,z"]
    assert columns(layout("\n".join(rows)), 4)["time"] == 3


def test_rows_that_are_plausible_in_two_orders_are_an_error() -> None:
    wide = RatingScale(0, 2e9)
    with pytest.raises(IngestError, match="add a header with the names user, movie, rating"):
        layout("978300760,978300761,978300762,978300763\n", wide)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("user,movie,note", "no column rating"),
        ("user,genre,note", "no column movie and no column rating"),
        ("user,movie,item,rating", "the columns movie and item could both be the movie"),
        (
            "user,movie,rating,date,timestamp",
            "the columns date and timestamp could both be the time",
        ),
    ],
)
def test_an_unclear_header_is_an_error(header: str, message: str) -> None:
    with pytest.raises(IngestError, match=message):
        layout(f"{header}\n1,2,3,4,5\n")


def test_a_column_that_looks_like_a_time_and_is_not_read_is_reported() -> None:
    text = "user,movie,rating,reviewed\n1,2,3,2005-09-06\n1,3,3,2005-09-07\n"
    assert layout(text).ignored_time == "reviewed"
    assert layout(text.replace("reviewed", "date")).ignored_time is None
    assert layout("user,movie,rating,pages\n1,2,3,120\n").ignored_time is None


@pytest.mark.parametrize(
    "row",
    [
        "1,4,1193",  # the rating is not last
        "1,1193,978300760,5",  # the time is neither first nor last
        "up+2009,7,4",
        "1,1193,5,1234",  # the time is in 1970
        "1,1193,9",
        "1234567890123456789,1193,4",
    ],
)
def test_a_table_without_header_of_which_no_order_is_plausible_is_an_error(row: str) -> None:
    with pytest.raises(IngestError, match="a header with the names user, movie, rating and time"):
        layout(f"{row}\n" * 3)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("movieId,person,rating", "no column user"),
        ("person,film,mark", "the first row has no values, and names no column"),
    ],
)
def test_a_header_with_unknown_names_is_not_taken_for_a_row(header: str, message: str) -> None:
    with pytest.raises(IngestError, match=message):
        layout(f"{header}\n1193,1,5\n661,1,3\n")


def test_texts_may_contain_other_delimiters() -> None:
    text = "user;movie;rating;note\n1;2;3;a, b, c, d\n2;2;3;e, f, g, h\n".replace("note", "a,b,c,d")
    assert layout(text).delimiter == ";"
