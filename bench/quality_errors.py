"""How often the comparison of the online quality is wrong, in releases with a known truth.

    python -m bench.quality_errors [--releases N] [--json]

Users take recommendations with probabilities of their own, ask different numbers of times before
and during the release, and each request goes to the canary with a probability of 0.2. The truth is
the difference of the expected takes per answer. `between` is the share of an answer's variance that
lies between users. Exit status 1 when a target is missed, which at least 1,000 releases can tell.
"""

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.canary_analysis.limits import Limits
from app.canary_analysis.quality_check import QualityDifference, judge_quality
from app.quality.estimate import Difference, compare
from tests.support.simulated_answers import Population

SEED = 20_260_901
CANARY_ANSWERS = 45_000
MIN_POWER = 0.8
MAX_ALARMS = 0.01
#: Of the paired difference over the unpaired one, with which half the answers are enough.
MAX_VARIANCE_RATIO = 0.5
#: With fewer, chance alone misses a target.
MIN_RELEASES = 1000


@dataclass(frozen=True)
class Cell:
    """One kind of release.

    Attributes:
        name: of the row.
        population: its users.
        answers: of the canary.
    """

    name: str
    population: Population
    answers: int


def make_cells() -> list[Cell]:
    """All cells."""
    cells = [
        Cell(
            f"{'equal' if loss == 0 else f'loss {loss:.0%}'}, between {between:.2f}",
            Population(between_users=between, loss=loss),
            5000,
        )
        for between in (0.05, 0.3, 0.6)
        for loss in (0.0, 0.05, 0.2)
    ]
    cells += [
        Cell(f"loss 5%, between {between:.2f}", Population(between_users=between, loss=0.05), n)
        for n in (CANARY_ANSWERS // 2, CANARY_ANSWERS)
        for between in (0.05, 0.3, 0.6)
    ]
    return cells


def judge(found: Difference, *, paired: bool) -> str:
    """The outcome of the rule, by either difference."""
    takes = found.candidate * found.candidate_answers + found.production * found.production_answers
    difference, error, skewness = (
        (found.difference, found.standard_error, found.skewness)
        if paired
        else (found.unpaired_difference, found.unpaired_standard_error, 0.0)
    )
    values = (found.candidate, found.production, difference, error)
    counts = (found.candidate_answers, round(takes), found.users)
    return judge_quality(QualityDifference(*values, *counts, skewness), Limits()).outcome


def run_cell(cell: Cell, releases: int) -> dict[str, Any]:
    """Simulate the releases of a cell."""
    started = time.monotonic()
    rng = np.random.default_rng([SEED, cell.answers, round(cell.population.between_users * 100)])
    held, needed, ratios = 0, [], []
    outcomes: dict[bool, list[str]] = {True: [], False: []}
    truth = cell.population.true_difference
    for _ in range(releases):
        found = compare(cell.population.draw(rng, cell.answers))
        low, high = found.interval()
        held += low <= truth <= high
        for paired, results in outcomes.items():
            results.append(judge(found, paired=paired))
        ratios.append((found.standard_error / found.unpaired_standard_error) ** 2)
        margin = Limits().quality_margin * found.production
        needed.append(found.answers_needed(margin, Limits().quality_error_rate))
    failed = outcomes[True].count("failed")
    return {
        "cell": cell.name,
        "answers": cell.answers,
        "releases": releases,
        "held": held / releases,
        "failed": failed / releases,
        "failed_bound": upper_bound(failed, releases),
        "failed_unpaired": outcomes[False].count("failed") / releases,
        "passed": outcomes[True].count("passed") / releases,
        "undecided": outcomes[True].count("undecided") / releases,
        "variance_ratio": float(np.mean(ratios)),
        "needed": float(np.median(needed)),
        "seconds": round(time.monotonic() - started, 1),
    }


def upper_bound(count: int, trials: int) -> float:
    """The upper end of Wilson's 95 % interval of a share."""
    z, share = 1.96, count / trials
    middle = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials**2))
    return (middle + half) / (1 + z * z / trials)


def find_missed(rows: list[dict[str, Any]]) -> list[str]:
    """The targets that were missed."""
    missed = [
        f"{row['cell']}, {row['answers']} answers: {row['held']:.1%} of the intervals hold it"
        for row in rows
        if not 0.93 <= row["held"] <= 0.97
    ]
    missed += [
        f"{row['cell']}: {row['failed']:.1%} alarms"
        for row in rows
        if row["cell"].startswith("equal") and row["failed"] > MAX_ALARMS
    ]
    # Half the answers are enough where most of the variance lies between users.
    powered = [
        row
        for row in rows
        if row["answers"] == CANARY_ANSWERS
        or (row["answers"] == CANARY_ANSWERS // 2 and row["variance_ratio"] < MAX_VARIANCE_RATIO)
    ]
    missed += [
        f"{row['cell']}, {row['answers']} answers: {row['failed']:.1%} found"
        for row in powered
        if row["failed"] < MIN_POWER
    ]
    return missed


def main() -> int:
    """Run all cells and print the table."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser("python -m bench.quality_errors")
    parser.add_argument("--releases", type=int, default=1000)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    rows = []
    for cell in make_cells():
        rows.append(run_cell(cell, arguments.releases))
        print(f"{cell.name}, {cell.answers}: {rows[-1]['seconds']} s", file=sys.stderr, flush=True)
    missed = find_missed(rows) if arguments.releases >= MIN_RELEASES else []
    if arguments.json:
        print(json.dumps({"rows": rows, "missed": missed}))
    else:
        print(
            "| cell | canary answers | interval holds | failed (bound) | unpaired failed | passed "
            "| undecided | variance paired / unpaired | answers needed |\n"
            "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
        )
        for row in rows:
            print(
                f"| {row['cell']} | {row['answers']:,} | {row['held']:.1%} | {row['failed']:.1%} "
                f"({row['failed_bound']:.1%}) | {row['failed_unpaired']:.1%} | {row['passed']:.1%} "
                f"| {row['undecided']:.1%} | {row['variance_ratio']:.2f} | {row['needed']:,.0f} |"
            )
        print(
            f"\n{sum(row['seconds'] for row in rows):.0f} s; missed: {'; '.join(missed) or 'none'}"
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
