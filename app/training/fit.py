"""Fit all models to the events, and build the scorer that ranks movies."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from app.training.errors import TrainingError
from app.training.interactions import Interactions
from app.training.mapped_arrays import CreateArray
from app.training.params import BlendParams, Params, SvdParams
from app.training.ranking.als import AlsFactors, fit_als
from app.training.ranking.confidence import compute_confidence, to_matrix
from app.training.ranking.ease import MovieWeights, fit_ease
from app.training.ranking.popularity import compute_popularity
from app.training.ranking.recency import compute_recency
from app.training.ranking.scorers import (
    Blend,
    BlendScorer,
    FactorScorer,
    Floats,
    MovieWeightScorer,
    SameForAllScorer,
    Weight,
)
from app.training.ranking.transitions import fit_transitions
from app.training.stages import Advance, Stages
from app.training.svd import Ratings, SvdModel, fit_ratings, select_ratings

#: From this number of ratings on, fitting the SVD takes longer than starting a process.
_MIN_RATINGS_FOR_PROCESS = 200_000
#: What the SVD is fitted to: the ratings, its parameters, the rating scale, and the seed.
_Job = tuple[Ratings, SvdParams, tuple[float, float], int]


@dataclass(frozen=True)
class FittedModels:
    """The fitted models.

    Attributes:
        confidence: [E] confidence of each pair.
        matrix: the same as a matrix [U, N].
        recency: [E] recency weight of each pair.
        popularity: [N] popularity of each movie.
        svd: the rating predictor; None without ratings.
        als: None when its weight is 0, as are the next two.
        ease: weights between movies.
        transitions: weights between movies; also None without times.
    """

    confidence: Floats
    matrix: sparse.csr_array
    recency: Floats
    popularity: NDArray[np.float64]
    svd: SvdModel | None
    als: AlsFactors | None
    ease: MovieWeights | None
    transitions: MovieWeights | None

    def select_users(self, chosen: NDArray[np.bool_], pairs: NDArray[np.bool_]) -> "FittedModels":
        """Return the models for some users.

        Args:
            chosen: [U] whether a user is one of them.
            pairs: [E] whether a pair is of one of them.
        """
        als, svd = self.als, self.svd
        return replace(
            self,
            confidence=self.confidence[pairs],
            matrix=self.matrix[chosen],
            recency=self.recency[pairs],
            als=None if als is None else replace(als, users=als.users[chosen]),
            svd=None
            if svd is None
            else replace(svd, users=svd.users[chosen], user_bias=svd.user_bias[chosen]),
        )

    def build_scorer(self, events: Interactions, params: Params) -> Blend:
        """Return the blend that ranks movies for the users of `events`."""
        pairs = (events, self.confidence, self.recency)
        scorers: dict[str, BlendScorer] = {}
        if self.als is not None:
            scorers["als"] = als_scorer(self.als)
        if self.ease is not None:
            scorers["ease"] = ease_scorer(*pairs, params, self.ease)
        if self.transitions is not None:
            scorers["transitions"] = transitions_scorer(*pairs, self.transitions)
        if self.svd is not None:
            scorers["svd"] = svd_scorer(self.svd)
        counts = np.diff(self.matrix.indptr)
        return blend_scorers(scorers, SameForAllScorer(self.popularity), counts, params.blend)


def fit_models(
    events: Interactions, params: Params, scale: tuple[float, float], stages: Stages
) -> FittedModels:
    """Fit the rating predictor and all ranking models whose weight is not 0.

    Args:
        events: the training data.
        params: parameters of all models, and the seed.
        scale: lowest and highest rating.
        stages: receives the progress.
    """
    with stages.stage("confidence"):
        confidence = compute_confidence(events, params.confidence, scale)
        matrix = to_matrix(events, confidence)
        ratings = select_ratings(events, params.svd, params.seed)
    als, ease, transitions = None, None, None
    with fitting_svd(ratings, params, scale) as get_svd:
        if params.blend.als > 0:
            with stages.stage("als", params.als.iterations) as advance:
                als = fit_als(
                    matrix, params.als, params.seed, lambda: advance(1), events.create_array
                )
        if params.blend.ease > 0:
            with stages.stage("ease"):
                ease = fit_ease(matrix, params.ease)
        if params.blend.transitions > 0:
            with stages.stage("transitions"):
                transitions = fit_transitions(
                    events, matrix, params.transitions, params.ease.max_movies
                )
        with stages.stage("svd", params.svd.epochs) as advance:
            if svd := get_svd(advance):
                svd = replace(svd, users=_copy(svd.users, events.create_array))
    with stages.stage("recency"):
        recency = compute_recency(events, params.recency.half_life_events)
        popularity = compute_popularity(events, params.popularity)
    return FittedModels(
        confidence=confidence,
        matrix=matrix,
        recency=recency,
        popularity=popularity,
        svd=svd,
        als=als,
        ease=ease,
        transitions=transitions,
    )


def _copy(array: Floats, create_array: CreateArray) -> Floats:
    copy = create_array(array.shape, array.dtype)
    copy[:] = array
    return copy


@contextmanager
def fitting_svd(
    ratings: Ratings, params: Params, scale: tuple[float, float]
) -> Iterator[Callable[[Advance], SvdModel | None]]:
    """Start to fit the SVD; yield a function that waits for it and returns the model.

    Surprise uses one core and holds the interpreter's lock, so a large fit runs in a process of its
    own. The result is the same either way.
    """
    job: _Job = (ratings, params.svd, scale, params.seed)
    if len(ratings.rating) < _MIN_RATINGS_FOR_PROCESS:
        yield lambda advance: fit_ratings(*job, lambda: advance(1))
        return
    # Not forked: a fork copies the locks of other libraries without the threads that hold them.
    context = get_context("spawn")
    connection, remote = context.Pipe()
    process = context.Process(target=_fit_and_send, args=(remote,))
    process.start()
    remote.close()
    # Not by this thread: the other process starts to read after some seconds.
    sender = Thread(target=_send, args=(connection, job), daemon=True)
    sender.start()

    def get_svd(advance: Advance) -> SvdModel | None:
        try:
            while isinstance(message := connection.recv(), int):
                advance(message)
        except (EOFError, ConnectionError) as error:
            process.join()
            reason = f"the process that fits the rating predictor ended: {process.exitcode}"
            raise TrainingError(reason) from error
        process.join()  # so that its processor time is counted in this stage
        model: SvdModel | None = message
        return model

    try:
        yield get_svd
    finally:
        process.kill()
        process.join()
        sender.join()
        connection.close()


def _fit_and_send(connection: Connection) -> None:
    """Receive what the SVD is fitted to; send 1 for each epoch, and the model.

    Ends in the next epoch when the other process has ended.
    """
    with suppress(ConnectionError, EOFError):
        job: _Job = connection.recv()
        connection.send(fit_ratings(*job, advance=lambda: connection.send(1)))


def _send(connection: Connection, message: object) -> None:
    with suppress(OSError):  # the other process has ended, which is an error when it is awaited
        connection.send(message)


def blend_scorers(
    scorers: dict[str, BlendScorer],
    popularity: SameForAllScorer,
    event_counts: NDArray[np.integer[Any]],
    weights: BlendParams,
) -> Blend:
    """Combine scorers, by name, with their weights; the popularity's follows from `event_counts`.

    Raises:
        TrainingError: no scorer has a weight above 0.
    """
    parts: list[tuple[Weight, BlendScorer]] = [
        (compute_popularity_weight(event_counts, weights), popularity)
    ]
    parts += [(getattr(weights, name), scorer) for name, scorer in scorers.items()]
    return Blend(parts)


def compute_popularity_weight(
    event_counts: NDArray[np.integer[Any]], weights: BlendParams
) -> Floats:
    """Compute the weight [U] of popularity: the fewer events a user has, the more it counts.

    It is 1 for a user without events, whose list is ordered by popularity alone.
    """
    weight = weights.popularity + weights.cold_start / np.maximum(event_counts, 1)
    return np.where(event_counts == 0, 1, weight).astype(np.float32)


def als_scorer(als: AlsFactors) -> FactorScorer:
    """Return a scorer of the products of ALS factors."""
    return FactorScorer(als.users, als.movies)


def ease_scorer(
    events: Interactions, confidence: Floats, recency: Floats, params: Params, ease: MovieWeights
) -> MovieWeightScorer:
    """Return a scorer of EASE; `recency.ease_share` of each pair's weight decays."""
    share = np.float32(params.recency.ease_share)

    def compute(pairs: slice) -> Floats:
        return confidence[pairs] * np.asarray(1 - share + share * recency[pairs], dtype=np.float32)

    return MovieWeightScorer(WatchedPairs(events, compute), ease.movies, ease.weights)


