from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from app.ingest.retention import drop_expired_rows
from app.ingest.schemas import RATING_EVENTS, WATCH_EVENTS
from app.ingest.store_reader import open_store
from app.ingest.store_writer import open_writer
from tests.support.store_contents import read_store

NOON = datetime(2022, 11, 14, 12)


def watches(day: int, *users: int, movie: str = "up+2009") -> pl.DataFrame:
    rows = [(user, movie, day, NOON + timedelta(days=day)) for user in users]
    return pl.DataFrame(rows, schema=WATCH_EVENTS, orient="row")


def ratings(day: int | None, *users: int) -> pl.DataFrame:
    time = None if day is None else NOON + timedelta(days=day)
    rows = [(user, "up+2009", 4.0, time) for user in users]
    return pl.DataFrame(rows, schema=RATING_EVENTS, orient="row")


def test_rows_older_than_the_newest_event_by_the_limit_are_dropped(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        writer.commit(watches(0, *range(50)), ratings(0, 1, 2), {"movielog-0": 7})
        writer.commit(watches(0, 200, movie="alien+1979"), ratings(None, 3))
        writer.commit(watches(40, 200, *range(100, 150), movie="alien+1979"), ratings(40, 4))
        assert drop_expired_rows(writer, 50) == 0
        assert drop_expired_rows(writer, 30) == 52
        assert writer.manifest.offsets == {"movielog-0": 7}
        assert drop_expired_rows(writer, 30) == 0
    stored_watches, stored_ratings = read_store(tmp_path)
    assert stored_watches["user_id"].to_list() == [*range(100, 150), 200]
    # A row with a new minute keeps its old minutes.
    assert stored_watches["minutes"].to_list()[-1] == [0, 40]
    assert stored_ratings["user_id"].to_list() == [3, 4]  # a rating without a time has no age


def test_zero_days_keep_all_rows(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        writer.commit(watches(0, 1), ratings(0, 1))
        writer.commit(watches(3000, 2), ratings(3000, 2))
        assert drop_expired_rows(writer, 0) == 0
    assert read_store(tmp_path)[0].height == 2


def test_one_event_in_the_far_future_drops_nothing(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        writer.commit(watches(0, *range(200)), ratings(0, 1))
        writer.commit(watches(9000, 7), ratings(0, 1))
        assert drop_expired_rows(writer, 30) == 0


def test_a_table_without_rows_has_no_segments(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        writer.commit(watches(90, *range(200)), ratings(0, 1))
        assert drop_expired_rows(writer, 30) == 1
        assert writer.manifest.ratings == ()
    assert [file.name for file in tmp_path.glob("ratings*")] == []
    with open_store(tmp_path) as snapshot:
        assert all(snapshot.read_ratings(b).is_empty() for b in snapshot.buckets)
