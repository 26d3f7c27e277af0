"""Counts over all pairs, summed by a cluster: EASE, transitions and popularity."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from app.spark.cluster import Cluster, Report
from app.training.params import Params, PopularityParams, replace_params
from app.training.ranking.confidence import to_matrix
from app.training.ranking.ease import (
    MovieWeights,
    compute_gram,
    count_movies,
    select_most_watched,
    solve_ease,
)
from app.training.ranking.popularity import (
    TEST_SHARE,
    choose_half_life,
    compute_popularity,
    sum_ndcg,
    sum_older_pairs,
)
from app.training.ranking.transitions import count_transitions, weigh_transitions
from app.training.spark.blocks import Data, UserBlock

Array = NDArray[np.generic]
#: Groups of blocks that are summed by one task each: a small input has the first number of them,
#: and one more for every so many pairs. Each sends a square matrix of movies, 128 MB of 4000.
_MIN_GROUPS, _PAIRS_PER_GROUP = 8, 25_000_000
#: Classes of ages in which the age of the newest pairs is searched.
_BINS = 65_536


class Sums:
    """Sums over all blocks.

    Args:
        cluster: where they are computed.
        data: what tasks need to know.
        blocks: the blocks.
        oldest: age of the oldest pair in days; NaN without times.
        report: receives the progress.
    """

    def __init__(
        self,
        cluster: Cluster,
        data: Data,
        blocks: Sequence[UserBlock],
        oldest: float,
        report: Report,
    ) -> None:
        self._cluster, self._data, self._oldest, self._report = cluster, data, oldest, report
        pairs = sum(block.pairs for block in blocks)
        count = min(len(blocks), _MIN_GROUPS + pairs // _PAIRS_PER_GROUP)
        self._groups = [
            [blocks[place] for place in places]
            for places in np.array_split(np.arange(len(blocks)), count)
        ]

    def count_movies(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the number of pairs of each movie [N], with any confidence, and of all."""
        confident, all_pairs = self._sum("count movies", partial(_count_movies, self._data))
        return confident, all_pairs

    def fit_ease(self, counts: NDArray[np.int64], params: Params) -> MovieWeights:
        """Fit EASE; see `ranking.ease`."""
        movies = select_most_watched(counts, params.ease.max_movies)
        (gram,) = self._sum("ease", partial(_compute_gram, self._data, movies))
        return solve_ease(movies, gram, params.ease)

    def fit_transitions(
        self, counts: NDArray[np.int64], pairs: NDArray[np.int64], params: Params
    ) -> MovieWeights | None:
        """Fit transitions; see `ranking.transitions`."""
        if np.isnan(self._oldest):
            return None
        movies = select_most_watched(counts, params.ease.max_movies)
        function = partial(_count_transitions, self._data, movies, params.transitions.window)
        (weights,) = self._sum("transitions", function)
        return weigh_transitions(
            movies, weights.astype(np.float32), pairs[movies], params.transitions
        )

    def resolve_auto(self, params: Params) -> Params:
        """Return the parameters with a number of days in place of `auto`."""
        if params.popularity.half_life_days != "auto":
            return params
        return replace_params(params, {"popularity.half_life_days": self._find_half_life()})

    def compute_popularity(self, params: PopularityParams) -> NDArray[np.float64]:
        """Compute the popularity of each movie; see `ranking.popularity`."""
        function = partial(_compute_popularity, self._data, params, self._oldest)
        (popularity,) = self._sum("popularity", function)
        return popularity

    def _find_half_life(self) -> float:
        if np.isnan(self._oldest):
            return choose_half_life(np.zeros(1))
        cut = self._find_cut()
        (popular,) = self._sum("half-life", partial(_sum_older, self._data, cut, self._oldest))
        (ndcg,) = self._sum("half-life", partial(_sum_ndcg, self._data, cut, popular))
        return choose_half_life(ndcg)

    def _find_cut(self) -> float:
        """Return the quantile of the ages that `ranking.popularity` computes, exactly.

        The ages are counted in classes first; then those of the classes in question are collected.
        """
        edges = np.linspace(0, self._oldest, _BINS + 1)
        (counts,) = self._sum("half-life", partial(_count_ages, self._data, self._oldest, edges))
        place = TEST_SHARE * (int(counts.sum()) - 1)
        ends = np.cumsum(counts)
        low, high = (
            int(np.searchsorted(ends, index, side="right"))
            for index in (int(place), min(int(place) + 1, int(ends[-1]) - 1))
        )
        blocks = [block for group in self._groups for block in group]
        function = partial(_select_ages, self._data, self._oldest, edges, (low, high))
        found = self._cluster.run("half-life", function, blocks, self._report)
        ages, repeats = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.argsort(ages, kind="stable")
        until = int(ends[low - 1]) if low else 0
        after = until + np.cumsum(repeats[order])
        below, above = (
            ages[order][np.searchsorted(after, index, side="right")]
            for index in (int(place), min(int(place) + 1, int(ends[-1]) - 1))
        )
        return float(np.quantile(np.array([below, above]), place - int(place)))

    def _sum(self, name: str, function: object) -> list[NDArray]:  # type: ignore[type-arg]
        return self._cluster.sum(name, function, self._groups, self._report)  # type: ignore[arg-type]


def _count_movies(data: Data, block: UserBlock) -> list[Array]:
    events, (confidence, _) = data.load_events(block), data.load_weights(block)
    matrix = to_matrix(events, confidence)
    return [count_movies(matrix.indices, data.movies), count_movies(events.movie, data.movies)]


def _compute_gram(data: Data, movies: NDArray[np.int32], block: UserBlock) -> list[Array]:
    confidence, _ = data.load_weights(block)
    return [compute_gram(to_matrix(data.load_events(block), confidence), movies)]


def _count_transitions(
    data: Data, movies: NDArray[np.int32], window: int, block: UserBlock
) -> list[Array]:
    counts = count_transitions(data.load_events(block), movies, window)
    return [counts.astype(np.float64)]


def _compute_popularity(
    data: Data, params: PopularityParams, oldest: float, block: UserBlock
) -> list[Array]:
    return [compute_popularity(data.load_events(block), params, oldest)]


def _sum_older(data: Data, cut: float, oldest: float, block: UserBlock) -> list[Array]:
    return [sum_older_pairs(data.load_events(block), cut, oldest)]


def _sum_ndcg(
    data: Data, cut: float, popular: NDArray[np.float64], block: UserBlock
) -> list[Array]:
    return [sum_ndcg(data.load_events(block), cut, popular)]


def _classify(
    data: Data, oldest: float, edges: NDArray[np.float64], block: UserBlock
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the ages of a block, and the class of each: 0 to `_BINS` - 1."""
    ages = np.nan_to_num(data.load_events(block).age_days, nan=oldest)
    return ages, np.searchsorted(edges[1:-1], ages, side="right")


def _count_ages(
    data: Data, oldest: float, edges: NDArray[np.float64], block: UserBlock
) -> list[Array]:
    _, classes = _classify(data, oldest, edges, block)
    return [np.bincount(classes, minlength=len(edges) - 1)]


def _select_ages(
    data: Data,
    oldest: float,
    edges: NDArray[np.float64],
    bounds: tuple[int, int],
    block: UserBlock,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Task: return the different ages within two classes, and how often each occurs."""
    ages, classes = _classify(data, oldest, edges, block)
    found, counts = np.unique(
        ages[(classes >= bounds[0]) & (classes <= bounds[1])], return_counts=True
    )
    return found, counts.astype(np.int64)