def transitions_scorer(
    events: Interactions, confidence: Floats, recency: Floats, transitions: MovieWeights
) -> MovieWeightScorer:
    """Return a scorer of transitions; each pair's weight decays wholly."""
    watched = WatchedPairs(events, lambda pairs: confidence[pairs] * recency[pairs])
    return MovieWeightScorer(watched, transitions.movies, transitions.weights)


class WatchedPairs:
    """How much each watched movie counts, computed for the users whose rows are read.

    Args:
        events: the training data.
        compute: returns the values of some pairs.
    """

    def __init__(self, events: Interactions, compute: Callable[[slice], Floats]) -> None:
        self._events, self._compute = events, compute
        self.shape = (len(events.users), len(events.movies))

    def __getitem__(self, rows: slice) -> sparse.csr_array:
        """Return the rows of some users."""
        first, last, _ = rows.indices(self.shape[0])
        start = self._events.start[first : last + 1]
        pairs = slice(int(start[0]), int(start[-1]))
        values = (self._compute(pairs), self._events.movie[pairs], start - start[0])
        return sparse.csr_array(values, shape=(last - first, self.shape[1]))


def svd_scorer(svd: SvdModel) -> FactorScorer:
    """Return a scorer of the SVD's estimates, without the user's bias: it changes no order."""
    rated = svd.users.any(axis=1, keepdims=True).astype(np.float32)
    bias = svd.movie_bias[:, None].astype(np.float32)
    return FactorScorer(np.hstack([svd.users, rated]), np.hstack([svd.movies, bias]))
