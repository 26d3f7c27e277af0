"""Blocks: the pairs of a range of users, read, numbered and weighed by tasks of a cluster.

A block is a directory of arrays that tasks write and read. The functions that one machine calls
for all pairs are called for a block, as `Interactions` of its users and of all movies.
"""

import shutil
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.atomic_files import replaced_file
from app.ingest.training_tables import EventTables
from app.ingest.user_ranges import UserRange
from app.spark.cluster import Cluster, Report
from app.spark.files import load_array, save_array
from app.training.errors import TrainingError
from app.training.interactions import (
    EncodedPairs,
    Interactions,
    encode_pairs,
    to_ages,
    to_time,
)
from app.training.mapped_arrays import MappedArrays
from app.training.params import Params
from app.training.ranking.confidence import compute_confidence, to_matrix
from app.training.ranking.recency import compute_recency

#: Subdirectory of the scratch directory with the confidence values that MLlib reads.
CONFIDENCE = "confidence"
_PAIRS = ("movie", "rating", "minutes", "age_days", "confidence", "recency")
#: Rows that one task reads, at least, and blocks of an input, about.
_MIN_ROWS, _BLOCKS = 50_000, 256
_MAX_ROWS = 2_000_000


class UserBlock(NamedTuple):
    """A block.

    Attributes:
        number: names its directory.
        first_user: number of the first user.
        users: number of users.
        first_pair: index of the first pair.
        pairs: number of pairs.
    """

    number: int
    first_user: int
    users: int
    first_pair: int
    pairs: int


@dataclass(frozen=True)
class Data:
    """What tasks need to know of all blocks.

    Attributes:
        directory: the scratch directory.
        movies: number of movies.
        newest_us: time of the newest pair in microseconds since 1970; NaN without times.
        length_minutes: [N] lengths of the movies; None without lengths.
    """

    directory: Path
    movies: int
    newest_us: float
    length_minutes: NDArray[np.float32] | None

    def load_events(self, block: UserBlock) -> Interactions:
        """Return the pairs of a block; its users and pairs are numbered from 0."""
        files = _directory(self.directory, block.number)
        arrays = {
            name: load_array(files / f"{name}.npy") for name in ("users", "start", *_PAIRS[:4])
        }
        return Interactions(
            users=arrays["users"],
            movies=[""] * self.movies,  # only their number is used
            start=arrays["start"],
            movie=arrays["movie"],
            rating=arrays["rating"],
            minutes=arrays["minutes"],
            age_days=arrays["age_days"],
            length_minutes=self.length_minutes,
            newest=to_time(self.newest_us),
        )

    def load_weights(self, block: UserBlock) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return confidence and recency of a block's pairs."""
        files = _directory(self.directory, block.number)
        return load_array(files / "confidence.npy"), load_array(files / "recency.npy")


class _Found(NamedTuple):
    users: int
    pairs: int
    newest_us: float
    dropped: tuple[int, int]


