from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from app.ingest.retention import drop_expired_rows
from app.ingest.schemas import RATING_EVENTS, WATCH_EVENTS
from app.ingest.store_reader import open_store
from app.ingest.store_writer import open_writer

from .contents import contents

NOON = datetime(2022, 11, 14, 12)


def watched(days: int, *users: int, movie: str = "up+2009") -> pl.DataFrame:
    rows = [(user, movie, days, NOON + timedelta(days=days)) for user in users]
    return pl.DataFrame(rows, schema=WATCH_EVENTS, orient="row")


def rated(day: int | None, *users: int) -> pl.DataFrame:
    time = None if day is None else NOON + timedelta(days=day)
    rows = [(user, "up+2009", 4.0, time) for user in users]
    return pl.DataFrame(rows, schema=RATING_EVENTS, orient="row")


def test_what_is_older_than_the_newest_by_so_many_days_goes(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        writer.commit(watched(0, *range(50)), rated(0, 1, 2), {"movielog-0": 7})
        writer.commit(watched(0, 200, movie="alien+1979"), rated(None, 3))
        writer.commit(watched(40, 200, *range(100, 150), movie="alien+1979"), rated(40, 4))
        assert drop_expired_rows(writer, 50) == 0
        assert drop_expired_rows(writer, 30) == 52
        assert writer.manifest.offsets == {"movielog-0": 7}
        assert drop_expired_rows(writer, 30) == 0
    watches, ratings = contents(tmp_path)
    assert watches["user_id"].to_list() == [*range(100, 150), 200]
    # A pair that was seen again keeps what was seen of it before.
    assert watches["minutes"].to_list()[-1] == [0, 40]
    assert ratings["user_id"].to_list() == [3, 4]  # without a time, without an age


def test_all_is_kept_unless_days_are_set(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        writer.commit(watched(0, 1), rated(0, 1))
        writer.commit(watched(3000, 2), rated(3000, 2))
        assert drop_expired_rows(writer, 0) == 0
    assert contents(tmp_path)[0].height == 2


def test_one_line_from_the_far_future_drops_nothing(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        writer.commit(watched(0, *range(200)), rated(0, 1))
        writer.commit(watched(9000, 7), rated(0, 1))
        assert drop_expired_rows(writer, 30) == 0


def test_an_emptied_table_has_no_files(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        writer.commit(watched(90, *range(200)), rated(0, 1))
        assert drop_expired_rows(writer, 30) == 1
        assert writer.manifest.ratings == ()
    assert [file.name for file in tmp_path.glob("ratings*")] == []
    with open_store(tmp_path) as view:
        assert all(view.read_ratings(bucket).is_empty() for bucket in view.buckets)
