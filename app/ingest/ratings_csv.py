"""Parse text tables of ratings. `table_layout` finds their delimiter and columns."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import polars as pl

from app import logs
from app.ingest import patterns
from app.ingest.line_reader import LineReader, split_lines
from app.ingest.log_parser import RatingScale, is_repairable
from app.ingest.schemas import RATING_EVENTS, conform
from app.ingest.table_layout import FIELDS, Layout, find_layout, is_skipped, split_row
from app.ingest.time_limits import ANY_TIME, TimeRange

#: Why a row is rejected, in the order of the checks.
REASONS = ("fields", "time", "user", "movie", "rating")
#: Rejected rows of each batch and reason that are kept as examples for the log.
MAX_EXAMPLES = 3
_MAX_EXAMPLE_LENGTH = 200

_log = logs.get(__name__)


class RatingsBatch(NamedTuple):
    """The ratings of a batch of rows.

    Attributes:
        ratings: `RATING_EVENTS`, with repairable events (see `log_parser.InvalidLine`).
        rows: number of rows of the batch.
        reasons: rejected rows by reason, repairable events included.
        examples: some rejected rows by reason, without repairable events.
    """

    ratings: pl.DataFrame
    rows: int
    reasons: Counter[str]
    examples: dict[str, list[str]]


class RatingsTable:
    """A table of ratings whose first lines are read, so that its layout is known.

    It is read once, so that it may be a pipe: as UTF-8, or as Latin-1 from the first chunk on that
    is not UTF-8.

    Attributes:
        reader: the open file.
        layout: delimiter and columns.

    Raises:
        IngestError: the file cannot be read, or its layout is not clear.
    """

    def __init__(self, reader: LineReader, scale: RatingScale, times: TimeRange = ANY_TIME) -> None:
        self.reader = reader
        self._scale = scale
        self._times = times
        self._encoding = "utf-8"
        self._batches = self._decode_batches()
        self._first: list[str] = []
        while all(map(is_skipped, self._first)) and (lines := next(self._batches, None)):
            self._first += lines
        self.layout = find_layout(reader.name, self._first, scale)

    def warn_of_ignored_time(self) -> None:
        """Log a column that looks like a time and is not read."""
        if self.layout.ignored_time is not None:
            _log.warning(
                "a column looks like a time and is ignored",
                file=self.reader.name,
                column=self.layout.ignored_time,
            )

    def read_batches(self) -> Iterator[RatingsBatch]:
        """Read and parse the table in batches; call it once.

        Raises:
            IngestError: the file cannot be read to its end.
        """
        first, self._first = self._first[self.layout.skipped_lines :], []
        for lines in chain([first], self._batches):
            yield _parse_rows(lines, self.layout, self._scale, self._times)

    def _decode_batches(self) -> Iterator[list[str]]:
        for chunk in self.reader.read_chunks():
            try:
                text = chunk.decode(self._encoding)
            except UnicodeDecodeError:
                self._encoding = "latin-1"
                text = chunk.decode(self._encoding)
            yield split_lines(text)


def _parse_rows(
    lines: list[str], layout: Layout, scale: RatingScale, times: TimeRange
) -> RatingsBatch:
    frame = pl.DataFrame({"line": lines}, schema={"line": pl.String}).with_columns(
        fields=_split_rows(lines, layout.delimiter)
    )
    frame = _parse_fields(patterns.lower_escapes_in(_select_fields(frame, layout)), scale, times)
    valid = frame.filter(pl.col("reason").is_null())
    rejected = frame.filter(pl.col("reason").is_not_null())
    wrong_id = frame.filter(pl.col("reason") == "movie", pl.col("rating").is_not_null())
    ids = [movie for movie in wrong_id["movie_id"].unique().to_list() if is_repairable(movie)]
    repairable = wrong_id.filter(pl.col("movie_id").is_in(ids))
    unrepairable = rejected.join(repairable, on="line", how="anti") if ids else rejected
    first_lines = pl.col("line").head(MAX_EXAMPLES).str.head(_MAX_EXAMPLE_LENGTH)
    examples = unrepairable.group_by("reason", maintain_order=True).agg(first_lines)
    return RatingsBatch(
        conform(pl.concat([valid, repairable]), RATING_EVENTS),
        len(lines),
        Counter(dict(rejected.group_by("reason").len().iter_rows())),
        dict(examples.iter_rows()),
    )


def _split_rows(lines: list[str], delimiter: str) -> pl.Series:
    """Split rows into fields; the csv module is only needed where there are quotes."""
    if any('"' in line for line in lines):
        fields = [split_row(line, delimiter) for line in lines]
        return pl.Series(fields, dtype=pl.List(pl.String))
    return pl.Series(lines, dtype=pl.String).str.split(delimiter)


def _select_fields(frame: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Return user, movie, rating and time as text; null where the row's length is wrong."""
    count = pl.col("fields").list.len()
    texts = {}
    for field in FIELDS:
        text = pl.lit(None, pl.String)
        for columns, order in layout.orders.items():
            if field in order:
                value = pl.col("fields").list.get(order.index(field), null_on_oob=True)
                text = pl.when(count == columns).then(value).otherwise(text)
        texts[field] = text
    time = pl.when(texts["time"] != "").then(texts["time"])  # an empty time is missing, not invalid
    return frame.select(
        "line", user_id=texts["user"], movie_id=texts["movie"], rating=texts["rating"], time=time
    )


def _parse_fields(frame: pl.DataFrame, scale: RatingScale, times: TimeRange) -> pl.DataFrame:
    """Convert the texts; add the first `reason` to reject the row, or null."""
    user, movie = pl.col("user_id"), pl.col("movie_id")
    number = pl.when(patterns.matches(pl.col("rating"), patterns.TABLE_RATING)).then(
        pl.col("rating")
    )
    rating = number.cast(pl.Float64)
    on_scale = rating.is_between(scale.min_rating, scale.max_rating)
    time = patterns.parse_table_time(pl.col("time"))
    is_possible = times.contains(time).fill_null(False)
    return frame.with_columns(
        reason=pl.when(user.is_null())
        .then(pl.lit("fields"))
        .when(pl.col("time").is_not_null() & ~is_possible)
        .then(pl.lit("time"))
        .when(~patterns.matches(user, patterns.TABLE_USER_ID))
        .then(pl.lit("user"))
        .when(~patterns.is_movie_id(movie))
        .then(pl.lit("movie"))
        .when(~on_scale.fill_null(False))
        .then(pl.lit("rating")),
        user_id=user.str.extract(f"^{patterns.TABLE_USER_ID}$").cast(pl.Int64),
        rating=pl.when(on_scale).then(rating),
        time=time,
    )
