"""`marquee enrich`: asks for users and movies of the store that are not known yet."""

import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import polars as pl

from app import logs
from app.ingest.errors import IngestError
from app.ingest.id_repair import find_repairs
from app.ingest.log_parser import is_movie_id
from app.ingest.metadata.client import ApiError, InformationApi, Kind
from app.ingest.metadata.parse import MOVIES, USERS, Row, movie_row, user_row
from app.ingest.metadata.table import AttributeTable
from app.ingest.store_files import lock_directory
from app.ingest.store_reader import StoreSnapshot, open_store
from app.ingest.store_stats import count_rows
from app.settings import Settings

DIRECTORY = "attributes"
_SAVE_SECONDS = 15.0

_log = logs.get(__name__)


class _Subject(NamedTuple):
    kind: Kind
    table: AttributeTable
    wanted: pl.Series
    row: Callable[[Row], Row]


def enrich(settings: Settings, stop: Event) -> dict[str, Any]:
    """Ask for what is missing; returns the command's summary.

    Killed or told to stop, what it learnt so far is kept and the next run goes on there.

    Raises:
        IngestError: no store, another run is at it, or the API does not answer.
    """
    started = time.perf_counter()
    directory = settings.store_dir / DIRECTORY
    with open_store(settings.store_dir) as view:
        users, movies = _ids(view, settings.metadata_api_max_user_id)
    with lock_directory(directory, "the attributes"):
        subjects = {
            "movies": _subject("movie", directory / "movies.parquet", movies),
            "users": _subject("user", directory / "users.parquet", users),
        }
        api = InformationApi(
            settings.metadata_api_url, settings.metadata_api_max_requests_per_second, stop
        )
        try:
            asked = {name: _ask(api, subject) for name, subject in subjects.items()}
        except ApiError as error:
            if not stop.is_set():
                raise IngestError(f"{error} (what was learnt is kept; run again)") from error
            asked = dict.fromkeys(subjects, 0)
        finally:
            api.close()
        return {
            **{name: _told(subject, asked[name]) for name, subject in subjects.items()},
            "requests": api.requests,
            "seconds": round(time.perf_counter() - started, 3),
        }


def _ids(view: StoreSnapshot, users_to: int) -> tuple[pl.Series, pl.Series]:
    """The store's users, then all others up to a number; its movies, most frequent first."""
    counts = count_rows(view).users_by_movie
    repairs = find_repairs(counts)
    movies = [
        movie for movie in sorted(counts, key=lambda f: (-counts[f], f)) if is_movie_id(movie)
    ]
    seen = [view.read_keys(table, bucket)["user_id"].unique()
            for bucket in view.buckets for table in ("watches", "ratings")]  # fmt: skip
    others = pl.Series("user_id", range(1, users_to + 1), pl.Int64)
    users = pl.concat([*seen, others]).unique(maintain_order=True)
    return users, pl.Series("movie_id", [f for f in movies if f not in repairs], pl.String)


def _subject(kind: Kind, path: Path, ids: pl.Series) -> _Subject:
    users = kind == "user"
    table = AttributeTable(path, USERS if users else MOVIES)
    return _Subject(kind, table, table.missing(ids), user_row if users else movie_row)


def _ask(api: InformationApi, subject: _Subject) -> int:
    """Ask for all that is missing, keeping it every now and then; how many."""
    done, save_at = 0, time.monotonic() + _SAVE_SECONDS
    if len(subject.wanted):
        _log.info("asking the information API", kind=subject.kind, missing=len(subject.wanted))
    try:
        while done < len(subject.wanted):
            ids = subject.wanted.slice(done, api.size(subject.kind)).to_list()
            found = api.ask(subject.kind, [str(name) for name in ids])
            if found is None:
                continue
            subject.table.learn(ids, {name: subject.row(row) for name, row in found.items()})
            done += len(ids)
            if time.monotonic() >= save_at:
                subject.table.save()
                save_at = time.monotonic() + _SAVE_SECONDS
                _log.info("asked", kind=subject.kind, done=done, of=len(subject.wanted))
    finally:
        subject.table.save()
    return done


def _told(subject: _Subject, asked: int) -> dict[str, int]:
    table = subject.table
    return {"asked": asked, "rows": table.rows, "known": table.known}
