"""Load the tables of events that `marquee prepare` writes."""

from dataclasses import dataclass, replace
from pathlib import Path

from app.ingest import training_tables
from app.ingest.log_parser import RatingScale
from app.ingest.time_limits import TimeLimits
from app.ingest.training_tables import EventTables
from app.training.interactions import (
    BLOCK_PAIRS,
    Interactions,
    encode_interactions,
    encode_parts,
)
from app.training.mapped_arrays import CreateArray
from app.training.runtimes import read_lengths
from app.training.stages import Stages

#: Ranges of users in a block: their rows have texts, and are joined.
_RANGES = 4


@dataclass(frozen=True)
class LoadContext:
    """What the events of a training are loaded with.

    Attributes:
        stages: receives the progress.
        create_array: creates the arrays of all pairs where Parquet is read by ranges of users, and
            those that are computed from them.
        block_pairs: number of pairs that are computed at a time.
    """

    stages: Stages
    create_array: CreateArray
    block_pairs: int = BLOCK_PAIRS


def load_interactions(
    ratings: Path | None,
    watches: Path | None,
    scale: tuple[float, float],
    movies: Path | None = None,
    times: TimeLimits | None = None,
    context: LoadContext | None = None,
) -> Interactions:
    """Read and encode the events of one or both tables.

    Parquet that is sorted by user is read a range of users at a time.

    Args:
        ratings: Parquet as `marquee prepare` writes it, or text as `marquee import-ratings` takes.
        watches: Parquet as `marquee prepare` writes it.
        scale: lowest and highest rating.
        movies: table of movie lengths, see `read_lengths`.
        times: limits of the possible times; None: the default limits.
        context: progress and memory; None: no progress, arrays in memory.

    Raises:
        IngestError: a file is missing or is not such a table.
        TrainingError: there are no events, or one of them is not valid.
    """
    lengths = None if movies is None else read_lengths(movies)
    if tables := _open_sorted(ratings, watches, times):
        ids, rows = tables.read_movie_ids(), tables.rows
        if context is None:
            return encode_parts(tables.read_ranges(), rows, ids, lengths)
        advance = context.stages.set_total(rows)
        parts = tables.read_ranges(max(1, context.block_pairs // _RANGES))
        events = encode_parts(parts, rows, ids, lengths, advance, context.create_array)
        return replace(events, block_pairs=context.block_pairs)
    rating_scale = RatingScale(*scale)
    return encode_interactions(
        None if ratings is None else training_tables.read_ratings(ratings, rating_scale, times),
        None if watches is None else training_tables.read_watches(watches, times),
        lengths,
    )


def _open_sorted(
    ratings: Path | None, watches: Path | None, times: TimeLimits | None
) -> EventTables | None:
    """Return the tables to be read by ranges of users; None where they cannot be."""
    given = [path for path in (ratings, watches) if path is not None]
    if not given or not all(map(training_tables.is_parquet, given)):
        return None
    tables = EventTables(ratings, watches, times)
    return tables if tables.can_be_split() else None
