"""`marquee enrich`: fetch the metadata of users and movies of the store that have none yet."""

import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import polars as pl

from app import logs
from app.ingest import patterns
from app.ingest.errors import IngestError
from app.ingest.id_repair import repair_ids
from app.ingest.metadata.client import (
    InvalidResponseError,
    Kind,
    MetadataApiError,
    MetadataClient,
)
from app.ingest.metadata.parse import MOVIES, USERS, Row, parse_movie, parse_user
from app.ingest.metadata.table import MetadataTable, MissingIds
from app.ingest.metadata_files import METADATA_DIR, MOVIES_FILE, USERS_FILE
from app.ingest.store_files import TABLES, lock_directory
from app.ingest.store_reader import StoreSnapshot, open_store
from app.ingest.store_stats import count_rows, read_movie_ids
from app.settings import Settings

_SAVE_INTERVAL_SECONDS = 15.0
#: Ids in a row without a usable response after which the API counts as failed.
_MAX_FAILURES_IN_A_ROW = 20

_log = logs.get(__name__)


class _Task(NamedTuple):
    """What to fetch for one table."""

    kind: Kind
    table: MetadataTable
    ids: MissingIds
    parse_row: Callable[[Row], Row]


def enrich(
    settings: Settings, stop: Event, heartbeat: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Fetch missing metadata; return the summary that `marquee enrich` prints.

    Rows are saved every 15 seconds; an interrupted run is continued by the next one. An id without
    a usable response is requested again by the next run, after all others.

    Args:
        settings: the store and the API.
        stop: ends the run when it is set.
        heartbeat: called for each request.

    Raises:
        IngestError: there is no store, another run writes the metadata, or the API fails: it cannot
            be reached, or has no usable response for many ids in a row or for any id at all.
    """
    started = time.perf_counter()
    directory = settings.store_dir / METADATA_DIR
    with open_store(settings.store_dir) as snapshot:
        users = _list_users(snapshot, settings.metadata_api_max_user_id)
        movies = _list_movies(snapshot)
    with lock_directory(directory, "the metadata"):
        tasks = {
            "movies": _make_task("movie", directory / MOVIES_FILE, movies),
            "users": _make_task("user", directory / USERS_FILE, users),
        }
        client = MetadataClient(
            settings.metadata_api_url, settings.metadata_api_max_requests_per_second, stop
        )
        requested = dict.fromkeys(tasks, 0)
        failures = []
        try:
            for name, task in tasks.items():
                requested[name], failure = _fetch_all(client, task, heartbeat)
                failures += [failure] if failure else []
        except MetadataApiError as error:
            if not stop.is_set():
                raise IngestError(f"{error} (fetched rows are saved; run again)") from error
        finally:
            client.close()
        if failures:
            url = settings.metadata_api_url
            raise IngestError(f"{url}: {'; '.join(failures)} (fetched rows are saved; run again)")
        return {
            **{name: _summarize(task, requested[name]) for name, task in tasks.items()},
            "failed": sum(task.table.failed_rows for task in tasks.values()),
            "requests": client.request_count,
            "seconds": round(time.perf_counter() - started, 3),
        }


def _list_users(snapshot: StoreSnapshot, max_user_id: int) -> pl.Series:
    """Return the user ids of the store, then all others from 1 to `max_user_id`."""
    active = [
        snapshot.read_keys(table, bucket)["user_id"].unique()
        for bucket in snapshot.buckets
        for table in TABLES
    ]
    others = pl.Series("user_id", range(1, max_user_id + 1), pl.Int64)
    return pl.concat([*active, others]).unique(maintain_order=True)


def _list_movies(snapshot: StoreSnapshot) -> pl.Series:
    """Return the valid movie ids of the store, those with the most users first."""
    counts = count_rows(snapshot).users_by_movie
    users: dict[str, int] = {}
    for bucket in snapshot.buckets:
        ids = read_movie_ids(snapshot, bucket)
        is_movie = ids.to_frame().select(patterns.is_movie_id(pl.col("movie_id"))).to_series()
        true = ids.filter(is_movie & repair_ids(ids, counts).is_null())
        users.update(zip(true, counts.look_up(true)[0].tolist(), strict=True))
    movies = sorted(users, key=lambda movie: (-users[movie], movie))
    return pl.Series("movie_id", movies, pl.String)


def _make_task(kind: Kind, path: Path, ids: pl.Series) -> _Task:
    is_user = kind == "user"
    table = MetadataTable(path, USERS if is_user else MOVIES)
    return _Task(kind, table, table.select_missing(ids), parse_user if is_user else parse_movie)


def _fetch_all(
    client: MetadataClient, task: _Task, heartbeat: Callable[[], None]
) -> tuple[int, str | None]:
    """Fetch all ids of a task, new ones first, and save them at intervals.

    Returns:
        The number of ids requested, and why the API counts as failed, if so.
    """
    ids = pl.concat(task.ids)
    done = failures = 0
    reason = ""
    save_at = time.monotonic() + _SAVE_INTERVAL_SECONDS
    if len(ids):
        _log.info("fetching metadata", kind=task.kind, missing=len(ids))
    try:
        while done < len(ids) and failures < _MAX_FAILURES_IN_A_ROW:
            heartbeat()
            names = ids.slice(done, client.batch_size(task.kind)).to_list()
            rows, reason = _fetch(client, task, names)
            if rows is None:
                continue
            failures = failures + 1 if len(names) == 1 and None in rows.values() else 0
            task.table.add(names, rows)
            done += len(names)
            if time.monotonic() >= save_at:
                task.table.save()
                save_at = time.monotonic() + _SAVE_INTERVAL_SECONDS
                _log.info("fetched metadata", kind=task.kind, done=done, total=len(ids))
    finally:
        task.table.save()
    # Ids that failed before do not make a run fail, however many there are.
    is_stopped = failures >= _MAX_FAILURES_IN_A_ROW and done <= len(task.ids.new)
    if is_stopped or (done and task.table.failed_rows == task.table.rows):
        return done, f"no usable response for the last {failures} {task.kind}s: {reason}"
    return done, None


def _fetch(
    client: MetadataClient, task: _Task, ids: list[Any]
) -> tuple[dict[str, Row | None] | None, str]:
    """Fetch and parse the rows of some ids.

    Returns:
        Rows by id, None where the response is not usable, and the reason for that. In place of the
        rows None where smaller batches are to be requested.
    """
    try:
        found = client.fetch(task.kind, [str(name) for name in ids])
    except InvalidResponseError as error:
        _log.warning("no usable response", kind=task.kind, id=str(ids[0]), error=str(error))
        return {str(ids[0]): None}, str(error)
    if found is None:
        return None, ""
    rows: dict[str, Row | None] = {}
    reason = ""
    for name, fields in found.items():
        try:
            rows[name] = task.parse_row(fields)
        except ValueError as error:
            reason = str(error)
            _log.warning("no usable response", kind=task.kind, id=name, error=reason)
            rows[name] = None
    return rows, reason


def _summarize(task: _Task, requested: int) -> dict[str, int]:
    return {"requested": requested, "rows": task.table.rows, "known": task.table.known_rows}
