"""Training from end to end: tables in, a model directory out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.model.artifact import ModelMetadata
from app.training.code_version import code_identity
from app.training.fit import Fitted, fit
from app.training.interactions import Interactions
from app.training.load import read_events
from app.training.model_writer import Trained, check_target, write_model
from app.training.params import Params
from app.training.progress import Stages
from app.training.ranking.popularity import settled
from app.training.segments import Segments, make_segments, no_segments, read_users


@dataclass(frozen=True)
class Job:
    """What to train from, and where to put the model.

    Attributes:
        ratings: table of ratings, or None.
        watches: table of watches, or None.
        users: table of user attributes, or None.
        movies: table of movie lengths, or None.
        out: model directory to be made or replaced.
        version: version number of the model.
        scale: lowest and highest rating.
        evaluation: how well a model made alike predicts held-out events, for the manifest.
    """

    ratings: Path | None
    watches: Path | None
    users: Path | None
    movies: Path | None
    out: Path
    version: int
    scale: tuple[float, float]
    evaluation: dict[str, Any] | None = None


def train(job: Job, params: Params) -> dict[str, Any]:
    """Train a model and write it; returns the summary that `marquee train --json` prints.

    Raises:
        IngestError: a table is missing or is none.
        TrainingError: no model can be made from this input, or `job.out` is something else.
    """
    check_target(job.out)
    with Stages() as stages:
        with stages.stage("read"):
            events = read_events(job.ratings, job.watches, job.scale, job.movies)
            params = settled(params, events)
        fitted = fit(events, params, job.scale, stages)
        segments = _segments(job, params, events, fitted)
        metrics = {**(job.evaluation or {}), "svd": _describe_ratings(events, fitted)}
        parameters = {**params.model_dump(mode="json"), "rating_scale": list(job.scale)}
        metadata = ModelMetadata(
            job.version, parameters, metrics, events.describe(), code_identity()
        )
        trained = Trained(events, fitted, segments, params)
        manifest = write_model(job.out, trained, metadata, stages)
    return {
        "model": str(job.out),
        "version": manifest.version,
        "model_hash": manifest.model_hash,
        "data": manifest.data,
        "segments": segments.names,
        "metrics": metrics,
        "seconds": stages.seconds,
        "peak_mb": stages.peak_mb,
    }


def _segments(job: Job, params: Params, events: Interactions, fitted: Fitted) -> Segments:
    depth = params.lists.depth
    if job.users is None:
        return no_segments(depth)
    return make_segments(
        read_users(job.users),
        events,
        fitted.popularity,
        params.popularity,
        params.segments,
        depth,
    )


def _describe_ratings(events: Interactions, fitted: Fitted) -> dict[str, Any] | None:
    """How well the SVD fits what it was fitted to; None without ratings."""
    if fitted.ratings is None:
        return None
    rated = np.isfinite(events.rating)
    error = fitted.ratings.estimate(events.user[rated], events.item[rated]) - events.rating[rated]
    return {"ratings": int(rated.sum()), "training_rmse": float(np.sqrt(np.mean(error**2)))}