def read_blocks(
    cluster: Cluster, tables: EventTables, movies: pl.Series, directory: Path, report: Report
) -> tuple[list[UserBlock], float]:
    """Read, join and number all rows; return the blocks and the time of the newest pair.

    Raises:
        TrainingError: there are no events.
        SparkError: an event is not valid, or the job failed.
    """
    rows = min(max(tables.rows // _BLOCKS, _MIN_ROWS), _MAX_ROWS)
    ranges = tables.find_ranges(rows)
    function = partial(_read_block, tables.without_samples(), movies, directory)
    found = cluster.run("read", function, list(enumerate(ranges)), report)
    tables.warn_of_dropped(
        (sum(part.dropped[0] for part in found), sum(part.dropped[1] for part in found))
    )
    blocks, user, pair = [], 0, 0
    for number, part in enumerate(found):
        if part.users:
            blocks.append(UserBlock(number, user, part.users, pair, part.pairs))
            user, pair = user + part.users, pair + part.pairs
    if not blocks:
        raise TrainingError("no events: neither ratings nor watches")
    times = np.array([part.newest_us for part in found])
    return blocks, float(np.nanmax(times)) if np.isfinite(times).any() else np.nan


def _read_block(
    tables: EventTables,
    movies: pl.Series,
    directory: Path,
    numbered: tuple[int, UserRange],
) -> _Found:
    """Task: read the rows of a range of users and write their pairs."""
    number, users = numbered
    rows = tables.read_range(users)
    pairs = encode_pairs(rows.ratings, rows.watches, movies)
    _write_pairs(_directory(directory, number), pairs)
    has_time = np.isfinite(pairs.time_us).any()
    newest = float(np.nanmax(pairs.time_us)) if has_time else np.nan
    return _Found(len(pairs.users), len(pairs.movie), newest, rows.dropped)


def _write_pairs(target: Path, pairs: EncodedPairs) -> None:
    """Write the pairs of a block; what another run of the same task has written stays."""
    target.parent.mkdir(exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".", dir=target.parent))
    temporary.chmod(0o755)
    save_array(temporary / "users.npy", pairs.users)
    save_array(temporary / "start.npy", np.concatenate([[0], np.cumsum(pairs.counts)]))
    save_array(temporary / "movie.npy", pairs.movie)
    save_array(temporary / "rating.npy", pairs.rating.astype(np.float32))
    save_array(temporary / "minutes.npy", pairs.minutes)
    save_array(temporary / "time_us.npy", pairs.time_us)
    try:
        temporary.rename(target)
    except OSError:
        shutil.rmtree(temporary)
        if not target.is_dir():
            raise


def weigh_blocks(
    cluster: Cluster,
    data: Data,
    blocks: list[UserBlock],
    params: Params,
    scale: tuple[float, float],
    report: Report,
) -> float:
    """Compute age, confidence and recency of all pairs; return the age of the oldest, or NaN."""
    (data.directory / CONFIDENCE).mkdir(exist_ok=True)
    function = partial(_weigh_block, data, params, scale)
    oldest = np.array(cluster.run("weigh", function, blocks, report))
    return float(np.nanmax(oldest)) if np.isfinite(oldest).any() else np.nan


def _weigh_block(data: Data, params: Params, scale: tuple[float, float], block: UserBlock) -> float:
    """Task: write age, confidence and recency of a block, and what MLlib reads."""
    files = _directory(data.directory, block.number)
    ages = to_ages(np.array(load_array(files / "time_us.npy")), data.newest_us)
    save_array(files / "age_days.npy", ages)
    events = data.load_events(block)
    confidence = compute_confidence(events, params.confidence, scale)
    save_array(files / "confidence.npy", confidence)
    save_array(files / "recency.npy", compute_recency(events, params.recency.half_life_events))
    matrix = to_matrix(events, confidence)
    rows = np.repeat(np.arange(block.users, dtype=np.int32), np.diff(matrix.indptr))
    table = pl.DataFrame(
        {
            "user": rows + np.int32(block.first_user),
            "movie": matrix.indices.astype(np.int32),
            "confidence": matrix.data,
        }
    )
    with replaced_file(data.directory / CONFIDENCE / f"{block.number:06}.parquet") as path:
        table.write_parquet(path)
    return float(np.nanmax(ages)) if np.isfinite(ages).any() else np.nan


def gather_blocks(
    data: Data, blocks: list[UserBlock], movies: pl.Series, report: Report
) -> tuple[Interactions, NDArray[np.float32], NDArray[np.float32]]:
    """Return the pairs of all blocks with their confidence and recency, as mapped files."""
    pairs = blocks[-1].first_pair + blocks[-1].pairs
    first = _directory(data.directory, blocks[0].number)
    create_array = MappedArrays(data.directory)
    arrays = {name: create_array(pairs, load_array(first / f"{name}.npy").dtype) for name in _PAIRS}
    users, start = [], [np.zeros(1, np.int64)]
    for done, block in enumerate(blocks):
        files = _directory(data.directory, block.number)
        users.append(np.array(load_array(files / "users.npy")))
        start.append(load_array(files / "start.npy")[1:] + block.first_pair)
        for name, array in arrays.items():
            place = slice(block.first_pair, block.first_pair + block.pairs)
            array[place] = load_array(files / f"{name}.npy")
        report(done + 1, len(blocks))
    events = Interactions(
        users=np.concatenate(users),
        movies=movies.to_list(),
        start=np.concatenate(start),
        movie=arrays["movie"],
        rating=arrays["rating"],
        minutes=arrays["minutes"],
        age_days=arrays["age_days"],
        length_minutes=data.length_minutes,
        newest=to_time(data.newest_us),
        create_array=create_array,
    )
    return events, arrays["confidence"], arrays["recency"]


def _directory(directory: Path, number: int) -> Path:
    return directory / "blocks" / f"{number:06}"
