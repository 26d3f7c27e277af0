from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ingest.errors import IngestError
from app.ingest.line_reader import LineReader
from app.ingest.log_parser import ONE_TO_FIVE, RatingScale
from app.ingest.ratings_csv import REASONS, RatingsTable

Row = tuple[int, str, float, datetime | None]


def read(path: Path, scale: RatingScale = ONE_TO_FIVE) -> tuple[list[Row], Counter[str], int]:
    rows: list[Row] = []
    reasons: Counter[str] = Counter()
    count = 0
    with LineReader(str(path)) as reader:
        for batch in RatingsTable(reader, scale).read_batches():
            rows += batch.ratings.rows()
            reasons += batch.reasons
            count += batch.rows
    return rows, reasons, count


def write_table(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / "ratings.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_rows_of_three_and_four_columns_can_be_mixed(tmp_path: Path) -> None:
    text = "7,up+2009,4\n2023-11-29 01:56:37,8,up+2009,3.5\n,9,up+2009,5\n"
    rows, reasons, count = read(write_table(tmp_path, text))
    assert rows == [
        (7, "up+2009", 4.0, None),
        (8, "up+2009", 3.5, datetime(2023, 11, 29, 1, 56, 37)),
        (9, "up+2009", 5.0, None),
    ]
    assert (reasons, count) == (Counter(), 3)


@pytest.mark.parametrize(
    "text",
    [
        "userId,movieId,rating,timestamp\n7,up+2009,4,1260759144\n",
        "\ufeffuser_id,movie_id,rating,time\r\n7,up+2009,4.0,2009-12-14T02:52:24\r\n",
        '"timestamp","rating","user","extra","movie"\n1260759144,4,"7","a,b","up+2009"\n',
    ],
)
def test_a_header_names_the_columns(tmp_path: Path, text: str) -> None:
    rows, reasons, count = read(write_table(tmp_path, text))
    assert rows == [(7, "up+2009", 4.0, datetime(2009, 12, 14, 2, 52, 24))]
    assert (reasons, count) == (Counter(), 1)


def test_an_incomplete_header_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="the header has no column rating"):
        read(write_table(tmp_path, "userId,movieId,review\n1,2,3\n"))


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2005-09-06", datetime(2005, 9, 6)),
        ("2023-11-29T01:56:37Z", datetime(2023, 11, 29, 1, 56, 37)),
        ("2023-11-29T01:56:37.1234567891234+05:30", datetime(2023, 11, 28, 20, 26, 37, 123456)),
        ("2023-11-29 01:56 -0800", datetime(2023, 11, 29, 9, 56)),
        ("978300760.", datetime(2000, 12, 31, 22, 12, 40)),
        ("978300760123", datetime(2000, 12, 31, 22, 12, 40, 123000)),
        ("978300760123456", datetime(2000, 12, 31, 22, 12, 40, 123456)),
        ("978300760123456789", datetime(2000, 12, 31, 22, 12, 40, 123456)),
        ("2023-11-29T01:56", datetime(2023, 11, 29, 1, 56)),
        ("2023-11-29 01:56:37.1234567", datetime(2023, 11, 29, 1, 56, 37, 123456)),
        ("0", datetime(1970, 1, 1)),
        ("1260759144.25", datetime(2009, 12, 14, 2, 52, 24, 250000)),
    ],
)
def test_times_are_iso_or_seconds(tmp_path: Path, text: str, time: datetime) -> None:
    table = write_table(tmp_path, f"time,user,movie,rating\n{text},7,up+2009,4\n")
    assert read(table)[0][0][3] == time


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("", "fields"),
        ("7,up+2009", "fields"),
        ("1,2,3,4,5", "fields"),
        ("yesterday,7,up+2009,4", "time"),
        ("2023-02-30 00:00:00,7,up+2009,4", "time"),
        ("56R6484,up+2009,4", "user"),
        ("7,,", "movie"),
        ("7,aDdjc1gioFamIk7,4", "movie"),
        ("7,up+2009,", "rating"),
        ("7,up+2009,5.5", "rating"),
        ("7,up+2009,nan", "rating"),
        ("7,up+2009,4x0", "rating"),
    ],
)
def test_a_row_is_rejected_for_the_first_failed_check(
    tmp_path: Path, row: str, reason: str
) -> None:
    rows, reasons, count = read(write_table(tmp_path, f"1,alien+1979,5\n{row}\n"))
    assert len(rows) == 1
    assert (reasons, count) == (Counter({reason: 1}), 2)


