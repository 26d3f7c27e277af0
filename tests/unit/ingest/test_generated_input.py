"""Generated tables and log lines: no traceback, no row understood wrongly, none lost silently.

`MARQUEE_TEST_SEED` repeats a run; `tests/conftest.py` prints the seed of each.
"""

import os
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from app.ingest.batch_parser import parse_batch
from app.ingest.errors import IngestError
from app.ingest.line_reader import LineReader
from app.ingest.log_parser import RatingScale
from app.ingest.ratings_csv import RatingsTable
from app.ingest.time_limits import TimeLimits
from tests.support.soak import IS_SOAK

from . import generated

SEED = int(os.environ["MARQUEE_TEST_SEED"])
TABLES = 100_000 if IS_SOAK else 1_000
LINES = 100_000 if IS_SOAK else 20_000
TABLES_PER_ROUND = 1_000
LINES_PER_EXAMPLE = 500
SCALE = RatingScale(0.5, 5)

GENERATE = settings(
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
seeds = st.integers(0, 2**64)
pytestmark = pytest.mark.timeout(3000 if IS_SOAK else 300)


def read(path: Path) -> tuple[Counter[generated.Row], int, int]:
    """Return accepted rows, number of rejected rows, and number of all rows."""
    accepted, rejected, rows = Counter[generated.Row](), 0, 0
    with LineReader(str(path)) as reader:
        for batch in RatingsTable(reader, SCALE, TimeLimits().table_range()).read_batches():
            accepted.update(batch.ratings.rows())
            rejected += batch.reasons.total()
            rows += batch.rows
    return accepted, rejected, rows


def test_generated_tables_are_understood_or_refused(tmp_path: Path) -> None:
    seen = Counter[str]()

    def check(number: int, columns: list[str], form: str, delimiter: str, encoding: str) -> None:
        random = Random(number)
        has_header = form.startswith("header")
        order = tuple(columns)
        if form == "header without time":
            order = tuple(column for column in columns if column != "time")
        elif not has_header:
            bare = generated.BARE_ORDERS if form == "none" else generated.OTHER_ORDERS
            order = random.choice(bare)
        table = generated.make_table(random, order, delimiter, encoding, has_header=has_header)
        (tmp_path / "table").write_bytes(table.content)
        seen["tables"] += 1
        try:
            accepted, rejected, rows = read(tmp_path / "table")
        except IngestError:
            # A table is refused as a whole only where no header names its columns.
            assert form == "other", table.text
            seen["refused"] += 1
            return
        assert accepted.total() + rejected == rows == table.rows, table.text
        if form == "other":  # in an order that is not documented nothing is accepted
            assert not accepted, table.text
        else:
            assert accepted == table.truth, table.text
            seen["accepted rows"] += accepted.total()
            seen["rejected rows"] += rejected

    for number in range(TABLES // TABLES_PER_ROUND):  # Hypothesis remembers all tables of a round
        generate = given(
            seeds,
            st.permutations(["user", "movie", "rating", "time"]),
            st.sampled_from(["header", "header", "header without time", "none", "none", "other"]),
            st.sampled_from(generated.DELIMITERS),
            st.sampled_from(generated.ENCODINGS),
        )
        seed(SEED + number)(settings(GENERATE, max_examples=TABLES_PER_ROUND)(generate(check)))()
    assert seen["tables"] >= TABLES
    assert min(seen["refused"], seen["rejected rows"]) > TABLES / 20
    assert seen["accepted rows"] > TABLES


def test_generated_lines_are_understood_or_rejected(tmp_path: Path) -> None:
    lines = 0

    @seed(SEED)
    @settings(GENERATE, max_examples=LINES // LINES_PER_EXAMPLE)
    @given(seeds, st.sampled_from(generated.LINE_ENDS), st.sampled_from(["utf-8", "gzip"]))
    def check(number: int, end: str, encoding: str) -> None:
        nonlocal lines
        made = generated.make_lines(Random(number), LINES_PER_EXAMPLE)
        text = end.join([*made.lines, ""])
        (tmp_path / "log").write_bytes(generated.encode(text, encoding))
        with LineReader(str(tmp_path / "log")) as reader:
            found = [line for batch in reader.read_lines() for line in batch]
        batch = parse_batch(found, RatingScale(), TimeLimits().stream_range())
        assert Counter(batch.watches.rows()) == +made.watches
        assert Counter(batch.ratings.rows()) == +made.ratings
        assert batch.reasons == made.reasons
        assert batch.counts["recommendations"] == made.others["recommendation"]
        assert batch.counts["accounts"] == made.others["account"]
        assert batch.counts["rejected"] == made.reasons.total()
        lines += batch.counts["lines"]

    check()
    assert lines >= LINES
