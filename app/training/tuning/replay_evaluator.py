"""Evaluate how recent events count (`recent` in `params.yaml`), by replaying held-out events."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.model.artifact import ModelMetadata, open_artifact
from app.model.recent_ranking import RecentParams, RecentRanking
from app.model.recommendation_lists import LISTS, RecommendationLists
from app.training.fit import fit_models
from app.training.interactions import Interactions
from app.training.model_writer import TrainingResult, write_model
from app.training.params import Params
from app.training.ranking.popularity import resolve_auto
from app.training.ranking.related import compute_related
from app.training.ranking.scorers import Floats
from app.training.replay import LAGS, LENGTH, make_replay_log, replay
from app.training.segments import empty_segments
from app.training.stages import Stages
from app.training.tuning.splits import drop_empty, global_temporal_split

#: Events before which a recommendation is computed, for each lag.
MAX_EVENTS = 3000


class ReplayEvaluator:
    """Computes the nDCG of a replay with other parameters of `recent`.

    The models are fitted once, to all events but the newest quarter. That quarter is replayed.

    Args:
        events: all events.
        params: parameters of the models.
        scale: lowest and highest rating.
        seed: seed of the draw of events.
        max_events: events before which a recommendation is computed, for each lag.

    Attributes:
        is_possible: whether enough events have a time.
    """

    def __init__(
        self,
        events: Interactions,
        params: Params,
        scale: tuple[float, float],
        seed: int,
        max_events: int | None = MAX_EVENTS,
    ) -> None:
        split = global_temporal_split(events)
        self.is_possible = split is not None and bool(len(split.users) and len(split.train.movie))
        if split is None or not self.is_possible:
            return
        train = drop_empty(split.train)
        params = resolve_auto(params, train)
        with Stages() as stages:
            self._models = fit_models(train, params, scale, stages)
            result = TrainingResult(train, self._models, empty_segments(params.lists.depth), params)
            parameters = {**params.model_dump(mode="json"), "rating_scale": list(scale)}
            metadata = ModelMetadata(0, parameters, {}, train.describe(), {})
            with tempfile.TemporaryDirectory(prefix="marquee-replay-") as directory:
                write_model(Path(directory) / "model", result, metadata, stages)
                # The mapped files remain readable after their removal.
                self.lists = RecommendationLists.open(Path(directory) / "model", LENGTH)
                self._arrays = open_artifact(Path(directory) / "model" / LISTS, "lists").arrays
        self._scale = scale
        numbers = {movie_id: number for number, movie_id in enumerate(train.movies)}
        self.log = make_replay_log(split.test, numbers, max_events, seed)
        self._related: dict[str, tuple[NDArray[np.unsignedinteger], Floats]] = {}

    def evaluate(self, params: Params) -> Iterator[tuple[str, float]]:
        """Yield the name of each lag and the nDCG with it."""
        self.use(params.recent)
        for lag in LAGS:
            yield format_lag(lag), replay(self.lists, self.log, lag).ndcg()

    def use(self, params: RecentParams) -> None:
        """Make `lists` count recent events by these parameters."""
        related, weights = self._get_related(params)
        arrays = {**self._arrays, "related_movies": related, "related_weights": weights}
        self.lists.recent = RecentRanking(arrays, params, self._scale)

    def _get_related(self, params: RecentParams) -> tuple[NDArray[np.unsignedinteger], Floats]:
        key = f"{params.related_movies} {params.ease_share}"
        if key not in self._related:
            models = self._models
            movies = len(self.lists.movie_ids)
            found = compute_related(models.ease, models.transitions, movies, params)
            self._related = {key: found}
        return self._related[key]


def format_lag(seconds: float) -> str:
    """Return a lag in the largest unit of which it is a whole number, as in `10 min`."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"
