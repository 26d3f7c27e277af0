"""The ALS model of `implicit` itself, every event counting 1, as a baseline."""

import numpy as np
from implicit.als import AlternatingLeastSquares
from optuna.distributions import FloatDistribution, IntDistribution
from scipy import sparse
from threadpoolctl import threadpool_limits

from app.training.params import Params
from app.training.ranking.scorers import BlendScorer, FactorScorer
from app.training.tuning.search import Distribution
from app.training.tuning.split_evaluator import ModelCache

#: Ranges of its parameters: its regularisation is not multiplied by the number of events.
SPACE: dict[str, Distribution] = {
    "als.factors": IntDistribution(16, 128, log=True),
    "als.regularization": FloatDistribution(0.01, 80, log=True),
    "als.alpha": FloatDistribution(0.5, 20, log=True),
}
#: Known to be good on MovieLens 100K; the search begins here.
START = {"als.factors": 64, "als.regularization": 20, "als.alpha": 2, "als.exponent": 0}


class BaselineAlsCache(ModelCache):
    """Fits `implicit`'s model in place of ours."""

    def build_scorer(self, name: str, params: Params) -> BlendScorer | None:
        """See `ModelCache.build_scorer`."""
        assert name == "als"
        events, als = self.events, params.als
        shape = (len(events.users), len(events.movies))
        seen = np.ones(len(events.movie), np.float32)
        matrix = sparse.csr_matrix((seen, events.movie, events.start), shape=shape)
        with threadpool_limits(1, "blas"):
            model = AlternatingLeastSquares(
                als.factors, als.regularization, als.alpha, random_state=0, num_threads=1
            )
            model.fit(matrix, show_progress=False)
        return FactorScorer(model.user_factors, model.item_factors)
