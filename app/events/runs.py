"""What the commands do: sources to the store, and a summary of it."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from app.events.collector import Collector
from app.events.grammar import REASONS, Scale
from app.events.progress import progress_over
from app.events.repair import count_users, find_repairs
from app.events.sources import Source
from app.events.store import open_store
from app.events.writer import open_writer

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
                advance()
        collector.flush()
    with open_store(store) as view:
        users, pairs = count_users(view)
    repairs = find_repairs(users)
    seconds = time.perf_counter() - started
    return {
        **{kind: collector.counts[kind] for kind in KINDS},
        "repaired": collector.repaired(repairs),
        "reasons": {reason: collector.reasons[reason] for reason in REASONS},
        "pairs": pairs,
        "seconds": round(seconds, 3),
        "lines_per_second": round(collector.counts["lines"] / seconds),
    }