def test_a_repairable_row_is_returned_and_counted_as_rejected(tmp_path: Path) -> None:
    rows, reasons, _ = read(write_table(tmp_path, "7,razor back+1984,3\n7,razor back+1984,9\n"))
    assert rows == [(7, "razor back+1984", 3.0, None)]
    assert reasons == Counter(movie=2)


def test_latin_1_is_detected(tmp_path: Path) -> None:
    rows, reasons, _ = read(write_table(tmp_path, "7,amélie+2001,3\n8,up+2009,3\n", "latin-1"))
    assert [row[1] for row in rows] == ["up+2009", "amélie+2001"]
    assert reasons == Counter(movie=1)


def test_half_stars_need_a_scale_that_allows_them(tmp_path: Path) -> None:
    path = write_table(tmp_path, "7,31,0.5\n7,32,4.5\n")
    assert read(path)[1] == Counter(rating=1)
    assert read(path, RatingScale(0.5, 5))[1] == Counter()


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    assert read(write_table(tmp_path, "")) == ([], Counter(), 0)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.text('1,."u+p 2009-é\r\x00', max_size=30) | st.text(max_size=20), min_size=1),
    st.sampled_from(["", "user,movie,rating\n"]),
)
def test_every_row_is_accepted_or_rejected(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], header: str
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    text = header + "\n".join(line.replace("\n", " ") for line in lines) + "\n"
    path = folder / "ratings.csv"
    path.write_bytes(text.encode())
    try:
        rows, reasons, count = read(path)
    except IngestError:  # no order of the columns is plausible: the whole table is refused
        return
    is_skipped = [not line.strip() or line.startswith("#") for line in lines]
    skipped = 0 if header else (is_skipped.index(False) if False in is_skipped else len(lines))
    assert count == len(lines) - skipped
    assert set(reasons) <= set(REASONS)
    assert count - reasons.total() <= len(rows) <= count


def test_the_real_table_is_parsed_with_its_known_errors(shared_data: Path) -> None:
    rows, reasons, count = read(shared_data / "cinematch/ratings.csv")
    assert (len(rows), count) == (37_930, 37_984)
    assert reasons == Counter(fields=3, user=1, movie=59)
    assert sum(row[3] is None for row in rows) == 21_400


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("4.00000000000000000001", 4.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("+4", 4.0),
        ("4.5e0", 4.5),
        ("45E-1", 4.5),
    ],
)
def test_ratings_are_numbers_as_programs_print_them(
    tmp_path: Path, text: str, rating: float
) -> None:
    path = write_table(tmp_path, f"user,movie,rating\n7.0,up+2009,{text}\n")
    assert read(path, RatingScale(0.5, 5))[0] == [(7, "up+2009", rating, None)]


@pytest.mark.parametrize("text", ["4,5", "1e999", "0x4", "4_0", "\u0664", "5" * 5000, "4e", "."])
def test_other_numbers_are_rejected(tmp_path: Path, text: str) -> None:
    path = write_table(tmp_path, f"user;movie;rating\n7;up+2009;{text}\n")
    rows, reasons, _ = read(path)
    assert (rows, reasons) == ([], Counter(rating=1))


def test_escapes_in_a_movie_id_have_one_spelling(tmp_path: Path) -> None:
    rows = "".join(f"{user},caf{e}+2000,4\n" for user, e in enumerate(["%C3%A9", "%c3%a9"], 1))
    found, reasons, _ = read(write_table(tmp_path, f"user,movie,rating\n{rows}3,up+2009,4\n"))
    assert [row[1] for row in found] == ["caf%c3%a9+2000", "caf%c3%a9+2000", "up+2009"]
    assert reasons == Counter()
