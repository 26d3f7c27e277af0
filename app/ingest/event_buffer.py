"""From lines to the store: parse blocks, gather events, commit them in bounded batches."""

from collections import Counter
from typing import Any

import polars as pl

from app.ingest.batch_parser import Block, read_block
from app.ingest.id_repair import Repairs
from app.ingest.log_parser import Scale
from app.ingest.schemas import RATING_EVENTS, WATCH_EVENTS
from app.ingest.writer import Writer

#: Events gathered before they are committed: about 30 MB, and some times that while merging.
BATCH_EVENTS = 500_000


class Collector:
    """Takes lines, keeps their events, counts what it saw.

    It commits when told to, since whoever reads a source with positions (a Kafka topic) must
    commit those with the events they belong to: `if collector.full: collector.flush(positions)`.

    `counts` and `reasons` are `Block`'s, summed up; `events_by_movie` counts what was flushed, by
    movie id as received.
    """

    def __init__(self, writer: Writer, scale: Scale, batch_events: int = BATCH_EVENTS) -> None:
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self._writer = writer
        self._scale = scale
        self._batch_events = batch_events
        self._watches: list[pl.DataFrame] = []
        self._ratings: list[pl.DataFrame] = []
        self.events_by_movie: Counter[str] = Counter()

    @property
    def full(self) -> bool:
        """Whether enough events have gathered for a commit."""
        gathered = sum(frame.height for frame in (*self._watches, *self._ratings))
        return gathered >= self._batch_events

    def take_lines(self, lines: list[str]) -> Block:
        """Take log lines in; what they were."""
        block = read_block(lines, self._scale)
        self.counts.update(block.counts)
        self.reasons.update(block.reasons)
        self._watches.append(block.watches)
        self._ratings.append(block.ratings)
        return block

    def take_ratings(self, ratings: pl.DataFrame) -> None:
        """Take ratings in (`RATING_EVENTS`)."""
        self._ratings.append(ratings)

    def flush(self, positions: dict[str, Any] | None = None) -> None:
        """Commit what has gathered and, in the same step, the positions of the source."""
        watches = pl.concat([pl.DataFrame(schema=WATCH_EVENTS), *self._watches])
        ratings = pl.concat([pl.DataFrame(schema=RATING_EVENTS), *self._ratings])
        self._watches.clear()
        self._ratings.clear()
        for events in (watches, ratings):
            self.events_by_movie.update(dict(events.group_by("movie_id").len().iter_rows()))
        self._writer.commit(watches, ratings, positions)

    def repaired(self, repairs: Repairs) -> int:
        """How many of the flushed events have a movie id that is repaired."""
        return sum(self.events_by_movie[movie] for movie in repairs)
