"""Estimate how much less or more one version gives than another, by answers of the same users.

NGINX decides for each request which version answers, whatever the user and the past are. So users
meet both versions, and what is known of a user beside the answer itself can be subtracted from it
without a bias. The prediction of an answer is the mean of the user's other answers and past ones,
shrunk to the mean of all:

    prediction = (k * mean + sum of the user's others) / (k + their number)

This is the leave-one-out estimator of Wu and Gagnon-Bartsch, "The LOOP estimator" (Evaluation
Review 2018); with the past in it, what Deng, Xu, Kohavi and Walker call CUPED (WSDM 2013). `k` is
the variance within users over that between users, as in an empirical Bayes mean. The difference of
the residuals' means is that of the versions. Answers of one user are not independent: its variance
is the sum over users (Deng, Knoblich and Lu, "Applying the delta method in metric analytics", KDD
2018), each with the change that leaving out all answers of the user makes (the jackknife by
clusters; Bell and McCaffrey, "Bias reduction in standard errors for linear regression with
multi-stage samples", Survey Methodology 2002). The same changes give the skewness of the error,
with which intervals hold where takes, or answers without one, are few.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from app.canary_analysis.skewed_bounds import find_bound

Floats = NDArray[np.float64]
#: Confidence of the intervals that are shown.
CONFIDENCE = 0.95
_MIN_USERS = 2


@dataclass(frozen=True)
class Outcomes:
    """The answers of two versions.

    Attributes:
        user: [answers] number of the user, from 0.
        is_candidate: [answers] whether the candidate answered, and not the version in production.
        value: [answers] credited watches, or minutes.
        past_sum: [users] sum of the values of the user's earlier answers of any version.
        past_count: [users] their number.
    """

    user: NDArray[np.int64]
    is_candidate: NDArray[np.bool_]
    value: Floats
    past_sum: Floats
    past_count: Floats


@dataclass(frozen=True)
class Difference:
    """The candidate's mean per answer, that in production, and their difference.

    Attributes:
        candidate: mean per answer of the candidate.
        production: mean per answer of the version in production.
        difference: candidate minus production, paired; not exactly that of the two means.
        standard_error: of the difference; NaN if it is not known.
        skewness: of the difference's error; 0 if it is not known.
        unpaired_difference: that of the two means.
        unpaired_standard_error: its standard error.
        candidate_answers: number of answers.
        production_answers: number of answers.
        users: users with an answer.
        users_of_both: users with answers of both versions.
        between_users: share of the variance of an answer that lies between users.
    """

    candidate: float
    production: float
    difference: float
    standard_error: float
    skewness: float
    unpaired_difference: float
    unpaired_standard_error: float
    candidate_answers: int
    production_answers: int
    users: int
    users_of_both: int
    between_users: float

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """The two-sided interval of the difference."""
        low, high = (
            find_bound(self.difference, self.standard_error, self.skewness, probability)
            for probability in ((1 - confidence) / 2, (1 + confidence) / 2)
        )
        return low, high

    def answers_needed(self, change: float, error_rate: float, power: float = 0.8) -> float:
        """Canary answers with which a change is found, at the present shares of the versions.

        Args:
            change: absolute change of the mean per answer that is to be distinguished from 0.
            error_rate: of the one-sided test.
            power: probability with which it is found.

        Returns:
            The number, also where it is smaller than the present one; infinite if unknown.
        """
        quantiles = NormalDist().inv_cdf(1 - error_rate) + NormalDist().inv_cdf(power)
        if not (math.isfinite(self.standard_error) and change > 0):
            return math.inf
        return math.ceil(self.candidate_answers * (quantiles * self.standard_error / change) ** 2)


def compare(outcomes: Outcomes) -> Difference:
    """Compare the candidate with the version in production; both need at least one answer."""
    of_both = outcomes.is_candidate, ~outcomes.is_candidate
    candidate, production = (float(outcomes.value[arm].mean()) for arm in of_both)
    between = between_users_share(outcomes)
    residuals = outcomes.value - _predict(outcomes, between)
    difference, error, skewness = _difference(outcomes, residuals)
    unpaired, unpaired_error, _ = _difference(outcomes, outcomes.value)
    met = [np.bincount(outcomes.user[arm], minlength=len(outcomes.past_sum)) > 0 for arm in of_both]
    return Difference(
        candidate=candidate,
        production=production,
        difference=difference,
        standard_error=error,
        skewness=skewness,
        unpaired_difference=unpaired,
        unpaired_standard_error=unpaired_error,
        candidate_answers=int(of_both[0].sum()),
        production_answers=int(of_both[1].sum()),
        users=int((met[0] | met[1]).sum()),
        users_of_both=int((met[0] & met[1]).sum()),
        between_users=between,
    )


def between_users_share(outcomes: Outcomes) -> float:
    """The correlation of two answers of one user, from 0 to 1 (not including either end).

    The mean product of the deviations of two answers of one user, over the variance.
    """
    deviation = outcomes.value - outcomes.value.mean()
    users = len(outcomes.past_sum)
    count = np.bincount(outcomes.user, minlength=users)
    sums = np.bincount(outcomes.user, deviation, users)
    squares = np.bincount(outcomes.user, deviation**2, users)
    pairs = float((count * (count - 1)).sum())
    variance = float(deviation.var())
    if pairs == 0 or variance == 0:
        return 0.0
    return min(max(float((sums**2 - squares).sum()) / pairs / variance, 0.0), 0.999)


def _predict(outcomes: Outcomes, between: float) -> Floats:
    """Predict each answer from the user's others and past ones, and not from itself."""
    mean = float(outcomes.value.mean())
    if between == 0:
        return np.full(len(outcomes.value), mean)
    weight = (1 - between) / between
    users = len(outcomes.past_sum)
    count = np.bincount(outcomes.user, minlength=users) - 1 + outcomes.past_count
    total = np.bincount(outcomes.user, outcomes.value, users) + outcomes.past_sum
    others = total[outcomes.user] - outcomes.value
    predictions: Floats = (weight * mean + others) / (weight + count[outcomes.user])
    return predictions


def _difference(outcomes: Outcomes, values: Floats) -> tuple[float, float, float]:
    """The difference of the means, its standard error by users, and the skewness of its error."""
    users = len(outcomes.past_sum)
    arms = outcomes.is_candidate, ~outcomes.is_candidate
    means = [float(values[arm].mean()) for arm in arms]
    difference = means[0] - means[1]
    change: Floats = np.zeros(users)  # by which each user's answers move the difference
    for arm, mean, sign in zip(arms, means, (1, -1), strict=True):
        deviation = np.bincount(outcomes.user[arm], values[arm] - mean, users)
        others = arm.sum() - np.bincount(outcomes.user[arm], minlength=users)
        if not others.all():
            return difference, math.nan, 0.0
        change += sign * deviation / others
    seen = int((np.bincount(outcomes.user, minlength=users) > 0).sum())
    squares = float((change**2).sum())
    if seen < _MIN_USERS or squares == 0:
        return difference, math.nan, 0.0
    error = math.sqrt(squares * (seen - 1) / seen)
    return difference, error, float((change**3).sum()) / squares**1.5
