"""Results of seeds are added up, with the bound of the availability, and shown as a page."""

import json
from pathlib import Path

import pytest

from tests.support.campaign.report import (
    add_up,
    count_faults,
    lower_bound,
    read_results,
    to_html,
)
from tests.support.campaign.runner import describe_failure, summarize_run
from tests.support.campaign.schedule import draw
from tests.unit.support.test_campaign_invariants import fail_a_request, make_records


def write_result(directory: Path, seed: int, *, is_bad: bool = False) -> str:
    """Write the result of a run; return the text about its failure."""
    records = make_records()
    if is_bad:
        fail_a_request(records)
    violations = {"no valid request fails": ["at <50.0> s"]} if is_bad else {}
    schedule = draw(seed, 5)
    schedule = schedule.keep([0, 1, 2])
    result = summarize_run(records, schedule, "abc", violations)
    result.recovery_seconds = 10.0 + seed
    (directory / f"seed-{seed}-5.json").write_text(result.to_json())
    return describe_failure(schedule, result)


def test_the_bound_is_that_of_clopper_and_pearson() -> None:
    # Without a failure it is the root of 0.05: the "rule of three".
    assert lower_bound(1000, 1000) == pytest.approx(0.05 ** (1 / 1000))
    assert lower_bound(500_000, 500_000) == pytest.approx(1 - 3 / 500_000, abs=1e-7)
    assert lower_bound(999, 1000) < lower_bound(1000, 1000)
    assert lower_bound(0, 0) == 0


def test_results_are_added_up(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        write_result(tmp_path, seed, is_bad=seed == 2)
    (tmp_path / "seed-1-5.kept.json").write_text("not read")
    results = read_results(tmp_path)
    total = add_up(results)
    assert total["seeds"] == [1, 2, 3]
    assert total["requests"] == {"sent": 1800, "ok": 1799, "excused": 0, "late": 0, "failed": 1}
    assert total["availability"] == pytest.approx(1799 / 1800)
    assert total["recovery_seconds"] == {"median": 12.0, "worst": 13.0, "never": 0}
    assert total["faults"]["kill-nginx"]["done"] == 3
    assert total["faults"]["restart-docker"]["not_done"] == 3
    assert total["faults"]["restart-docker"]["reasons"] == ["SYSTEM=1"]
    assert total["violations"] == {"no valid request fails": {"2": ["at <50.0> s"]}}
    page = to_html(json.loads(json.dumps(total)), results)
    assert "at &lt;50.0&gt; s" in page
    assert page.count("<details>") == 3


def test_a_fault_that_did_not_begin_is_not_counted_as_done() -> None:
    notes = ("each piece 0.5 s later; begin: LookupError()", "the moment did not come", "-30 s")
    faults = [{"kind": "slow", "skipped": "", "note": note} for note in notes]
    row = count_faults([{"faults": faults}])["slow"]
    assert (row["done"], row["not_done"], row["reasons"]) == (1, 2, list(notes[:2]))


def test_a_failure_says_how_to_repeat_and_shrink_it(tmp_path: Path) -> None:
    text = write_result(tmp_path, 7, is_bad=True)
    assert "no valid request fails: 1" in text
    assert "repeat:  make campaign SEEDS=7 MINUTES=5 FRESH=1" in text
    assert "KEEP=0,1\n" in text
    assert "KEEP=2" in text
