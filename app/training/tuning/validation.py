"""Score parameters on one split; what has been fitted is kept, so that weights cost little."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from app.training.fit import popularity_weight
from app.training.metrics import PerUser, rank_metrics
from app.training.params import Params, PopularityParams
from app.training.ranking.popularity import half_life, popularity
from app.training.ranking.scorer import Floats, SameForAllScorer
from app.training.top_n import best_movies
from app.training.tuning.models import SECTIONS, Models, key_of
from app.training.tuning.splits import Split

#: Users scored per split; their scores are kept for each part of the blend: at 27,000 movies
#: 110 MB a part.
SAMPLE = 1000
PARTS = ("als", "ease", "neighbours", "svd")
_BLOCK = 64


class Rehearsal:
    """Lists of a split's users, as `marquee train` would make them, and how good they are.

    Args:
        split: what is learned from, and what is asked.
        scale: lowest and highest rating.
        k: movies shown to each user.
        sample: users scored at most, drawn with the parameters' seed.
    """

    def __init__(
        self, split: Split, scale: tuple[float, float], k: int = 10, sample: int | None = SAMPLE
    ) -> None:
        self.split, self._scale, self._k = split, scale, k
        self.users = split.users
        if sample is not None and len(self.users) > sample:
            self.users = np.sort(np.random.default_rng(0).permutation(self.users)[:sample])
        self.known = np.diff(split.train.start)[self.users]
        self._seen = _cells(split.train.start, split.train.item, self.users)
        self._relevant = np.zeros((len(self.users), len(split.train.items)), bool)
        self._relevant[_cells(split.test.start, split.test.item, self.users)] = True
        self._models = Models(split.train, scale)
        self._scores: dict[str, Floats] = {}

    def per_user(self, params: Params) -> tuple[PerUser, float]:
        """Metrics of each user scored, and the share of all movies that are shown to anyone."""
        shown = self.lists(params)
        hits = np.take_along_axis(
            np.pad(self._relevant, ((0, 0), (0, 1))), shown, axis=1
        )  # the column added is for lists that have ended
        movies = self._relevant.shape[1]
        coverage = len(np.unique(shown[shown < movies])) / movies
        return rank_metrics(hits, self._relevant.sum(axis=1)), coverage

    def figures(self, params: Params) -> dict[str, float]:
        """Means over the users: ndcg, recall and the others, and coverage."""
        metrics, coverage = self.per_user(params)
        return {**{k: v for k, v in metrics.mean().items() if v is not None}, "coverage": coverage}

    def keep(self, params: Params) -> None:
        """Forget all fits but those of these parameters."""
        kept = {_key(part, params) for part in PARTS}
        self._scores = {key: scores for key, scores in self._scores.items() if key in kept}
        self._models.keep(params)

    def lists(self, params: Params) -> NDArray[np.intp]:
        """The movies [Q, k] shown to each user, best first; N where a list has ended."""
        popular = self._popular(params.popularity)
        weight = popularity_weight(self.known, params.blend)
        weight[self.known == 0] = 1  # a stranger gets the popular movies
        parts = [
            (np.float32(factor), self._part(part, params))
            for part in PARTS
            if (factor := getattr(params.blend, part)) > 0
        ]
        lists = np.empty((len(self.users), self._k), np.intp)
        for begin in range(0, len(self.users), _BLOCK):
            rows = slice(begin, begin + _BLOCK)
            total = weight[rows, None] * popular
            for factor, scores in parts:
                total += factor * scores[rows]
            mine = slice(*np.searchsorted(self._seen[0], (begin, begin + _BLOCK)))
            total[self._seen[0][mine] - begin, self._seen[1][mine]] = -np.inf
            lists[rows] = best_movies(total, self._k)
        return lists

    def _popular(self, params: PopularityParams) -> Floats:
        """[N] standardised."""
        if params.half_life_days == "auto":
            params = self._half_life
        scores: Floats = SameForAllScorer(popularity(self.split.train, params)).scores(0, 1)[0]
        return scores

    @cached_property
    def _half_life(self) -> PopularityParams:
        return PopularityParams(half_life_days=half_life(self.split.train))

    def _part(self, part: str, params: Params) -> Floats:
        key = _key(part, params)
        if key not in self._scores:
            self._scores[key] = self._fit(part, params)
        return self._scores[key]

    def _fit(self, part: str, params: Params) -> Floats:
        """Scores [Q, N] of one part of the blend."""
        scorer = self._models.scorer(part, params)
        scores = np.zeros(self._relevant.shape, np.float32)
        if scorer is not None:
            for row, user in enumerate(self.users.tolist()):
                scores[row] = scorer.scores(user, user + 1)[0]
        return scores


def _key(part: str, params: Params) -> str:
    return key_of(part, *SECTIONS[part], params=params)


def _cells(
    start: NDArray[np.int64], item: NDArray[np.int32], users: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Rows and columns of the users' pairs in a table of users by movies."""
    counts = np.diff(start)[users]
    rows = np.repeat(np.arange(len(users)), counts)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, item[np.repeat(start[users], counts) + place]
