"""The users' side of the report: each metric by group of users."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.fairness.params import FairnessParams
from app.fairness.statistics import (
    Difference,
    Floats,
    bootstrap_means,
    compare_means,
    compare_within_strata,
    correct_holm,
    interval,
)
from app.fairness.user_groups import Labels, get_strata
from app.training.evaluate import MeasuredUsers

#: Metrics of a user, and of a block of users.
USER_METRICS = ("ndcg", "recall", "popularity")
BLOCK_METRIC = "coverage"
METRICS = (*USER_METRICS, BLOCK_METRIC)
#: Users in a block: coverage is compared at equal numbers of users.
BLOCK_USERS = 10


@dataclass(frozen=True)
class UserMetrics:
    """The metrics of `Q` users.

    Attributes:
        values: [Q, 3] `USER_METRICS`: nDCG and recall at k, and the mean share of the model's users
            who have watched a shown movie; from 0 to 1.
        shown: [Q, k] movie numbers; -1 fills up a shorter list.
        activity: [Q] movies of the user in training.
    """

    values: Floats
    shown: NDArray[np.int64]
    activity: NDArray[np.int64]

    @classmethod
    def of(cls, measured: MeasuredUsers) -> "UserMetrics":
        """Select the metrics of a model's recommendations."""
        arrays, shown = measured.factors.arrays, measured.shown
        share = np.append(arrays["movie_users"] / max(1, len(arrays["users"])), 0)
        places = np.maximum(1, (shown >= 0).sum(axis=1))
        popularity = share[shown].sum(axis=1) / places
        columns = [measured.metrics.ndcg, measured.metrics.recall, popularity]
        return cls(np.column_stack(columns), shown, measured.activity)


def describe_groups(
    metrics: UserMetrics, groups: dict[str, Labels], params: FairnessParams, seed: int
) -> list[dict[str, Any]]:
    """Return the groups of each attribute, with what is known of each.

    A group of fewer than `min_users` is not shown; only how many of them there are, and how many
    users they have together. Each group is compared with all other users, once as they are and once
    within groups of equal activity; Holm's correction is over all tests of either kind.

    Returns:
        One entry for each attribute; docs/fairness.md describes it.
    """
    rng = np.random.default_rng(seed)
    blocks = _Blocks(metrics.shown, rng)
    described = []
    for attribute, labels in groups.items():
        names, sizes = np.unique(labels, return_counts=True)
        shown = [str(name) for name in names[sizes >= params.min_users]]
        samples: dict[str, Floats] = {}
        rows = []
        for name in shown:
            chosen = labels == name
            row, samples[name] = _describe_group(metrics, blocks, chosen, params, rng)
            if attribute == "activity":
                for metric in METRICS:
                    row[metric]["adjusted"] = None
            rows.append({"group": name, "users": int(chosen.sum()), **row})
        hidden = sizes[sizes < params.min_users]
        described.append(
            {
                "attribute": attribute,
                "groups": rows,
                "groups_not_shown": len(hidden),
                "users_not_shown": int(hidden.sum()),
                "worst_to_best": _compare_extremes(rows, samples, params.significance),
            }
        )
    for kind in ("difference", "adjusted"):
        _correct(described, kind, params.significance)
    return described


class _Blocks:
    """Draws blocks of users, whose lists' coverage can be compared."""

    def __init__(self, shown: NDArray[np.int64], rng: np.random.Generator) -> None:
        self._shown = shown
        self._order = rng.permutation(len(shown))

    def measure(self, chosen: NDArray[np.bool_]) -> Floats:
        """Return the share of different movies among the places of each block of users."""
        users = self._order[chosen[self._order]]
        count = len(users) // BLOCK_USERS
        width = BLOCK_USERS * self._shown.shape[1]
        places = self._shown[users[: count * BLOCK_USERS]].reshape(count, width)
        ordered = np.sort(places, axis=1)
        is_new = (ordered[:, 1:] != ordered[:, :-1]) & (ordered[:, 1:] >= 0)
        different = is_new.sum(axis=1) + (ordered[:, 0] >= 0)
        return np.asarray(different / width, np.float64)


def _describe_group(
    metrics: UserMetrics,
    blocks: _Blocks,
    chosen: NDArray[np.bool_],
    params: FairnessParams,
    rng: np.random.Generator,
) -> tuple[dict[str, Any], Floats]:
    """Return the metrics of a group, and the bootstrap samples [resamples, 4] of their means."""
    own, others = blocks.measure(chosen), blocks.measure(~chosen)
    values = metrics.values[chosen]
    samples = np.column_stack(
        [
            bootstrap_means(values, params.resamples, rng),
            bootstrap_means(own[:, None], params.resamples, rng),
        ]
    )
    alpha, strata = params.significance, get_strata(metrics.activity)
    means = [*values.mean(axis=0).tolist(), float(own.mean())]
    row: dict[str, Any] = {}
    for place, name in enumerate(METRICS):
        if name == BLOCK_METRIC:
            difference, adjusted = compare_means(own, others, alpha), None
        else:
            column = metrics.values[:, place]
            difference = compare_means(column[chosen], column[~chosen], alpha)
            adjusted = compare_within_strata(column, chosen, strata, alpha)
        low, high = interval(samples[:, place], alpha)
        row[name] = {
            "value": means[place],
            "low": low,
            "high": high,
            "difference": _to_dict(difference),
            "adjusted": _to_dict(adjusted),
        }
    return row, samples


def _to_dict(difference: Difference | None) -> dict[str, Any] | None:
    return None if difference is None else difference._asdict()


def _compare_extremes(
    rows: list[dict[str, Any]], samples: dict[str, Floats], significance: float
) -> dict[str, Any]:
    """Return difference and ratio of the lowest to the highest group of each metric.

    Their intervals are those of these two groups; that they were chosen as the extremes is not in
    them. The corrected tests of the groups decide whether there is a difference.
    """
    if len(rows) < 2:  # noqa: PLR2004 - of one group there is no difference
        return {}
    found = {}
    for place, name in enumerate(METRICS):
        ordered = sorted(rows, key=lambda row: row[name]["value"])
        lowest, highest = ordered[0], ordered[-1]
        low, high = (samples[row["group"]][:, place] for row in (lowest, highest))
        ratios = np.divide(low, high, out=np.full(len(low), np.nan), where=high > 0)
        top = highest[name]["value"]
        found[name] = {
            "lowest": lowest["group"],
            "highest": highest["group"],
            "difference": [lowest[name]["value"] - top, *interval(low - high, significance)],
            "ratio": [
                lowest[name]["value"] / top if top else None,
                *interval(ratios, significance),
            ],
        }
    return found


def _correct(described: list[dict[str, Any]], kind: str, significance: float) -> None:
    """Add the corrected p-value to every difference of one kind, and whether it is one."""
    tests = [
        group[metric][kind]
        for attribute in described
        for group in attribute["groups"]
        for metric in METRICS
        if group[metric][kind] is not None
    ]
    for test, corrected in zip(tests, correct_holm([t["p_value"] for t in tests]), strict=True):
        test["corrected_p_value"] = corrected
        test["differs"] = corrected < significance
