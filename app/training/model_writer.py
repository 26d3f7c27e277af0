"""Write a model directory: the lists that are served and the factors they were made from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.atomic_files import staged_directory
from app.model.artifact import ModelMetadata, create_array, write_array, write_manifest
from app.model.manifest import Manifest
from app.model.recommendation_lists import LISTS, movie_number_dtype, pack_movie_ids
from app.model.verify import FACTORS
from app.training.errors import TrainingError
from app.training.fit import Fitted
from app.training.interactions import Interactions
from app.training.params import Params
from app.training.progress import Advance, Stages
from app.training.ranking.popularity import most_popular_first
from app.training.segments import Segments
from app.training.top_n import fill_lists


@dataclass(frozen=True)
class Trained:
    """What a model directory is written from."""

    events: Interactions
    fitted: Fitted
    segments: Segments
    params: Params


def check_target(target: Path) -> None:
    """Refuse to put a model where something else lies, for it would be replaced.

    Raises:
        TrainingError: `target` exists and is not a model directory.
    """
    if target.exists() and not target.is_dir():
        raise TrainingError(f"{target}: not a directory")
    if target.is_dir() and (found := {path.name for path in target.iterdir()} - {LISTS, FACTORS}):
        raise TrainingError(f"{target}: holds {min(found)}, so it is no model to be replaced")


def write_model(
    target: Path, trained: Trained, metadata: ModelMetadata, stages: Stages
) -> Manifest:
    """Write `target/lists` and `target/factors`, both or neither; returns the lists' manifest."""
    events, fitted = trained.events, trained.fitted
    users, items = len(events.users), len(events.items)
    with staged_directory(target) as staged:
        (staged / LISTS).mkdir()
        (staged / FACTORS).mkdir()
        with stages.stage("lists", users) as advance:
            _write_shared(staged / LISTS, events)
            _write_popular(staged / LISTS, trained)
            _write_lists(staged / LISTS, trained, advance)
        with stages.stage("write"):
            _write_shared(staged / FACTORS, events)
            _write_factors(staged / FACTORS, events, fitted)
            write_manifest(staged / FACTORS, "factors", users, items, metadata)
            return write_manifest(staged / LISTS, "lists", users, items, metadata)


def _write_shared(directory: Path, events: Interactions) -> None:
    write_array(directory, "movies", pack_movie_ids(events.items))
    write_array(directory, "users", events.users)


def _write_lists(directory: Path, trained: Trained, advance: Advance) -> None:
    events, params = trained.events, trained.params.lists
    shape = (len(events.users), params.depth)
    out = create_array(directory, "lists", movie_number_dtype(len(events.items)), shape)
    scorer = trained.fitted.scorer(events, trained.params)
    fill_lists(out, scorer, events.start, events.item, params.block, advance)
    if isinstance(out, np.memmap):
        out.flush()


def _write_popular(directory: Path, trained: Trained) -> None:
    dtype, segments = movie_number_dtype(len(trained.events.items)), trained.segments
    popular = most_popular_first(trained.fitted.popularity)
    write_array(directory, "popular", popular.astype(dtype))
    write_array(directory, "segment_users", segments.users)
    write_array(directory, "segment_of", segments.segment)
    write_array(directory, "segment_popular", segments.popular.astype(dtype))


def _write_factors(directory: Path, events: Interactions, fitted: Fitted) -> None:
    counts = np.bincount(events.item, minlength=len(events.items)).astype(np.int32)
    write_array(directory, "item_users", counts)
    write_array(directory, "popularity", fitted.popularity)
    write_array(directory, "seen_start", events.start)
    write_array(directory, "seen_items", events.item)
    write_array(directory, "seen_strength", fitted.strength)
    write_array(directory, "seen_fading", fitted.fading)
    if fitted.als is not None:
        write_array(directory, "als_users", fitted.als.users)
        write_array(directory, "als_items", fitted.als.items)
    if fitted.ease is not None:
        write_array(directory, "ease_movies", fitted.ease.movies)
        write_array(directory, "ease_weights", fitted.ease.weights)
    if fitted.neighbours is not None:
        write_array(directory, "neighbour_movies", fitted.neighbours.movies)
        write_array(directory, "neighbour_weights", fitted.neighbours.weights)
    if fitted.ratings is not None:
        for name, array in fitted.ratings.to_arrays().items():
            write_array(directory, name, array)
