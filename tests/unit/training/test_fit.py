import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.training import fit
from app.training.errors import TrainingError
from app.training.fit import fit_models
from app.training.stages import Advance, Stages
from tests.support.params import make_params
from tests.unit.training.tables import events


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
