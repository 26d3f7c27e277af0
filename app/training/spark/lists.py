"""Lists, computed block by block on the workers by the code that one machine uses."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.model.recommendation_lists import movie_number_dtype
from app.spark.cluster import Cluster, Report
from app.spark.files import load_array, save_array
from app.training.fit import FittedModels
from app.training.params import Params
from app.training.ranking.als import AlsFactors
from app.training.ranking.confidence import to_matrix
from app.training.ranking.ease import MovieWeights
from app.training.spark.blocks import Data, UserBlock
from app.training.stages import Advance
from app.training.svd import SvdModel
from app.training.top_n import SeenMovies, fill_lists

_LISTS = "lists"


@dataclass(frozen=True)
class _Models:
    """Which models there are; their arrays are files that the tasks of a machine share."""

    directory: Path
    als: bool
    ease: bool
    transitions: bool
    svd: bool


class BlockLists:
    """The lists of all blocks.

    Args:
        data: what tasks need to know.
        blocks: the blocks.
    """

    def __init__(self, data: Data, blocks: Sequence[UserBlock]) -> None:
        self._data, self._blocks = data, blocks

    def compute(
        self, cluster: Cluster, models: FittedModels, params: Params, report: Report
    ) -> None:
        """Compute the lists on the cluster, as files in the scratch directory."""
        (self._data.directory / _LISTS).mkdir()
        function = partial(_compute, self._data, self._write_models(models, params), params)
        cluster.run("lists", function, self._blocks, report)

    def fill(
        self, out: NDArray[np.integer], scores: NDArray[np.floating], advance: Advance
    ) -> None:
        """See `app.training.model_writer.Fill`."""
        first = 0
        for block in self._blocks:
            lists, list_scores = (load_array(path) for path in _paths(self._data, block))
            last = first + len(lists)
            out[first:last], scores[first:last] = lists, list_scores
            advance(last - first)
            first = last

    def _write_models(self, models: FittedModels, params: Params) -> _Models:
        directory = self._data.directory / "models"
        directory.mkdir()
        arrays: dict[str, NDArray] = {"popularity": models.popularity}  # type: ignore[type-arg]
        if models.als is not None:
            arrays |= {"als_users": models.als.users, "als_movies": models.als.movies}
        for name, weights in (("ease", models.ease), ("transitions", models.transitions)):
            if weights is not None:
                arrays |= {f"{name}_movies": weights.movies, name: weights.weights}
        uses_svd = models.svd is not None and params.blend.svd > 0
        if models.svd is not None and uses_svd:
            arrays |= models.svd.to_arrays()
        for name, array in arrays.items():
            save_array(directory / f"{name}.npy", array)
        return _Models(
            directory,
            models.als is not None,
            models.ease is not None,
            models.transitions is not None,
            uses_svd,
        )


def _paths(data: Data, block: UserBlock) -> tuple[Path, Path]:
    directory = data.directory / _LISTS
    return directory / f"{block.number:06}.npy", directory / f"{block.number:06}-scores.npy"


def _compute(data: Data, saved: _Models, params: Params, block: UserBlock) -> None:
    """Task: write the lists of the users of a block."""
    events = data.load_events(block)
    models = _load_models(data, saved, block)
    days = params.lists.active_days
    if days != "all":
        active = events.find_active_users(days)
        events, pairs = events.select_users(active)
        models = models.select_users(active, pairs)
    shape = (len(events.users), params.lists.depth)
    out = np.empty(shape, movie_number_dtype(data.movies))
    scores = np.empty(shape, np.float16)
    if len(events.users):
        scorer, seen = models.build_scorer(events, params), SeenMovies(events.start, events.movie)
        fill_lists(out, scorer, seen, params.lists.block_size, list_scores=scores, max_threads=1)
    for path, array in zip(_paths(data, block), (out, scores), strict=True):
        save_array(path, array)


def _load_models(data: Data, saved: _Models, block: UserBlock) -> FittedModels:
    """Return the models for the users of a block."""

    def load(name: str) -> NDArray:  # type: ignore[type-arg]
        return load_array(saved.directory / f"{name}.npy")

    def load_weights(name: str) -> MovieWeights:
        return MovieWeights(load(f"{name}_movies"), load(name))

    users = slice(block.first_user, block.first_user + block.users)
    confidence, recency = data.load_weights(block)
    svd = None
    if saved.svd:
        names = ("mean", "user_bias", "movie_bias", "users", "movies")
        arrays = {f"svd_{name}": load(f"svd_{name}") for name in names}
        arrays |= {name: arrays[name][users] for name in ("svd_user_bias", "svd_users")}
        svd = SvdModel.from_arrays(arrays)
    return FittedModels(
        confidence=confidence,
        matrix=to_matrix(data.load_events(block), confidence),
        recency=recency,
        popularity=load("popularity"),
        svd=svd,
        als=AlsFactors(load("als_users")[users], load("als_movies")) if saved.als else None,
        ease=load_weights("ease") if saved.ease else None,
        transitions=load_weights("transitions") if saved.transitions else None,
    )
