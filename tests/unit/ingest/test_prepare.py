from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import polars as pl
import pytest

from app.ingest import prepare
from app.ingest.data_window import DataWindow, ExcludedSpan
from app.ingest.errors import IngestError
from app.ingest.prepare import prepare_tables
from app.ingest.schemas import KEY, RATING_EVENTS, RATINGS, WATCH_EVENTS, WATCHES
from app.ingest.store_reader import open_store
from app.ingest.store_writer import open_writer
from app.ingest.training_tables import read_ratings, read_watches

START = datetime(2022, 11, 14)
NO_RATINGS = pl.DataFrame(schema=RATING_EVENTS)
NO_WATCHES = pl.DataFrame(schema=WATCH_EVENTS)


def watch_events(*rows: tuple[int, str, int, datetime]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=WATCH_EVENTS, orient="row")


def rating_events(*rows: tuple[int, str, float, datetime | None]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=RATING_EVENTS, orient="row")


def write_store(store: Path, *commits: tuple[pl.DataFrame, pl.DataFrame]) -> Path:
    with open_writer(store, buckets=4) as writer:
        for watches, ratings in commits:
            writer.commit(watches, ratings)
    return store


def at(second: int) -> datetime:
    return START + timedelta(seconds=second)


def read_files(folder: Path) -> dict[str, bytes]:
    paths = sorted(folder.rglob("*.parquet"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_tables_are_repaired_and_sorted(tmp_path: Path) -> None:
    popular = [(user, "up+2009", 0, at(0)) for user in range(100, 160)]
    watches = watch_events(
        *popular,
        (20, "up+2009", 1, at(5)),
        (20, "u p+2009", 2, at(3)),
        (3, "upp+2009", 7, at(4)),
        (3, "no where+2009", 7, at(4)),
    )
    ratings = rating_events((20, "up+2009", 3, at(9)), (20, "u p+2009", 5, at(10)))
    summary = prepare_tables(
        write_store(tmp_path / "s", (watches, ratings)), tmp_path / "out", None
    )
    assert summary == {
        "ratings": 1,
        "watches": 62,
        "repaired": 3,
        "dropped": 1,
        "impossible_time": 0,
    }
    table = read_watches(tmp_path / "out/watches.parquet")
    assert table.head(2).rows() == [
        (3, "up+2009", 1, at(4), at(4)),
        (20, "up+2009", 2, at(3), at(5)),
    ]
    assert table.equals(table.sort(KEY))
    assert read_ratings(tmp_path / "out/ratings.parquet").rows() == [(20, "up+2009", 5.0, at(10))]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "ratings.parquet",
        "watches.parquet",
    ]


def test_the_same_events_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "RANGE_ROWS", 1_000)
    random = Random(5)
    rows = [
        (random.randrange(900), f"movie{random.randrange(9)}+2000", random.randrange(9), at(n))
        for n in range(4_000)
    ]
    ratings = rating_events(*((u, m, 1.0 + r % 5, t) for u, m, r, t in rows[::3]))
    write_store(tmp_path / "one", (watch_events(*rows), ratings))
    parts = [(watch_events(*rows[n::5]), ratings[n::5]) for n in (3, 1, 4, 0, 2, 1)]
    write_store(tmp_path / "many", *parts)
    prepare_tables(tmp_path / "one", tmp_path / "first", 0.25)
    prepare_tables(tmp_path / "many", tmp_path / "second", 0.25)
    prepare_tables(tmp_path / "many", tmp_path / "second", 0.25)
    assert len(read_files(tmp_path / "first")) == 6
    assert read_files(tmp_path / "first") == read_files(tmp_path / "second")
    watches = read_watches(tmp_path / "first/watches.parquet")
    assert watches.equals(watches.sort(KEY))
    assert watches.height == len({row[:2] for row in rows})


def test_buckets_that_are_cleaned_together_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(6)
    rows = [
        (
            random.randrange(90),
            f"{random.choice(['a', 'a b c '])}{random.randrange(9)}+2000",
            5,
            at(n),
        )
        for n in range(600)
    ]
    ratings = rating_events(*((u, m, 1.0 + r % 5, t) for u, m, r, t in rows[::3]))
    write_store(tmp_path / "store", (watch_events(*rows), ratings))
    summaries = []
    for rows_at_once, files in ((1, 4), (500, 2), (10_000, 1)):
        monkeypatch.setattr(prepare, "_GROUP_ROWS", rows_at_once)
        with open_store(tmp_path / "store") as snapshot:
            assert len(prepare._group_buckets(snapshot)) == files
        summaries.append(prepare_tables(tmp_path / "store", tmp_path / str(rows_at_once), 0.25))
    assert summaries[0]["dropped"] > 0
    assert summaries[1:] == [summaries[0]] * 2
    expected = read_files(tmp_path / "1")
    assert read_files(tmp_path / "500") == read_files(tmp_path / "10000") == expected


