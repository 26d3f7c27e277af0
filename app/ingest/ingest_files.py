"""Ingest files into the store: the work of `marquee collect --file` and `import-ratings`."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn

from app import logs
from app.ingest import log_parser, ratings_csv
from app.ingest.batch_parser import LINE_KINDS
from app.ingest.errors import IngestError
from app.ingest.event_buffer import EventBuffer
from app.ingest.id_repair import find_repairs_of
from app.ingest.line_reader import LineReader
from app.ingest.log_parser import RatingScale, is_movie_id
from app.ingest.ratings_csv import MAX_EXAMPLES, RatingsTable
from app.ingest.store_reader import open_store
from app.ingest.store_stats import StoreCounts, count_rows
from app.ingest.store_writer import open_writer
from app.ingest.time_limits import TimeLimits
from app.progress import progress_bar

_log = logs.get(__name__)

#: Likely cause of a run in which most lines or rows were rejected for a reason.
_LIKELY_CAUSES = {
    "fields": "not a log, or a table with another delimiter than comma, tab, semicolon, :: or |, "
    "or without the columns user, movie and rating",
    "time": "times are ISO, in tables also numbers of seconds to nanoseconds since 1970; none is "
    "before the year MARQUEE_MIN_EVENT_YEAR or later than the clock in MARQUEE_STREAM_TIME_ZONE",
    "user": "user ids are whole numbers of at most 18 digits",
    "request": "not a log of watches, ratings and recommendations",
    "movie": "movie ids consist of a-z, 0-9, + _ . * - and %xx",
    "minute": "minutes are whole numbers of at most 4 digits",
    "rating": "a rating is not on the scale; MARQUEE_RATING_MIN and MARQUEE_RATING_MAX set it",
}


def ingest_log_files(
    names: list[str], store: Path, scale: RatingScale, times: TimeLimits | None = None
) -> dict[str, Any]:
    """Ingest log files; return the summary that `marquee collect` prints.

    Raises:
        IngestError: a file cannot be opened (then nothing is ingested) or not be read to its end
            (then what was read stays, and the file may be ingested again), the store cannot be
            written, or no line is an event.
    """
    started = time.perf_counter()
    with ExitStack() as stack:
        readers = [stack.enter_context(LineReader(name)) for name in names]
        buffer = EventBuffer(stack.enter_context(open_writer(store)), scale, times=times)
        update_progress = stack.enter_context(_show_progress(readers, "collect"))
        for reader in readers:
            for lines in reader.read_lines():
                buffer.add_lines(lines)
                if buffer.is_full:
                    buffer.flush()
                update_progress()
        buffer.flush()
    counts = _count_rows(store)
    repairs = find_repairs_of(buffer.events_by_movie, counts.users_by_movie)
    repaired = buffer.count_repaired(repairs)
    if not repaired and buffer.counts["rejected"] == buffer.counts["lines"]:
        raise _nothing_ingested(names, "lines", buffer.counts["lines"], buffer.reasons)
    return summarize_lines(buffer, repaired, counts.watches, started)


def summarize_lines(
    buffer: EventBuffer, repaired: int, pairs: int, started: float
) -> dict[str, Any]:
    """Return the summary of `marquee collect`.

    Args:
        buffer: what parsed and counted the lines.
        repaired: lines whose movie id is repaired.
        pairs: rows of watches in the store.
        started: `time.perf_counter()` at the start, in seconds.
    """
    seconds = time.perf_counter() - started
    return {
        **{kind: buffer.counts[kind] for kind in ("lines", *LINE_KINDS)},
        "repaired": repaired,
        "reasons": {reason: buffer.reasons[reason] for reason in log_parser.REASONS},
        "pairs": pairs,
        "seconds": round(seconds, 3),
        "lines_per_second": round(buffer.counts["lines"] / seconds),
    }


def ingest_rating_tables(
    names: list[str], store: Path, scale: RatingScale, times: TimeLimits | None = None
) -> dict[str, Any]:
    """Ingest CSV tables of ratings; return the summary that `marquee import-ratings` prints.

    Raises:
        IngestError: a file cannot be read or is no such table (then nothing is ingested), the store
            cannot be written, or no row is a rating.
    """
    started = time.perf_counter()
    with ExitStack() as stack:
        possible = (times or TimeLimits()).table_range()
        readers = [stack.enter_context(LineReader(name)) for name in names]
        tables = [RatingsTable(reader, scale, possible) for reader in readers]
        buffer = EventBuffer(stack.enter_context(open_writer(store)), scale)
        rows, reasons = _ingest_tables(tables, buffer)
    counts = _count_rows(store)
    repairs = find_repairs_of(buffer.events_by_movie, counts.users_by_movie)
    # A row rejected for its movie id counts as accepted once that id can be repaired.
    reasons["movie"] -= sum(buffer.events_by_movie[m] for m in repairs if not is_movie_id(m))
    if reasons.total() == rows:
        raise _nothing_ingested(names, "rows", rows, reasons)
    seconds = time.perf_counter() - started
    return {
        "rows": rows,
        "accepted": rows - reasons.total(),
        "repaired": buffer.count_repaired(repairs),
        "rejected": reasons.total(),
        "reasons": {reason: reasons[reason] for reason in ratings_csv.REASONS},
        "ratings": counts.ratings,
        "seconds": round(seconds, 3),
        "rows_per_second": round(rows / seconds),
    }


def _nothing_ingested(
    names: list[str], what: str, count: int, reasons: Counter[str]
) -> IngestError:
    """Return the error of a run that took nothing, with its most likely cause."""
    files = ", ".join(names)
    if count == 0:
        return IngestError(f"{files}: no {what}")
    reason, rejected = reasons.most_common(1)[0]
    return IngestError(
        f"{files}: none of {count:,} {what} was ingested; {rejected:,} were rejected for reason "
        f"{reason}: {_LIKELY_CAUSES[reason]}"
    )


def _ingest_tables(tables: list[RatingsTable], buffer: EventBuffer) -> tuple[int, Counter[str]]:
    """Ingest all rows, log examples of rejected ones; return rows, and rejected rows by reason."""
    rows, reasons = 0, Counter[str]()
    examples: dict[tuple[str, str], list[str]] = {}
    with _show_progress([table.reader for table in tables], "import") as update_progress:
        for table in tables:
            table.warn_of_ignored_time()
            for batch in table.read_batches():
                rows += batch.rows
                reasons.update(batch.reasons)
                for reason, lines in batch.examples.items():
                    examples.setdefault((table.reader.name, reason), []).extend(lines)
                buffer.add_ratings(batch.ratings)
                if buffer.is_full:
                    buffer.flush()
                update_progress()
        buffer.flush()
    for (file, reason), lines in examples.items():
        for line in lines[:MAX_EXAMPLES]:
            _log.warning("row rejected", file=file, reason=reason, row=line)
    return rows, reasons


def _count_rows(store: Path) -> StoreCounts:
    with open_store(store) as snapshot:
        return count_rows(snapshot)


@contextmanager
def _show_progress(readers: list[LineReader], label: str) -> Iterator[Callable[[], None]]:
    """Show how many bytes of the files are read; yield a function that updates the bar."""
    sizes = [reader.size_bytes for reader in readers]
    known = [size for size in sizes if size is not None]
    total = sum(known) if len(known) == len(sizes) else None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with progress_bar(*columns) as bar:
        task = bar.add_task(label, total=total)
        yield lambda: bar.update(task, completed=sum(reader.position_bytes for reader in readers))
