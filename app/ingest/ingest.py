"""What `marquee collect` and `import-ratings` do: files to the store, and a summary of it."""

import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from app import logs
from app.ingest import log_parser, ratings_csv
from app.ingest.event_buffer import Collector
from app.ingest.id_repair import Repairs, StoreCounts, count_store, find_repairs
from app.ingest.line_reader import Source
from app.ingest.log_parser import Scale, is_movie_id
from app.ingest.progress import progress_over
from app.ingest.ratings_csv import EXAMPLES, open_table
from app.ingest.store import open_store
from app.ingest.writer import open_writer

KINDS = ("lines", "watches", "ratings", "recommendations", "accounts", "damaged")


def collect_files(names: list[str], store: Path, scale: Scale) -> dict[str, Any]:
    """Take log files into the store; returns the summary that `marquee collect` prints.

    Raises:
        EventsError: a file cannot be read (then none is taken), or the store cannot be written.
            When a file breaks off half-way, what was read of it stays: take it again.
    """
    started = time.perf_counter()
    with ExitStack() as stack:
        sources = [stack.enter_context(Source(name)) for name in names]
        collector = Collector(stack.enter_context(open_writer(store)), scale)
        advance = stack.enter_context(progress_over(sources, "collect"))
        for source in sources:
            for lines in source.blocks():
                collector.take_lines(lines)
                if collector.full:
                    collector.flush()
                advance()
        collector.flush()
    counts, repairs = _examine(store)
    return summary(collector, collector.repaired(repairs), counts.watches, started)


def summary(collector: Collector, repaired: int, pairs: int, started: float) -> dict[str, Any]:
    """What `marquee collect` prints of lines that were taken since `started`."""
    seconds = time.perf_counter() - started
    return {
        **{kind: collector.counts[kind] for kind in KINDS},
        "repaired": repaired,
        "reasons": {reason: collector.reasons[reason] for reason in log_parser.REASONS},
        "pairs": pairs,
        "seconds": round(seconds, 3),
        "lines_per_second": round(collector.counts["lines"] / seconds),
    }


def import_tables(names: list[str], store: Path, scale: Scale) -> dict[str, Any]:
    """Take tables of ratings into the store; returns what `marquee import-ratings` prints.

    Raises:
        EventsError: a file cannot be read or is no such table (then none is taken), or the store
            cannot be written.
    """
    started = time.perf_counter()
    rows, reasons = 0, Counter[str]()
    examples: dict[tuple[str, str], list[str]] = {}
    with ExitStack() as stack:
        tables = [open_table(stack.enter_context(Source(name))) for name in names]
        collector = Collector(stack.enter_context(open_writer(store)), scale)
        advance = stack.enter_context(progress_over([t.source for t in tables], "import"))
        for table in tables:
            for block in table.blocks(scale):
                rows += block.rows
                reasons.update(block.reasons)
                for reason, lines in block.examples.items():
                    examples.setdefault((table.source.name, reason), []).extend(lines)
                collector.take_ratings(block.ratings)
                if collector.full:
                    collector.flush()
                advance()
        collector.flush()
    _log_refused(examples)
    counts, repairs = _examine(store)
    # A row refused for its movie id is taken after all where the id can be put right.
    reasons["movie"] -= sum(collector.events_by_movie[m] for m in repairs if not is_movie_id(m))
    seconds = time.perf_counter() - started
    return {
        "rows": rows,
        "taken": rows - reasons.total(),
        "repaired": collector.repaired(repairs),
        "refused": reasons.total(),
        "reasons": {reason: reasons[reason] for reason in ratings_csv.REASONS},
        "ratings": counts.ratings,
        "seconds": round(seconds, 3),
        "rows_per_second": round(rows / seconds),
    }


def _examine(store: Path) -> tuple[StoreCounts, Repairs]:
    with open_store(store) as view:
        counts = count_store(view)
    return counts, find_repairs(counts.users)


def _log_refused(examples: dict[tuple[str, str], list[str]]) -> None:
    """Log the first few refused rows by file and reason."""
    for (name, reason), lines in examples.items():
        for line in lines[:EXAMPLES]:
            logs.get(__name__).warning("row refused", file=name, reason=reason, row=line)
