"""Baseline: an unpickled Surprise SVD; each request predicts every movie and sorts."""

import os
import pickle
from pathlib import Path

import numpy as np
from flask import Flask, Response
from prometheus_flask_exporter.multiprocess import GunicornInternalPrometheusMetrics

from app.model.recommendation_lists import LISTS
from app.service.metrics import LATENCY_BUCKETS_SECONDS
from bench.requests.baseline_constant import LENGTH
from bench.requests.model import BUILD, movie_ids, user_ids

_RATINGS_PER_USER = 30


def make_model(users: int, movies: int) -> Path:
    """Make a directory with `model.pickle` and the user ids; kept for the next run.

    One epoch suffices: the time of a request does not depend on the values.
    """
    import polars as pl  # noqa: PLC0415 - not needed by the server
    from surprise import SVD, Dataset, Reader  # noqa: PLC0415

    directory = BUILD / f"naive-{users}-{movies}"
    if (directory / "model.pickle").exists():
        return directory
    (directory / LISTS).mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(3)
    known, names = user_ids(random, users), movie_ids(movies)
    count = users * _RATINGS_PER_USER
    movie = np.concatenate([np.arange(movies), random.integers(movies, size=count - movies)])
    table = pl.DataFrame(
        {
            "user": np.resize(known, count),
            "movie": np.array(names, object)[movie],
            "rating": random.integers(1, 6, count),
        }
    )
    data = Dataset.load_from_df(table.to_pandas(), Reader(rating_scale=(1, 5)))
    model = SVD(n_epochs=1, random_state=0).fit(data.build_full_trainset())
    np.save(directory / LISTS / "users.npy", known)
    with (directory / "model.pickle").open("wb") as file:
        pickle.dump((model, names), file)
    return directory


def wsgi() -> Flask:
    """The application, with the same exporter as the constant baseline."""
    with (Path(os.environ["MARQUEE_MODEL_DIR"]) / "model.pickle").open("rb") as file:
        model, names = pickle.load(file)
    app = Flask("naive", static_folder=None)
    GunicornInternalPrometheusMetrics(app, group_by="url_rule", buckets=LATENCY_BUCKETS_SECONDS)

    @app.get("/recommend/<int:user_id>")
    def recommend(user_id: int) -> Response:
        scores = [(model.predict(user_id, name).est, name) for name in names]
        best = sorted(scores, reverse=True)[:LENGTH]
        return Response(",".join(name for _, name in best), mimetype="text/plain")

    @app.get("/ready")
    def ready() -> str:
        return "ready"

    return app
