"""The fairness report of a version, and the comparison with the model in production."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from app.fairness.movies_side import (
    classify_movies,
    classify_popularity,
    describe_exposure,
    read_movies,
)
from app.fairness.params import FairnessParams
from app.fairness.statistics import Floats, bootstrap_means, correct_holm, interval
from app.fairness.user_groups import Labels, group_users, read_attributes
from app.fairness.users_side import UserMetrics, describe_groups
from app.ingest.metadata_files import MOVIES_FILE, USERS_FILE
from app.training.evaluate import MeasuredUsers, measure_users
from app.training.interactions import Interactions

#: Format of the report as JSON.
FORMAT = 1


@dataclass(frozen=True)
class ReportInput:
    """What a report is made of.

    Attributes:
        model: model directory.
        held_out: events that the model was not trained on; their users are described.
        metadata: directory with the tables of `marquee enrich`, or None.
        k: movies of each recommendation.
        params: how groups are compared.
        age_bands: first age of each band after the youngest.
        seed: of all random numbers.
    """

    model: Path
    held_out: Interactions
    metadata: Path | None
    k: int
    params: FairnessParams
    age_bands: tuple[int, ...]
    seed: int


def make_report(source: ReportInput) -> dict[str, Any]:
    """Return the report of a model; docs/fairness.md describes its content.

    Raises:
        ArtifactError: the model lacks its factors or is not valid.
        TrainingError: the model's lists are shorter than `k`.
        FairnessError: a table of metadata cannot be read.
    """
    measured = measure_users(source.model, source.held_out, source.k)
    groups = _group(source, measured)
    movie_users = np.asarray(measured.factors.arrays["movie_users"])
    metadata = None if source.metadata is None else read_movies(source.metadata / MOVIES_FILE)
    classes = classify_movies(measured.movie_ids, movie_users, metadata)
    params = source.params
    return {
        "format": FORMAT,
        "k": source.k,
        "users": len(measured.user),
        "attributes": list(groups),
        **params.model_dump(),
        "users_side": describe_groups(UserMetrics.of(measured), groups, params, source.seed),
        "movies_side": describe_exposure(measured.shown, movie_users, classes, params, source.seed),
    }


def compare_with_model(source: ReportInput, before: Path, max_regression: float) -> dict[str, Any]:
    """Compare the nDCG of each group with that of another model for the same users and events.

    What is shown to these users by either model is described, too, but is no reason to refuse one.
    The one-sided test of a group is that its mean is lower than `1 - max_regression` times the
    mean of the other model; users are paired, and Holm's correction is over all groups.

    Args:
        source: the model, and the events that neither model was trained on.
        before: model directory of the other one. Its knowledge of users forms no groups.
        max_regression: how much worse a group's nDCG may be, relative.

    Raises:
        ArtifactError: a model lacks its factors or is not valid.
        TrainingError: a model's lists are shorter than `k`.
        FairnessError: a table of metadata cannot be read.
    """
    measured = measure_users(source.model, source.held_out, source.k)
    other = measure_users(before, source.held_out, source.k)
    rows = compare_groups(
        np.column_stack([measured.metrics.ndcg, other.metrics.ndcg]),
        _group(source, measured),
        max_regression,
        source.params,
        source.seed,
    )
    return {
        "format": FORMAT,
        "max_regression": max_regression,
        "groups": rows,
        "movies_side": {
            "before": _summarize_exposure(other, source),
            "after": _summarize_exposure(measured, source),
        },
    }


def _summarize_exposure(measured: MeasuredUsers, source: ReportInput) -> dict[str, Any]:
    """Return what `describe_exposure` does, with the classes by popularity alone."""
    movie_users = np.asarray(measured.factors.arrays["movie_users"])
    classes = {"popularity": classify_popularity(movie_users)}
    return describe_exposure(measured.shown, movie_users, classes, source.params, source.seed)


def compare_groups(
    pairs: Floats,
    groups: dict[str, Labels],
    max_regression: float,
    params: FairnessParams,
    seed: int,
) -> list[dict[str, Any]]:
    """Compare a metric of two models in each group; see `compare_with_model`.

    Args:
        pairs: [Q, 2] the metric of each user by the model and by the one before.
        groups: the group of each user [Q] by attribute.
        max_regression: how much worse a group's mean may be, relative.
        params: how groups are compared.
        seed: of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for attribute, labels in groups.items():
        for name, size in zip(*np.unique(labels, return_counts=True), strict=True):
            if size >= params.min_users:
                row = _compare_pairs(pairs[labels == name], max_regression, params, rng)
                rows.append({"attribute": attribute, "group": str(name), "users": int(size), **row})
    for row, corrected in zip(rows, correct_holm([r["p_value"] for r in rows]), strict=True):
        row["corrected_p_value"] = corrected
        row["worse"] = corrected < params.significance
    return rows


def _compare_pairs(
    pairs: Floats, max_regression: float, params: FairnessParams, rng: np.random.Generator
) -> dict[str, Any]:
    """Compare the columns of `pairs` [users, 2]: after and before."""
    after, before = (float(mean) for mean in pairs.mean(axis=0))
    samples = bootstrap_means(pairs, params.resamples, rng)
    ratios = np.divide(
        samples[:, 0], samples[:, 1], out=np.full(len(samples), np.nan), where=samples[:, 1] > 0
    )
    low, high = interval(ratios, params.significance)
    margin = pairs[:, 0] - (1 - max_regression) * pairs[:, 1]
    error = float(margin.std(ddof=1)) / np.sqrt(len(margin))
    mean = float(margin.mean())
    p_value = float(stats.t.cdf(mean / error, len(margin) - 1)) if error else float(mean >= 0)
    return {
        "after": after,
        "before": before,
        "ratio": [after / before if before else None, low, high],
        "p_value": p_value,
    }


def _group(source: ReportInput, measured: MeasuredUsers) -> dict[str, Labels]:
    attributes = None if source.metadata is None else read_attributes(source.metadata / USERS_FILE)
    return group_users(
        source.held_out.users, measured.user >= 0, measured.activity, attributes, source.age_bands
    )
