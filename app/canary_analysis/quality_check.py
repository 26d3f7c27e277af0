"""Is the canary's online quality no worse than production's, or worse: a rule for both.

`marquee quality` computes the difference; docs/quality.md describes it.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from app.canary_analysis.errors import AnalysisInputError
from app.canary_analysis.limits import Limits
from app.canary_analysis.skewed_bounds import find_bound
from app.text_files import TextError, parse_json

#: Probability with which the number of answers that is needed tells a difference from none.
_POWER = 0.8


@dataclass(frozen=True)
class QualityDifference:
    """Takes per answer within one hour, of the canary and of production.

    Attributes:
        canary: mean per answer.
        production: likewise.
        difference: canary minus production, paired within users.
        standard_error: of the difference.
        answers: of the canary.
        takes: credited watches of both versions.
        users: users with an answer.
        skewness: of the error of the difference; 0 in results of versions that did not compute it.
    """

    canary: float
    production: float
    difference: float
    standard_error: float
    answers: int
    takes: int
    users: int
    skewness: float = 0.0


@dataclass(frozen=True)
class QualityJudgement:
    """The result of the rule.

    Attributes:
        outcome: `passed` (shown to be no worse than the margin), `failed` (shown to be worse) or
            `undecided`.
        lower: lower bound of the difference, with the error rate of the rule.
        upper: upper bound.
        limit: the difference at the margin, below 0.
        needed: more canary answers with which an equal canary would pass in four of five cases; NaN
            if that is not known.
    """

    outcome: str
    lower: float
    upper: float
    limit: float
    needed: float


def judge_quality(found: QualityDifference, limits: Limits) -> QualityJudgement:
    """Judge a difference.

    A canary that is as good as production fails with the probability `quality_error_rate`, and one
    that is worse by the margin passes with it. With few users or takes it is undecided: the bounds
    hold for means of many.
    """
    error = found.standard_error
    lower, upper = (
        find_bound(found.difference, error, found.skewness, probability)
        for probability in (limits.quality_error_rate, 1 - limits.quality_error_rate)
    )
    limit = -limits.quality_margin * found.production
    outcome = "undecided"
    if (
        math.isfinite(error)
        and found.takes >= limits.quality_min_takes
        and found.users >= limits.quality_min_users
    ):
        if lower > limit:
            outcome = "passed"
        elif upper < -limits.quality_tolerance * found.production:
            outcome = "failed"
    quantile = NormalDist().inv_cdf(1 - limits.quality_error_rate)
    distance = (quantile + NormalDist().inv_cdf(_POWER)) * error
    needed = math.nan
    if math.isfinite(distance) and limit < 0:
        needed = max(math.ceil(found.answers * ((distance / limit) ** 2 - 1)), 0)
    return QualityJudgement(outcome, lower, upper, limit, needed)


def read_difference(data: bytes, version: str | None = None) -> QualityDifference:
    """Read the output of `marquee quality --json` from a file.

    Args:
        data: content of the file.
        version: of the canary; None: not checked.

    Raises:
        AnalysisInputError: it is none, or is about another version than the canary's.
    """
    try:
        return parse_difference(parse_json(data), version)
    except TextError as error:
        raise AnalysisInputError(f"quality: {error}") from error


def parse_difference(content: Any, version: str | None = None) -> QualityDifference:
    """Read the difference from the object that `marquee quality --json` prints.

    Raises:
        AnalysisInputError: it is none, or is about another version than the canary's.
    """
    try:
        if version not in (None, "", str(content["candidate"])):
            raise AnalysisInputError(
                f"the quality is that of version {content['candidate']}, not {version}"
            )
        found = content["horizons"]["1h"]["takes"]
        takes = sum(content["horizons"]["1h"]["versions"][n]["takes"] for n in _VERSIONS)
        error = found["standard_error"]
        return QualityDifference(
            float(found["candidate"]),
            float(found["production"]),
            float(found["difference"]),
            math.nan if error is None else float(error),
            int(found["candidate_answers"]),
            int(takes),
            int(found["users"]),
            float(found.get("skewness", 0.0)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise AnalysisInputError(
            f"not the output of `marquee quality --json`: {error!r}"
        ) from error


_VERSIONS = ("candidate", "production")


def describe_quality(found: QualityDifference, limits: Limits) -> dict[str, Any]:
    """The check as `marquee analyze` prints it: the keys of all other checks."""
    judged = judge_quality(found, limits)
    sentence = (
        f"takes per answer within 1 h {found.canary:.4g} (production {found.production:.4g}), "
        f"difference from {judged.lower:+.3g} to {judged.upper:+.3g}, "
        f"must be above {judged.limit:+.3g}"
    )
    if judged.outcome == "undecided" and judged.needed > 0:
        sentence += f", about {judged.needed:,.0f} more answers of the canary needed"
    finite = math.isfinite(judged.lower)
    return {
        "name": "quality",
        "title": "takes per answer within 1 h",
        "kind": "comparison",
        "unit": "takes",
        "outcome": judged.outcome,
        "value": found.canary,
        "stables": found.production,
        "interval": [judged.lower, judged.upper] if finite else [None, None],
        "interval_of": "difference",
        "limit": judged.limit,
        "needed": int(judged.needed)
        if judged.outcome == "undecided" and math.isfinite(judged.needed)
        else None,
        "aborted_at": None,
        "evidence": None,
        "sentence": sentence,
    }
