"""Read the tables of events that `marquee prepare` writes."""

from pathlib import Path

from app.events import tables
from app.events.grammar import Scale
from app.training.data import Interactions, number_events
from app.training.films import read_lengths


def read_events(
    ratings: Path | None,
    watches: Path | None,
    scale: tuple[float, float],
    films: Path | None = None,
) -> Interactions:
    """Read and number the events of one or both tables.

    Args:
        ratings: Parquet as `marquee prepare` writes it, or CSV as `marquee import-ratings` takes.
        watches: Parquet as `marquee prepare` writes it.
        scale: lowest and highest rating.
        films: table of film lengths, see `read_lengths`.

    Raises:
        EventsError: a file is missing or is no such table.
        TrainingError: there is no event, or one that cannot be learned from.
    """
    return number_events(
        None if ratings is None else tables.read_ratings(ratings, Scale(*scale)),
        None if watches is None else tables.read_watches(watches),
        None if films is None else read_lengths(films),
    )
