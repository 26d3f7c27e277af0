"""The difference of two versions: its interval holds the truth, and pairing narrows it."""

import math

import numpy as np
import pytest

from app.canary_analysis.limits import Limits
from app.canary_analysis.quality_check import QualityDifference, judge_quality
from app.quality.estimate import Difference, Outcomes, compare
from tests.support.simulated_answers import Population


def make_outcomes(rows: list[tuple[int, bool, float]]) -> Outcomes:
    """Outcomes of (user, whether the candidate answered, value); no user has a past."""
    user = np.array([row[0] for row in rows])
    nothing = np.zeros(user.max() + 1)
    return Outcomes(
        user, np.array([r[1] for r in rows]), np.array([r[2] for r in rows]), nothing, nothing
    )


def judge(found: Difference) -> str:
    takes = found.candidate * found.candidate_answers + found.production * found.production_answers
    judged = judge_quality(
        QualityDifference(
            found.candidate,
            found.production,
            found.difference,
            found.standard_error,
            found.candidate_answers,
            round(takes),
            found.users,
            found.skewness,
        ),
        Limits(),
    )
    return judged.outcome


def test_means_and_counts_are_those_of_the_answers() -> None:
    found = compare(make_outcomes([(0, True, 1), (0, False, 0), (1, False, 1), (2, True, 0)]))
    assert (found.candidate, found.production, found.unpaired_difference) == (0.5, 0.5, 0)
    assert (found.candidate_answers, found.production_answers) == (2, 2)
    assert (found.users, found.users_of_both) == (3, 1)


def test_the_variance_is_that_between_users() -> None:
    """The same answers as of one user each: a user's answers repeat one another."""
    rng = np.random.default_rng(3)
    single = [(n, bool(n % 2), float(rng.random() < 0.3)) for n in range(400)]
    repeated = [row for row in single for _ in range(5)]
    one, five = compare(make_outcomes(single)), compare(make_outcomes(repeated))
    expected = one.unpaired_standard_error
    assert five.unpaired_standard_error == pytest.approx(expected)
    assert five.candidate_answers == 5 * one.candidate_answers


def test_without_variance_or_with_one_user_the_error_is_unknown() -> None:
    none = compare(make_outcomes([(n, bool(n % 2), 0.0) for n in range(10)]))
    assert math.isnan(none.standard_error)
    one = compare(make_outcomes([(0, bool(n % 2), float(n % 3)) for n in range(10)]))
    assert math.isnan(one.standard_error)
    assert judge(none) == judge(one) == "undecided"


def test_a_prediction_does_not_depend_on_the_answer_itself() -> None:
    """Changing one answer changes the residuals of the others, and its own by as much as itself."""
    rows = [(n // 4, n % 5 == 0, float(n % 3 == 0)) for n in range(200)]
    changed = [*rows]
    changed[7] = (1, rows[7][1], 1 - rows[7][2])
    before, after = compare(make_outcomes(rows)), compare(make_outcomes(changed))
    # 160 answers of production: its mean changes by about 1/160, and by no more.
    assert abs(after.difference - before.difference) == pytest.approx(1 / 160, rel=0.3)


@pytest.mark.parametrize(("between_users", "max_ratio"), [(0.05, 0.98), (0.3, 0.78), (0.6, 0.55)])
def test_intervals_hold_the_truth_and_pairing_narrows_them(
    between_users: float, max_ratio: float
) -> None:
    population = Population(between_users=between_users, loss=0.1)
    rng = np.random.default_rng(20_260_901)
    releases = 200
    held = 0
    paired, unpaired = [], []
    for _ in range(releases):
        found = compare(population.draw(rng, 2000))
        low, high = found.interval()
        held += low <= population.true_difference <= high
        paired.append(found.standard_error**2)
        unpaired.append(found.unpaired_standard_error**2)
    # 95 % within four standard errors of 200 releases.
    assert 0.89 * releases <= held <= releases
    # Some 20 answers of a user are known beside each one.
    assert np.mean(paired) / np.mean(unpaired) < max_ratio


@pytest.mark.parametrize("take_rate", [0.06, 0.94])
def test_intervals_miss_as_often_on_either_side_where_few_answers_differ(take_rate: float) -> None:
    """250 answers of the canary, of which some 15 are unlike the others."""
    population = Population(take_rate=take_rate, between_users=0.02, mean_answers=5)
    rng = np.random.default_rng(20_260_901)
    releases = 1000
    below = above = 0
    for _ in range(releases):
        low, high = compare(population.draw(rng, 250)).interval()
        below += high < 0
        above += low > 0
    # 2.5 % each; 40 of 1,000 have a probability of 0.003 at that rate.
    assert max(below, above) <= 40, (below, above)
    assert 0.93 * releases <= releases - below - above <= 0.97 * releases


def test_a_user_with_many_answers_widens_the_interval_as_leaving_them_out_would() -> None:
    """The jackknife by users, computed the long way."""
    rng = np.random.default_rng(5)
    users = [0] * 60 + [n // 2 for n in range(2, 82)]
    rows = [(user, bool(rng.random() < 0.4), float(rng.random() < 0.3)) for user in users]
    found = compare(make_outcomes(rows))

    def difference(kept: list[tuple[int, bool, float]]) -> float:
        means = [np.mean([row[2] for row in kept if row[1] == side]) for side in (True, False)]
        return float(means[0] - means[1])

    count = max(users) + 1
    changes = [
        difference([row for row in rows if row[0] != user]) - difference(rows)
        for user in range(count)
    ]
    expected = math.sqrt((count - 1) / count * sum(change**2 for change in changes))
    assert found.unpaired_standard_error == pytest.approx(expected)


def test_a_version_against_itself_hardly_ever_fails() -> None:
    rng = np.random.default_rng(7)
    outcomes = [judge(compare(Population().draw(rng, 2000))) for _ in range(300)]
    # At most 1 %: 11 of 300 have a probability below 0.0005 at that rate.
    assert outcomes.count("failed") <= 10


def test_the_outcome_follows_from_bounds_and_margin() -> None:
    def outcome(difference: float, error: float, **counts: int) -> str:
        values = {"answers": 1000, "takes": 5000, "users": 5000} | counts
        found = QualityDifference(0.1 + difference, 0.1, difference, error, **values)
        return judge_quality(found, Limits()).outcome

    assert outcome(0, 0.001) == "passed"
    assert outcome(-0.004, 0.0001) == "passed"
    assert outcome(-0.006, 0.001) == "failed"
    assert outcome(-0.006, 0.003) == "undecided"
    assert outcome(0, 0.003) == "undecided"
    assert outcome(-0.05, 0.001, takes=199) == "undecided"
    assert outcome(-0.05, 0.001, users=99) == "undecided"


def test_45_000_answers_are_needed_for_a_loss_of_5_percent_without_pairing() -> None:
    """Take rate 10 %, a fifth of the requests to the canary, error 1 %, power 80 %."""
    error = math.sqrt(0.1 * 0.9 * (1 / 45_000 + 1 / 180_000))
    found = QualityDifference(0.1, 0.1, 0, error, 45_000, 22_500, 20_000)
    assert abs(judge_quality(found, Limits(quality_error_rate=0.01)).needed) < 500
