"""The users' side of the report: each metric by group of users."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.fairness.params import FairnessParams
from app.fairness.statistics import (
    Floats,
    GroupComparison,
    Tests,
    bootstrap_means,
    compute_p_values,
    correct_by_permutation,
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
    within groups of equal activity; the correction is over all tests of either kind.

    Returns:
        One entry for each attribute; docs/fairness.md describes it.
    """
    rng = np.random.default_rng(seed)
    attributes = [
        _Attribute.of(name, labels, metrics.shown, params.min_users, rng)
        for name, labels in groups.items()
    ]
    is_shown = any(attribute.shown for attribute in attributes)
    tests = _test_groups(metrics, attributes, params, rng) if is_shown else {}
    described, first = [], 0
    for attribute in attributes:
        rows: list[dict[str, Any]] = []
        samples: dict[str, Floats] = {}
        for number, name in enumerate(attribute.shown, start=first):
            chosen = attribute.labels == name
            samples[name] = _resample_group(metrics, attribute, name, params, rng)
            row = _describe_group(metrics, attribute, name, samples[name], params.significance)
            for kind, found in tests.items():
                for place, metric in enumerate(METRICS):
                    row[metric][kind] = found.get(number, place)
            rows.append({"group": name, "users": int(chosen.sum()), **row})
        first += len(rows)
        described.append(
            {
                "attribute": attribute.name,
                "groups": rows,
                "groups_not_shown": len(attribute.hidden_sizes),
                "users_not_shown": int(attribute.hidden_sizes.sum()),
                "worst_to_best": _compare_extremes(rows, samples, params.significance),
            }
        )
    return described


@dataclass(frozen=True)
class _Attribute:
    """The groups of one attribute, and the coverage of blocks of their users.

    Attributes:
        name: of the attribute.
        labels: [Q] group of each user.
        shown: names of the groups that are shown.
        hidden_sizes: users of each of the other groups.
        coverage: [blocks] share of different movies among the places of the block's lists.
        block_labels: [blocks] group of the block's users.
    """

    name: str
    labels: Labels
    shown: list[str]
    hidden_sizes: NDArray[np.integer]
    coverage: Floats
    block_labels: Labels

    @classmethod
    def of(
        cls,
        name: str,
        labels: Labels,
        shown: NDArray[np.int64],
        min_users: int,
        rng: np.random.Generator,
    ) -> "_Attribute":
        names, sizes = np.unique(labels, return_counts=True)
        order = rng.permutation(len(labels))
        blocks = [_measure_blocks(shown[order[labels[order] == own]]) for own in names]
        return cls(
            name,
            labels,
            [str(own) for own in names[sizes >= min_users]],
            sizes[sizes < min_users],
            np.concatenate(blocks),
            np.repeat(names, [len(own) for own in blocks]),
        )


def _measure_blocks(shown: NDArray[np.int64]) -> Floats:
    """Return the share of different movies among the places of each block of users."""
    count, width = len(shown) // BLOCK_USERS, BLOCK_USERS * shown.shape[1]
    ordered = np.sort(shown[: count * BLOCK_USERS].reshape(count, width), axis=1)
    is_new = (ordered[:, 1:] != ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    different = is_new.sum(axis=1) + (ordered[:, 0] >= 0)
    return np.asarray(different / width, np.float64)


def _resample_group(
    metrics: UserMetrics,
    attribute: _Attribute,
    name: str,
    params: FairnessParams,
    rng: np.random.Generator,
) -> Floats:
    """Return the bootstrap samples [resamples, 4] of the means of a group."""
    values = metrics.values[attribute.labels == name]
    blocks = attribute.coverage[attribute.block_labels == name, None]
    return np.column_stack(
        [
            bootstrap_means(values, params.resamples, rng),
            bootstrap_means(blocks, params.resamples, rng),
        ]
    )


def _describe_group(
    metrics: UserMetrics, attribute: _Attribute, name: str, samples: Floats, significance: float
) -> dict[str, Any]:
    """Return the value of each metric of a group, with its interval."""
    means = [
        *metrics.values[attribute.labels == name].mean(axis=0).tolist(),
        float(attribute.coverage[attribute.block_labels == name].mean()),
    ]
    row: dict[str, Any] = {}
    for place, metric in enumerate(METRICS):
        low, high = interval(samples[:, place], significance)
        row[metric] = {"value": means[place], "low": low, "high": high}
    return row


def _test_groups(
    metrics: UserMetrics,
    attributes: list[_Attribute],
    params: FairnessParams,
    rng: np.random.Generator,
) -> dict[str, "_CorrectedTests"]:
    """Compare all groups with all other users, as they are and within groups of activity."""
    options = (params.significance, params.resamples, rng)
    members = np.array(
        [own.labels == name for own in attributes for name in own.shown], bool
    ).reshape(-1, len(metrics.values))
    plain = GroupComparison(metrics.values, members).test(*options)
    strata = get_strata(metrics.activity)
    within = GroupComparison(metrics.values, members, strata).test(*options)
    # Of groups by activity there is no difference at equal activity.
    is_activity = np.array([own.name == "activity" for own in attributes for _ in own.shown], bool)
    for part in within:
        part[..., is_activity, :] = np.nan
    untested = Tests(*(np.full((*part.shape[:-1], 1), np.nan) for part in plain))
    blocks = [
        GroupComparison(
            own.coverage[:, None], np.array([own.block_labels == name for name in own.shown])
        ).test(*options)
        for own in attributes
        if own.shown
    ]
    coverage = Tests(*(np.concatenate(part, axis=-2) for part in zip(*blocks, strict=True)))
    return {
        "difference": _CorrectedTests(plain, coverage, params.significance),
        "adjusted": _CorrectedTests(within, untested, params.significance),
    }


class _CorrectedTests:
    """The tests of one kind, of users and of blocks, with their correction."""

    def __init__(self, users: Tests, blocks: Tests, significance: float) -> None:
        joined = zip(users, blocks, strict=True)
        self._tests = Tests(*(np.concatenate(pair, axis=-1) for pair in joined))
        self._significance = significance
        statistics = self._tests.statistic
        is_test = ~np.isnan(statistics)
        tests = statistics[is_test], self._tests.permuted[:, is_test]
        self._p_values, self._corrected = np.full((2, *statistics.shape), np.nan)
        self._p_values[is_test] = compute_p_values(*tests)
        self._corrected[is_test] = correct_by_permutation(*tests)

    def get(self, group: int, metric: int) -> dict[str, Any] | None:
        """Return the difference of a group; None without a test."""
        value, low, high = (float(part[group, metric]) for part in self._tests[:3])
        p_value = float(self._p_values[group, metric])
        if np.isnan(p_value):
            return None
        corrected = float(self._corrected[group, metric])
        return {
            "value": value,
            "low": low,
            "high": high,
            "p_value": p_value,
            "corrected_p_value": corrected,
            "differs": corrected < self._significance,
        }


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
