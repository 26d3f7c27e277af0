import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from app.training import fit
from app.training.errors import TrainingError
from app.training.fit import fit_models
from app.training.stages import Advance, Stages
from tests.support.params import make_params
from tests.unit.training.tables import Row, events


def test_a_model_does_not_depend_on_the_size_of_blocks() -> None:
    random = np.random.default_rng(5)
    rows: list[Row] = [
        (int(pair // 40), f"m{pair % 40}", int(random.integers(1, 6)), float(random.random() * 90))
        for pair in random.choice(60 * 40, 900, replace=False).tolist()
    ]
    data, params = events(*rows), make_params(popularity={"half_life_days": "auto"})
    whole = fit_models(data, params, (1, 5), Stages())
    blocks = fit_models(replace(data, block_pairs=20), params, (1, 5), Stages())
    assert whole.transitions is not None
    assert blocks.transitions is not None
    assert np.array_equal(whole.transitions.weights, blocks.transitions.weights)
    for name in ("confidence", "recency", "popularity"):
        assert np.array_equal(getattr(whole, name), getattr(blocks, name)), name


def test_a_process_that_cannot_fit_the_svd_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one that is killed because it needs too much memory."""

    class KillingStages(Stages):
        @contextmanager
        def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
            if name == "svd":
                for process in multiprocessing.active_children():
                    process.kill()
            with super().stage(name, total) as advance:
                yield advance

    monkeypatch.setattr(fit, "_MIN_RATINGS_FOR_PROCESS", 0)
    params = make_params(svd={"epochs": 1_000_000})
    with pytest.raises(TrainingError, match="rating predictor ended: -9"):
        fit_models(events((1, "a", 3, 1), (2, "b", 4, 2)), params, (1, 5), KillingStages())
    assert not multiprocessing.active_children()
