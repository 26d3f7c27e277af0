from datetime import datetime
from pathlib import Path

import polars as pl

from app.ingest.schemas import RATING_EVENTS, WATCH_EVENTS
from app.ingest.store_stats import describe_store
from app.ingest.store_writer import open_writer

NOON = datetime(2022, 11, 14, 12)


def test_store_contents_are_counted(tmp_path: Path) -> None:
    events = [(user, "up+2009", minute, NOON) for user in range(60) for minute in (1, 2)]
    events += [(3, "u p+2009", 9, NOON), (3, "No Movie", 9, NOON)]
    watches = pl.DataFrame(events, schema=WATCH_EVENTS, orient="row")
    rating = pl.DataFrame([(99, "alien+1979", 5.0, NOON)], schema=RATING_EVENTS, orient="row")
    with open_writer(tmp_path) as writer:
        writer.commit(watches, rating, {"movielog-0": {"topic": "x", "offset": 17}})
    stats = describe_store(tmp_path)
    assert stats.pop("bytes") > 0
    assert stats == {
        "pairs": 62,
        "ratings": 1,
        "minutes": 122,
        "users": 61,
        "movies": 2,
        "repaired_ids": 1,
        "unrepairable_ids": 1,
        "newest": "2022-11-14T12:00:00",
        "files": {"watches": 1, "ratings": 1},
        "offsets": {"movielog-0": 17},
    }
