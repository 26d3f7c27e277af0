"""Events that followed our own answers, by the records in the database."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import sqlalchemy as sa

from app.fairness.shown_events import Answer, count_shown, join_events, read_answers
from app.provenance.instance_info import compress_movie_ids
from app.provenance.tables import build, catalogue, metadata, reccom

NOON = datetime(2026, 5, 1, 12)


def test_events_within_the_window_after_an_answer_count_once() -> None:
    events = pl.DataFrame(
        {
            "user_id": [1, 1, 1, 2, 3],
            "movie_id": ["a", "b", "c", "a", "a"],
            "time": [NOON + timedelta(hours=h) for h in (1, 30, 2, 3, -1)],
        }
    )
    answers = [
        Answer(1, NOON, 4, ["a", "b"]),
        Answer(1, NOON + timedelta(minutes=30), 5, ["a"]),
        Answer(2, NOON + timedelta(hours=4), 5, ["a"]),
        Answer(9, NOON, 5, ["a"]),
    ]
    found = count_shown(iter(answers), events, timedelta(hours=24))
    # Of 1: a was shown by both versions, b too long before; of 2: shown after it was watched.
    assert found == {"events": 3, "shown": 1, "share": 1 / 3, "by_version": {"5": 1}}
    nothing = count_shown(iter([]), events, timedelta(hours=24))
    assert nothing == {"events": 0, "shown": 0, "share": None, "by_version": {}}


def test_the_first_event_of_a_pair_counts() -> None:
    watches = pl.DataFrame({"user_id": [1, 1], "movie_id": ["a", "b"], "first_time": [NOON, NOON]})
    later = NOON + timedelta(hours=1)
    ratings = pl.DataFrame({"user_id": [1, 2], "movie_id": ["a", "a"], "time": [later, later]})
    joined = join_events(watches, ratings).sort("user_id", "movie_id")
    assert joined.rows() == [(1, "a", NOON), (1, "b", NOON), (2, "a", later)]


def test_answers_are_read_with_the_movie_ids_of_their_model(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/p.db", poolclass=sa.NullPool)
    metadata.create_all(engine)
    hashes = {"model_hash": "h" * 64}
    answered = int(NOON.replace(tzinfo=UTC).timestamp() * 1e6)
    record = {
        "day": 1, "request_id": "r1", "slot": "s", "version_number": 4, "build_id": "b",
        "configuration_id": 1, "answered_at_us": answered, "user_id": 7, "source": "personal",
        "duration_us": 1, "client_gone": False, "is_retry": False,
        "movie_numbers": bytes([1, 0, 0, 0]), "recent_events": None,
    }  # fmt: skip
    with engine.begin() as connection:
        ids = compress_movie_ids(["a", "b"])
        described = {"build_id": "b", "version_number": 4, "git_commit": "c", "image_digest": "d"}
        connection.execute(sa.insert(catalogue).values(**hashes, movie_count=2, movie_ids=ids))
        connection.execute(sa.insert(build).values(**hashes, **described))
        other = {**record, "request_id": "r2", "build_id": "unknown", "version_number": 9}
        connection.execute(sa.insert(reccom), [record, other])
    (answer,) = read_answers(engine, "Europe/Berlin")
    assert answer == Answer(7, NOON + timedelta(hours=2), 4, ["b", "a"])