def test_both_tables_are_split_at_one_time(tmp_path: Path) -> None:
    ratings = rating_events(
        *((user, "up+2009", 4.0, at(user)) for user in range(6)),
        *((user, "up+2009", 4.0, None) for user in range(6, 10)),
    )
    watches = watch_events(
        (1, "alien+1979", 0, at(2)), (1, "alien+1979", 1, at(9)), (2, "alien+1979", 0, at(4))
    )
    summary = prepare_tables(write_store(tmp_path / "s", (watches, ratings)), tmp_path / "out", 0.2)
    assert summary["split_time"] == at(4).isoformat()
    assert summary["test"] == {"ratings": 2, "watches": 1}
    assert summary["train"] == {"ratings": 8, "watches": 1}
    test = read_ratings(tmp_path / "out/test/ratings.parquet")
    assert test["user_id"].to_list() == [4, 5]
    assert read_watches(tmp_path / "out/test/watches.parquet")["user_id"].to_list() == [2]
    assert read_watches(tmp_path / "out/train/watches.parquet")["minutes"].to_list() == [2]
    both = [read_ratings(tmp_path / "out" / side / "ratings.parquet") for side in prepare.SIDES]
    assert pl.concat(both).sort(KEY).equals(read_ratings(tmp_path / "out/ratings.parquet"))


def test_without_ratings_the_split_time_comes_from_watches(tmp_path: Path) -> None:
    watches = watch_events(*((user, "up+2009", 0, at(user)) for user in range(10)))
    summary = prepare_tables(
        write_store(tmp_path / "s", (watches, NO_RATINGS)), tmp_path / "out", 0.3
    )
    assert summary["split_time"] == at(7).isoformat()
    assert summary["test"] == {"ratings": 0, "watches": 3}
    assert read_ratings(tmp_path / "out/test/ratings.parquet").schema == pl.Schema(RATINGS)


def test_ratings_without_time_are_never_on_the_test_side(tmp_path: Path) -> None:
    ratings = rating_events((1, "up+2009", 4.0, None), (2, "up+2009", 4.0, at(1)))
    summary = prepare_tables(
        write_store(tmp_path / "s", (NO_WATCHES, ratings)), tmp_path / "out", 0.9
    )
    assert summary["test"] == {"ratings": 1, "watches": 0}
    without_time = write_store(tmp_path / "u", (NO_WATCHES, ratings.head(1)))
    with pytest.raises(IngestError, match="has a time to split by"):
        prepare_tables(without_time, tmp_path / "none", 0.5)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("window", [None, DataWindow(max_time=at(100))])
def test_a_stored_pair_whose_last_time_is_impossible_is_left_out(
    tmp_path: Path, window: DataWindow | None
) -> None:
    future, past = datetime(2926, 1, 1), datetime(1026, 1, 1)
    watches = watch_events(
        *((user, "up+2009", minute, at(user)) for user in (1, 2, 3) for minute in (0, 1)),
        (1, "up+2009", 2, future),
        (3, "up+2009", 2, past),
        (4, "up+2009", 2, past),
    )
    ratings = rating_events(
        (1, "up+2009", 5.0, future), (2, "up+2009", 4.0, at(2)), (3, "up+2009", 4.0, None)
    )
    store = write_store(tmp_path / "s", (watches, ratings))
    summary = prepare_tables(store, tmp_path / "out", None, window)
    assert summary["impossible_time"] == 3  # the pairs of users 1 and 4, and the rating of user 1
    found = read_watches(tmp_path / "out/watches.parquet")
    # A first time that is impossible decides only that the pair is on the side of the training.
    assert found["user_id"].to_list() == [2, 3]
    assert found["last_time"].to_list() == [at(2), at(3)]
    assert read_ratings(tmp_path / "out/ratings.parquet")["user_id"].to_list() == [2, 3]


def test_spans_are_excluded_by_the_time_that_weighs_a_pair(tmp_path: Path) -> None:
    watches = watch_events(
        (1, "up+2009", 0, at(1)),
        (1, "up+2009", 1, at(6)),
        (2, "up+2009", 0, at(6)),
        (2, "up+2009", 1, at(9)),
    )
    window = DataWindow(test_start=at(5), excluded=(ExcludedSpan(after=at(5), until=at(8)),))
    store = write_store(tmp_path / "s", (watches, NO_RATINGS))
    summary = prepare_tables(store, tmp_path / "out", None, window)
    assert summary["excluded"] == 1
    assert read_watches(tmp_path / "out/watches.parquet")["user_id"].to_list() == [2]


def test_an_empty_store_gives_empty_tables(tmp_path: Path) -> None:
    prepare_tables(write_store(tmp_path / "s"), tmp_path / "out", None)
    assert read_watches(tmp_path / "out/watches.parquet").schema == pl.Schema(WATCHES)
    assert read_ratings(tmp_path / "out/ratings.parquet").is_empty()


def test_a_directory_with_other_files_is_not_replaced(tmp_path: Path) -> None:
    store = write_store(tmp_path / "data/store")
    with pytest.raises(IngestError, match=r"holds other files \(store\)"):
        prepare_tables(store, tmp_path / "data", None)
    assert (store / "manifest.json").exists()
