"""Recent activity for the servers: each user has watched eight movies, or only others have."""

import shutil
from contextlib import closing
from pathlib import Path

import numpy as np

from app.recent_activity.table_format import StoredEvent, StoredMovies, TableLayout
from app.recent_activity.table_writer import create_table, open_table
from app.recent_events import KEPT_MOVIES, OLDER_MOVIES, to_seconds
from bench.requests.model import BUILD, MAX_USER_ID, NEWEST, RECENT_USERS, Ids, movie_ids

WATCHED_MOVIES = 8
_NAN = float("nan")


def make_files(model: Path, movies: int) -> dict[str, Path]:
    """Make both files anew; return the directory of each by the name of its server."""
    known = np.load(model / "lists" / "users.npy", mmap_mode="r")[:RECENT_USERS]
    unknown = np.arange(MAX_USER_ID, MAX_USER_ID + len(known))
    directory = BUILD / f"recent-{model.name}"
    shutil.rmtree(directory, ignore_errors=True)
    names = movie_ids(movies)
    return {
        "marquee-recent": _make_file(directory / "everybody", known, names),
        "marquee": _make_file(directory / "others", unknown, names),
    }


def _make_file(directory: Path, users: Ids, names: list[str]) -> Path:
    """Make a file in which each user has watched movies since the model was made."""
    directory.mkdir(parents=True)
    now = int(to_seconds(NEWEST)) + 3600
    random = np.random.default_rng(3)
    layout = TableLayout.create(KEPT_MOVIES, OLDER_MOVIES, len(users))
    create_table(directory, layout, lambda _: {})
    with closing(open_table(directory)) as table:
        numbers = np.array([table.number_movie(name) for name in names])
        for user in users.tolist():
            watched = random.choice(numbers, WATCHED_MOVIES, replace=False).tolist()
            events = [StoredEvent(m, now - i, 60, 59, 59, _NAN) for i, m in enumerate(watched)]
            table.put(user, StoredMovies(events, []))
        table.advance_time(now)
        table.commit()
    return directory
