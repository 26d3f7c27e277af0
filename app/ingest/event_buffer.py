"""Buffer parsed events and commit them to the store in batches of bounded size."""

from collections import Counter
from typing import Any

import polars as pl

from app.ingest.batch_parser import ParsedBatch, parse_batch
from app.ingest.id_repair import Repairs
from app.ingest.log_parser import RatingScale
from app.ingest.schemas import RATING_EVENTS, WATCH_EVENTS
from app.ingest.store_writer import StoreWriter
from app.ingest.time_limits import TimeLimits

#: Events buffered before a commit: about 30 MB, and a multiple of that during the merge.
MAX_BUFFERED_EVENTS = 500_000


class EventBuffer:
    """Parses lines, buffers their events and counts them.

    The caller decides when to commit, because the reader of a Kafka topic must commit its offsets
    together with their events: `if buffer.is_full: buffer.flush(offsets)`.

    Attributes:
        counts: the counts of all batches; see `ParsedBatch`.
        reasons: rejected lines of all batches by reason.
        events_by_movie: number of flushed events by movie id as received.
    """

    def __init__(
        self,
        writer: StoreWriter,
        scale: RatingScale,
        max_events: int = MAX_BUFFERED_EVENTS,
        times: TimeLimits | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.events_by_movie: Counter[str] = Counter()
        self._writer = writer
        self._scale = scale
        self._max_events = max_events
        self._times = times or TimeLimits()
        self._watches: list[pl.DataFrame] = []
        self._ratings: list[pl.DataFrame] = []

    @property
    def is_full(self) -> bool:
        """Whether the buffered events should be committed."""
        buffered = sum(frame.height for frame in (*self._watches, *self._ratings))
        return buffered >= self._max_events

    def add_lines(self, lines: list[str]) -> ParsedBatch:
        """Parse log lines, buffer their events and return them."""
        batch = parse_batch(lines, self._scale, self._times.stream_range())
        self.counts.update(batch.counts)
        self.reasons.update(batch.reasons)
        self._watches.append(batch.watches)
        self._ratings.append(batch.ratings)
        return batch

    def add_ratings(self, ratings: pl.DataFrame) -> None:
        """Buffer ratings (`RATING_EVENTS`)."""
        self._ratings.append(ratings)

    def flush(self, offsets: dict[str, Any] | None = None) -> None:
        """Commit the buffered events and, atomically with them, the offsets of their source."""
        watches = pl.concat([pl.DataFrame(schema=WATCH_EVENTS), *self._watches])
        ratings = pl.concat([pl.DataFrame(schema=RATING_EVENTS), *self._ratings])
        self._watches.clear()
        self._ratings.clear()
        for events in (watches, ratings):
            self.events_by_movie.update(dict(events.group_by("movie_id").len().iter_rows()))
        self._writer.commit(watches, ratings, offsets)

    def count_repaired(self, repairs: Repairs) -> int:
        """Return how many flushed events have a movie id that is repaired."""
        return sum(self.events_by_movie[movie] for movie in repairs)
