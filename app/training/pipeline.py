"""`marquee train`: read tables, fit the models, write a model directory."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from app.ingest.time_limits import TimeLimits
from app.model.artifact import ModelMetadata
from app.training.code_version import describe_code
from app.training.fit import FittedModels, fit_models
from app.training.interactions import BLOCK_PAIRS, Interactions
from app.training.load import LoadContext, load_interactions
from app.training.mapped_arrays import MappedArrays
from app.training.model_writer import Fill, TrainingResult, check_target, write_model
from app.training.params import Params
from app.training.ranking.popularity import resolve_auto
from app.training.segments import Segments, build_segments, empty_segments, read_users
from app.training.stages import Stages

#: Ratings whose errors are computed at a time.
_CHUNK = 1_000_000


@dataclass(frozen=True)
class TrainingJob:
    """The input and output of a training run.

    Attributes:
        ratings: table of ratings, or None.
        watches: table of watches, or None.
        users: table of user attributes, or None.
        movies: table of movie lengths, or None.
        out: model directory to be written or replaced.
        version: version number of the model.
        scale: lowest and highest rating.
        evaluation: result of `marquee evaluate --json` for the manifest, or None.
        times: limits of the possible times; None: the default limits.
        block_pairs: pairs of user and movie that are computed at a time.
    """

    ratings: Path | None
    watches: Path | None
    users: Path | None
    movies: Path | None
    out: Path
    version: int
    scale: tuple[float, float]
    evaluation: dict[str, Any] | None = None
    times: TimeLimits | None = None
    block_pairs: int = BLOCK_PAIRS


class Fitted(NamedTuple):
    """What an engine has fitted.

    Attributes:
        events: the training data.
        params: the parameters, without `auto`.
        models: the fitted models.
        fill: computes the lists; None: this process.
        engine: name and version of the engine, for the manifest.
    """

    events: Interactions
    params: Params
    models: FittedModels
    fill: Fill | None
    engine: dict[str, str]


#: Reads the tables of a job and fits all models: on this machine, or on a cluster.
Fit = Callable[[TrainingJob, Params, Stages], Fitted]


def fit_here(job: TrainingJob, params: Params, stages: Stages) -> Fitted:
    """Read the tables and fit all models in this process."""
    context = LoadContext(stages, MappedArrays(job.out.absolute().parent), job.block_pairs)
    with stages.stage("read"):
        events = load_interactions(
            job.ratings, job.watches, job.scale, job.movies, job.times, context
        )
        params = resolve_auto(params, events)
    return Fitted(events, params, fit_models(events, params, job.scale, stages), None, {})


def run_training(job: TrainingJob, params: Params, fit: Fit = fit_here) -> dict[str, Any]:
    """Train a model and write it; return the summary that `marquee train --json` prints.

    Args:
        job: input and output.
        params: parameters of the model.
        fit: the engine.

    Raises:
        IngestError: a table is missing or not valid.
        TrainingError: no model can be trained from this input, or `job.out` is not a model.
    """
    check_target(job.out)
    with Stages() as stages:
        events, params, models, fill, engine = fit(job, params, stages)
        with stages.stage("metrics"):
            segments = _build_segments(job, params, events, models)
            metrics = {**(job.evaluation or {}), "svd": _describe_svd(events, models, params)}
            parameters = {**params.model_dump(mode="json"), "rating_scale": list(job.scale)}
            metadata = ModelMetadata(
                job.version, parameters, metrics, events.describe(), describe_code() | engine
            )
        result = TrainingResult(events, models, segments, params)
        manifest = write_model(job.out, result, metadata, stages, fill)
    return {
        "model": str(job.out),
        "version": manifest.version,
        "model_hash": manifest.model_hash,
        "data": manifest.data,
        "segments": segments.names,
        "metrics": metrics,
        "seconds": stages.seconds,
        "cpu_seconds": stages.cpu_seconds,
        "peak_mb": stages.peak_mb,
    }


def _build_segments(
    job: TrainingJob, params: Params, events: Interactions, models: FittedModels
) -> Segments:
    depth = params.lists.depth
    if job.users is None:
        return empty_segments(depth)
    users = read_users(job.users)
    return build_segments(
        users, events, models.popularity, params.popularity, params.segments, depth
    )


def _describe_svd(
    events: Interactions, models: FittedModels, params: Params
) -> dict[str, Any] | None:
    """Return the SVD's error on all ratings, and to how many it was fitted; None without any."""
    if models.svd is None:
        return None
    rated = np.flatnonzero(np.isfinite(events.rating))
    total = 0.0
    for pairs in np.array_split(rated, len(rated) // _CHUNK + 1):
        estimate = models.svd.estimate(events.find_users(pairs), events.movie[pairs])
        total += float(np.square(estimate - events.rating[pairs]).sum())
    return {
        "ratings": len(rated),
        "fitted_ratings": min(len(rated), params.svd.max_ratings),
        "training_rmse": math.sqrt(total / len(rated)),
    }
