"""ALS as `implicit` has it, behind the same interface as ours, to be tuned by the same search."""

import numpy as np
from implicit.als import AlternatingLeastSquares
from scipy import sparse
from threadpoolctl import threadpool_limits

from app.training.params import AlsParams, Params, PopularityParams
from app.training.ranking.scorer import FactorScorer, Scorer
from app.training.tuning.models import Models
from app.training.tuning.splits import Split
from app.training.tuning.tune import alone
from app.training.tuning.validation import Rehearsal

PLAIN_LADDERS: dict[str, tuple[float, ...]] = {
    "als.factors": (16, 32, 48, 64, 96, 128),
    "als.regularization": (0.01, 0.1, 1, 5, 10, 20, 40, 80),
    "als.alpha": (0.5, 1, 2, 3, 5, 8, 12, 20),
}
#: Known to be good on MovieLens 100K; the search begins here.
PLAIN_START = alone(
    Params(
        als=AlsParams(regularization=20, alpha=2, exponent=0),
        popularity=PopularityParams(half_life_days=365),  # for strangers, as in the others' start
    ),
    "als",
)


class PlainRehearsal(Rehearsal):
    """Lists by `implicit`'s own model, every event counting 1."""

    def __init__(self, split: Split, scale: tuple[float, float], sample: int | None = 1000) -> None:
        super().__init__(split, scale, sample=sample)
        self._models = _Plain(split.train, scale)


class _Plain(Models):
    def scorer(self, part: str, params: Params) -> Scorer | None:
        assert part == "als"
        events, als = self._events, params.als
        shape = (len(events.users), len(events.items))
        seen = np.ones(len(events.item), np.float32)
        liked = sparse.csr_matrix((seen, events.item, events.start), shape=shape)
        with threadpool_limits(1, "blas"):
            model = AlternatingLeastSquares(
                als.factors, als.regularization, als.alpha, random_state=0, num_threads=1
            )
            model.fit(liked, show_progress=False)
        return FactorScorer(model.user_factors, model.item_factors)
