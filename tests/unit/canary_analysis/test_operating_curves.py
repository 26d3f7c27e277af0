"""Six cells of the operating curves with 1,000 simulated releases each; `make curves` has all."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.canary_analysis.limits import Limits
from bench.operating_curves.cells import BAD, HEALTHY, MARGIN, Cell, list_cells
from bench.operating_curves.run import Counts, run_cell
from bench.operating_curves.streams import Stream
from bench.operating_curves.table import write_page, write_table

_RELEASES = 1000
_FEW = Stream(requests=3500, minutes=73, client_errors=0.0)
_BURSTS = Stream(rate=4, minutes=90, burst_minutes=10, burst_failures=0.3)


def run(stream: Stream, group: str) -> Counts:
    return run_cell(Cell("test", group, stream), _RELEASES, None, Limits(), with_kayenta=False)


def test_a_healthy_canary_is_promoted_at_the_least_evidence() -> None:
    counts = run(_FEW, HEALTHY)
    assert counts.promoted >= 0.95 * _RELEASES
    assert counts.aborted <= 0.01 * _RELEASES


def test_a_canary_at_the_margin_is_not_promoted_at_the_least_evidence() -> None:
    # The expected number is 9; 20 would be exceeded once in a thousand runs if it were 10.
    assert run(replace(_FEW, canary_failures=0.005), MARGIN).promoted <= 20


@pytest.mark.parametrize("together", [False, True])
def test_bursts_of_ten_minutes_do_not_abort_a_healthy_canary(together: bool) -> None:
    counts = run(replace(_BURSTS, bursts_together=together), HEALTHY)
    assert counts.aborted <= 0.01 * _RELEASES


def test_failures_of_0_9_percent_against_0_01_are_found_within_an_hour() -> None:
    counts = run(Stream(minutes=120, failures=0.0001, canary_failures=0.009), BAD)
    assert counts.promoted == 0
    assert counts.minutes is not None
    undecided = [999] * (_RELEASES - counts.aborted)
    assert np.median([*counts.minutes, *undecided]) <= 60


def test_client_errors_of_30_percent_are_found_within_half_an_hour() -> None:
    counts = run(Stream(minutes=40, canary_client_errors=0.3), BAD)
    assert counts.aborted == _RELEASES
    assert np.median(counts.minutes or [999]) <= 30


def test_an_interrupted_cell_goes_on_where_it_was(tmp_path: Path) -> None:
    cell = Cell("healthy, 5 % of 4 minutes", HEALTHY, Stream(minutes=10))
    first = run_cell(cell, 100, tmp_path, Limits())
    both = run_cell(cell, 200, tmp_path, Limits())
    assert (first.releases, both.releases) == (100, 200)
    at_once = run_cell(cell, 200, None, Limits())
    assert (both.promoted, both.inconclusive, both.aborted) == (
        at_once.promoted,
        at_once.inconclusive,
        at_once.aborted,
    )
    assert "| healthy, 5 % of 4 minutes | 200 |" in write_table([(cell, both)])


def test_counts_of_other_limits_or_of_another_method_are_not_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = Cell("healthy, ten minutes", HEALTHY, Stream(minutes=10))
    run_cell(cell, 3, tmp_path, Limits(), with_kayenta=False)
    (path,) = tmp_path.iterdir()
    content = json.loads(path.read_bytes())
    other_code = {**content, "code": "another", "counts": content["counts"] | {"aborted": 99}}
    path.write_text(json.dumps(other_code))
    assert run_cell(cell, 3, tmp_path, Limits(), with_kayenta=False).aborted == 0
    other = Limits(min_requests=1)
    assert run_cell(cell, 2, tmp_path, other, with_kayenta=False).releases == 2


def test_the_page_names_the_largest_error() -> None:
    cell = Cell("healthy, ten minutes", HEALTHY, Stream(minutes=10))
    counts = Counts(releases=1000, promoted=990, aborted=10, minutes=[3] * 10)
    page = write_page([(cell, counts)])
    assert 'The largest share of wrong verdicts is 1.00%, in "healthy, ten minutes".' in page
    assert f"**Incomplete**: 1 of {len(list_cells())} cells, with 1,000 to 1,000 releases" in page
    assert "| healthy, ten minutes | 1,000 | 99.00% | 0.00% | 1.00% |" in page


def test_every_cell_has_a_name_of_its_own() -> None:
    assert len({cell.name for cell in list_cells()}) == len(list_cells()) > 100
