import pytest

from app.simulator.choice_model import Choice
from app.simulator.utility_metrics import UtilityMetrics


def make_choice(recommended: float | None, organic: float = 1.0, n_watched: int = 0) -> Choice:
    return Choice(1, 2.0, organic, recommended, recommended, 4.0, n_watched)


def test_means_are_kept_by_model_version() -> None:
    metrics = UtilityMetrics()
    for version, recommended in (("1", 1.5), ("1", 2.5), ("2", 3.0), ("2", None)):
        metrics.record(version, make_choice(recommended), is_in_sample=True)
    versions = metrics.by_version()
    assert versions["1"]["choices"] == 2
    assert versions["1"]["recommended"] == 2.0
    assert versions["1"]["gain"] == 1.0
    assert versions["1"]["gain_standard_error"] == pytest.approx(0.5 / 2**0.5, abs=1e-4)
    assert versions["1"]["share_of_best"] == 0.5
    assert versions["2"]["choices"] == 1
    assert metrics.cold_start() == []


def test_cold_start_users_are_grouped_by_movies_watched() -> None:
    metrics = UtilityMetrics()
    for n_watched in (0, 1, 2, 3, 4, 5, 40):
        metrics.record("1", make_choice(2.0, n_watched=n_watched), is_in_sample=False)
    assert [(row["watched"], row["choices"]) for row in metrics.cold_start()] == [
        ("0", 1), ("1", 1), ("2", 1), ("3-4", 2), ("5-8", 1), ("33+", 1),
    ]  # fmt: skip
