"""Load the tables of events that `marquee prepare` writes."""

from pathlib import Path

from app.ingest import training_tables
from app.ingest.log_parser import RatingScale
from app.ingest.time_limits import TimeLimits
from app.training.interactions import Interactions, encode_interactions
from app.training.runtimes import read_lengths


def load_interactions(
    ratings: Path | None,
    watches: Path | None,
    scale: tuple[float, float],
    movies: Path | None = None,
    times: TimeLimits | None = None,
) -> Interactions:
    """Read and encode the events of one or both tables.

    Args:
        ratings: Parquet as `marquee prepare` writes it, or text as `marquee import-ratings` takes.
        watches: Parquet as `marquee prepare` writes it.
        scale: lowest and highest rating.
        movies: table of movie lengths, see `read_lengths`.
        times: limits of the possible times; None: the default limits.

    Raises:
        IngestError: a file is missing or is not such a table.
        TrainingError: there are no events, or one of them is not valid.
    """
    rating_scale = RatingScale(*scale)
    return encode_interactions(
        None if ratings is None else training_tables.read_ratings(ratings, rating_scale, times),
        None if watches is None else training_tables.read_watches(watches, times),
        None if movies is None else read_lengths(movies),
    )
