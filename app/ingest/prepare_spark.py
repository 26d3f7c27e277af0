"""Prepare tables on a Spark cluster: the work of `app.ingest.prepare`, in tasks of the workers.

A task cleans one bucket or sorts one range of users with the functions that one machine uses, so
the rows are the same, and so are the bytes of the tables. Between the steps the rows are files in
the output's directory, which all workers must reach by the same path.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import polars as pl
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from app.atomic_files import replaced_file
from app.ingest.errors import IngestError
from app.ingest.movie_counts import MovieCounts
from app.ingest.prepare import Cleaning, clean_buckets, read_range
from app.ingest.store_files import Table, write_manifest
from app.ingest.store_reader import StoreSnapshot, open_store
from app.ingest.store_stats import count_users
from app.ingest.user_ranges import UserRange
from app.progress import progress_bar
from app.spark.cluster import Cluster, Report


class SparkEngine:
    """Works on the buckets of a store, and on ranges of users, on a cluster.

    Args:
        cluster: where the tasks run.
        store: the store.
    """

    def __init__(self, cluster: Cluster, store: Path) -> None:
        self._cluster, self._store = cluster, store

    def count_users(self, snapshot: StoreSnapshot, temporary: Path) -> MovieCounts:
        """See `PrepareEngine`."""
        copy = temporary / "store"
        _link_store(self._store, snapshot, copy)
        users_by_movie = MovieCounts()
        with _show_progress("count movies") as report:
            function = partial(_write_counts, copy, temporary)
            for path in self._cluster.run("count movies", function, snapshot.buckets, report):
                users = pl.read_parquet(path)
                users_by_movie.add(users["movie_id"], users["len"])
                path.unlink()
        return users_by_movie

    def clean_buckets(
        self, snapshot: StoreSnapshot, temporary: Path, cleaning: Cleaning
    ) -> Iterable[Counter[str]]:
        """See `PrepareEngine`."""
        function = partial(_clean_bucket, temporary / "store", temporary, cleaning)
        with _show_progress("clean") as report:
            return self._cluster.run("clean", function, snapshot.buckets, report)

    def read_ranges(
        self, temporary: Path, table: Table, ranges: Sequence[UserRange]
    ) -> Iterator[pl.DataFrame]:
        """See `PrepareEngine`."""
        function = partial(_write_range, temporary, table)
        name = f"sort {table}"
        with _show_progress(name) as report:
            paths = self._cluster.run(name, function, list(enumerate(ranges)), report)
        for path in paths:
            yield pl.read_parquet(path)
            path.unlink()


def _link_store(store: Path, snapshot: StoreSnapshot, copy: Path) -> None:
    """Make a directory with the files of a snapshot, which the collector may remove meanwhile."""
    copy.mkdir()
    for name in sorted(snapshot.manifest.segment_names):
        try:
            _link(store / name, copy / name)
        except FileNotFoundError as error:
            raise IngestError(f"{store}: a file was replaced meanwhile; run it again") from error
    write_manifest(copy, snapshot.manifest)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _write_counts(store: Path, temporary: Path, bucket: int) -> Path:
    """Task: write the number of a bucket's users by movie id."""
    target = temporary / f"counts-{bucket:04}.parquet"
    with open_store(store) as snapshot, replaced_file(target) as path:
        count_users(snapshot, bucket).write_parquet(path)
    return target


def _clean_bucket(store: Path, temporary: Path, cleaning: Cleaning, bucket: int) -> Counter[str]:
    """Task: clean a bucket."""
    with open_store(store) as snapshot:
        return clean_buckets(snapshot, temporary, cleaning, range(bucket, bucket + 1))


def _write_range(temporary: Path, table: Table, numbered: tuple[int, UserRange]) -> Path:
    """Task: write the rows of a range of users, sorted."""
    number, users = numbered
    target = temporary / f"sorted-{table}-{number:06}.parquet"
    with replaced_file(target) as path:
        read_range(temporary, table, users).write_parquet(path)
    return target


@contextmanager
def _show_progress(name: str) -> Iterator[Report]:
    """Show a bar on a terminal for the tasks of one step; yield what advances it."""
    columns = (TextColumn(name), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with progress_bar(*columns) as bars:
        bar = bars.add_task(name, total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)
