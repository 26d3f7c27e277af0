"""Write a model directory: the lists to be served and the factors they were computed from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.atomic_files import staged_directory
from app.model.artifact import Array, ModelMetadata, create_array, write_array, write_manifest
from app.model.manifest import Manifest
from app.model.recommendation_lists import LISTS, movie_number_dtype, pack_movie_ids
from app.model.verify import FACTORS
from app.training.errors import TrainingError
from app.training.fit import FittedModels
from app.training.interactions import Interactions
from app.training.params import Params
from app.training.ranking.ease import count_movies
from app.training.ranking.popularity import rank_by_popularity
from app.training.ranking.related import compute_related
from app.training.ranking.scorers import SameForAllScorer
from app.training.segments import Segments
from app.training.stages import Advance, Stages
from app.training.top_n import SeenMovies, fill_lists


@dataclass(frozen=True)
class TrainingResult:
    """Everything that a model directory is written from."""

    events: Interactions
    models: FittedModels
    segments: Segments
    params: Params

    def fill_lists(
        self, out: NDArray[np.integer], scores: NDArray[np.floating], advance: Advance
    ) -> None:
        """Compute the list of each user [U, D] and its scores."""
        scorer = self.models.build_scorer(self.events, self.params)
        seen = SeenMovies(self.events.start, self.events.movie)
        fill_lists(out, scorer, seen, self.params.lists.block_size, advance, scores)


def check_target(target: Path) -> None:
    """Check that writing a model to `target` replaces nothing but a model.

    Raises:
        TrainingError: `target` exists and is not a model directory.
    """
    if target.exists() and not target.is_dir():
        raise TrainingError(f"{target}: not a directory")
    if target.is_dir() and (found := {path.name for path in target.iterdir()} - {LISTS, FACTORS}):
        raise TrainingError(f"{target}: not a model directory: it contains {min(found)}")


#: Fills lists [U, D] and their scores [U, D] in the order of the users, as `top_n.fill_lists` does.
Fill = Callable[[NDArray[np.integer], NDArray[np.floating], Advance], None]


def write_model(
    target: Path,
    result: TrainingResult,
    metadata: ModelMetadata,
    stages: Stages,
    fill: Fill | None = None,
) -> Manifest:
    """Write `target/lists` and `target/factors`, both or neither; return the lists' manifest.

    The lists are those of the users with events in the last `lists.active_days` days.

    Args:
        target: model directory.
        result: what is written.
        metadata: for the manifests.
        stages: receives the progress.
        fill: computes the lists; None: this process.
    """
    events, listed = result.events, _select_active(result)
    users, movies = len(listed.events.users), len(events.movies)
    with staged_directory(target) as staged:
        (staged / LISTS).mkdir()
        (staged / FACTORS).mkdir()
        with stages.stage("lists", users) as advance:
            _write_ids(staged / LISTS, listed.events)
            _write_popular(staged / LISTS, listed)
            _write_lists(staged / LISTS, listed, advance, fill or listed.fill_lists)
            _write_recent_parts(staged / LISTS, listed)
        with stages.stage("write"):
            _write_ids(staged / FACTORS, events)
            _write_factors(staged / FACTORS, events, result.models)
            write_manifest(staged / FACTORS, "factors", len(events.users), movies, metadata)
            return write_manifest(staged / LISTS, "lists", users, movies, metadata)


def _select_active(result: TrainingResult) -> TrainingResult:
    """Return the result for the users that get a list; the same where all do."""
    days = result.params.lists.active_days
    if days == "all" or (active := result.events.find_active_users(days)).all():
        return result
    events, pairs = result.events.select_users(active)
    return replace(result, events=events, models=result.models.select_users(active, pairs))


def _write_ids(directory: Path, events: Interactions) -> None:
    write_array(directory, "movies", pack_movie_ids(events.movies))
    write_array(directory, "users", events.users)


def _write_lists(directory: Path, result: TrainingResult, advance: Advance, fill: Fill) -> None:
    events = result.events
    shape = (len(events.users), result.params.lists.depth)
    out = create_array(directory, "lists", movie_number_dtype(len(events.movies)), shape)
    scores = create_array(directory, "list_scores", np.float16, shape)
    fill(out, scores, advance)
    for array in (out, scores):
        if isinstance(array, np.memmap):
            array.flush()


def _write_recent_parts(directory: Path, result: TrainingResult) -> None:
    """Write what `app.model.recent_ranking` needs beside the lists and their scores."""
    events, models = result.events, result.models
    movies = len(events.movies)
    popularity = SameForAllScorer(models.popularity).scores(0, 1)[0]
    related, weights = compute_related(
        models.ease, models.transitions, movies, result.params.recent
    )
    write_array(directory, "popularity", popularity)
    write_array(directory, "seen_start", events.start)
    write_array(directory, "seen_movies", events.movie.astype(movie_number_dtype(movies)))
    write_array(directory, "related_movies", related)
    write_array(directory, "related_weights", weights)


def _write_popular(directory: Path, result: TrainingResult) -> None:
    dtype, segments = movie_number_dtype(len(result.events.movies)), result.segments
    popular = rank_by_popularity(result.models.popularity)
    write_array(directory, "popular", popular.astype(dtype))
    write_array(directory, "segment_users", segments.users)
    write_array(directory, "segment_of", segments.segment)
    write_array(directory, "segment_popular", segments.popular.astype(dtype))


def _write_factors(directory: Path, events: Interactions, models: FittedModels) -> None:
    counts = count_movies(events.movie, len(events.movies)).astype(np.int32)
    arrays: dict[str, Array] = {
        "movie_users": counts,
        "popularity": models.popularity,
        "seen_start": events.start,
        "seen_movies": events.movie,
        "seen_confidence": models.confidence,
        "seen_recency": models.recency,
    }
    if models.als is not None:
        arrays |= {"als_users": models.als.users, "als_movies": models.als.movies}
    if models.ease is not None:
        arrays |= {"ease_movies": models.ease.movies, "ease_weights": models.ease.weights}
    if models.transitions is not None:
        arrays["transition_movies"] = models.transitions.movies
        arrays["transition_weights"] = models.transitions.weights
    if models.svd is not None:
        arrays |= models.svd.to_arrays()
    for name, array in arrays.items():
        write_array(directory, name, array)
