import gzip
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from app.ingest.errors import IngestError
from app.ingest.log_parser import RatingScale
from app.ingest.schemas import RATINGS, WATCHES
from app.ingest.training_tables import read_ratings, read_watches


def test_ratings_are_read_from_parquet_or_csv(tmp_path: Path) -> None:
    rows = [(7, "alien+1979", 4.0, None), (7, "up+2009", 3.0, datetime(2023, 1, 1))]
    frame = pl.DataFrame(rows, schema=RATINGS, orient="row")
    frame.write_parquet(tmp_path / "ratings.parquet")
    (tmp_path / "ratings.csv").write_text(
        "2023-01-01 00:00:00,7,up+2009,3\n7,alien+1979,4\n7,up+2009,5\n7,al ien+1979,1\n"
    )
    assert read_ratings(tmp_path / "ratings.parquet").equals(frame)
    assert read_ratings(tmp_path / "ratings.csv").equals(frame)


def test_the_scale_applies_to_a_csv(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("7,31,0.5\n")
    assert read_ratings(tmp_path / "ratings.csv", RatingScale(0.5, 5))["rating"].to_list() == [0.5]
    with pytest.raises(IngestError, match=r"a rating from 1\.0 to 5\.0"):
        read_ratings(tmp_path / "ratings.csv")


def test_ids_in_parquet_have_one_spelling(tmp_path: Path) -> None:
    ratings = pl.DataFrame([(7, "m%C3%a9+2000", 3.0, None)], schema=RATINGS, orient="row")
    ratings.write_parquet(tmp_path / "ratings.parquet")
    assert read_ratings(tmp_path / "ratings.parquet")["movie_id"].to_list() == ["m%c3%a9+2000"]


def test_the_content_decides_whether_a_table_is_parquet(tmp_path: Path) -> None:
    frame = pl.DataFrame([(7, "up+2009", 3.0, None)], schema=RATINGS, orient="row")
    frame.write_parquet(tmp_path / "ratings.CSV")
    (tmp_path / "ratings.dat").write_text("7::up+2009::3\n")
    (tmp_path / "ratings.parquet").write_bytes(gzip.compress(b"user;movie;rating\n7;up+2009;3\n"))
    for name in ("ratings.CSV", "ratings.dat", "ratings.parquet"):
        assert read_ratings(tmp_path / name).equals(frame), name


@pytest.mark.parametrize("year", [1026, 2926])
def test_rows_with_an_impossible_time_are_dropped(tmp_path: Path, year: int) -> None:
    good, bad = datetime(2023, 1, 1), datetime(year, 1, 1)
    rows = [(7, "up+2009", 3.0, good), (8, "up+2009", 4.0, bad), (9, "up+2009", 4.0, None)]
    pl.DataFrame(rows, schema=RATINGS, orient="row").write_parquet(tmp_path / "r.parquet")
    lines = [f"{user},{movie},{rating},{time or ''}" for user, movie, rating, time in rows]
    (tmp_path / "r.csv").write_text("\n".join(["user,movie,rating,time", *lines]))
    for name in ("r.parquet", "r.csv"):
        assert read_ratings(tmp_path / name)["user_id"].to_list() == [7, 9]
    watched = [(7, "up+2009", 3, good, good), (8, "up+2009", 3, good, bad)]
    pl.DataFrame(watched, schema=WATCHES, orient="row").write_parquet(tmp_path / "w.parquet")
    assert read_watches(tmp_path / "w.parquet")["user_id"].to_list() == [7]


def test_a_wrong_table_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "watches.parquet"
    with pytest.raises(IngestError, match="no such file"):
        read_watches(path)
    path.write_bytes(b"PAR1")
    with pytest.raises(IngestError, match="is not a Parquet file"):
        read_watches(path)
    pl.DataFrame(schema=RATINGS).write_parquet(path)
    with pytest.raises(IngestError, match="has no column minutes"):
        read_watches(path)
    pl.DataFrame(schema={**WATCHES, "minutes": pl.Int64}).write_parquet(path)
    with pytest.raises(IngestError, match="column minutes is Int64, not UInt16"):
        read_watches(path)
