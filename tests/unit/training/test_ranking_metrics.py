from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.training.ranking_metrics import error_metrics, gini, ranking_metrics


def plain(hits: list[bool], relevant: int) -> dict[str, float]:
    k = len(hits)
    gain = sum(1 / log2(place + 2) for place in range(k) if hits[place])
    ideal = sum(1 / log2(place + 2) for place in range(min(k, relevant)))
    precisions = [sum(hits[: place + 1]) / (place + 1) for place in range(k) if hits[place]]
    return {
        "ndcg": gain / ideal,
        "recall": sum(hits) / relevant,
        "precision": sum(hits) / k,
        "map": sum(precisions) / min(k, relevant),
    }


@given(
    hits=st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=6),
    unseen=st.integers(0, 9),
)
def test_ranking_metrics_are_those_of_the_definitions(hits: list[list[bool]], unseen: int) -> None:
    relevant = [max(1, sum(row) + unseen) for row in hits]
    found = ranking_metrics(np.array(hits), np.array(relevant)).mean()
    rows = [plain(*row) for row in zip(hits, relevant, strict=True)]
    assert found == pytest.approx(
        {
            name: np.mean([row[name] for row in rows])
            for name in ("ndcg", "recall", "precision", "map")
        }
    )


def test_a_perfect_list_scores_one() -> None:
    found = ranking_metrics(np.ones((1, 3), bool), np.array([3])).mean()
    assert found == {"ndcg": 1, "recall": 1, "precision": 1, "map": 1}


def test_the_mean_over_no_users_is_not_a_number_of_zero() -> None:
    metrics = ranking_metrics(np.ones((1, 3), bool), np.array([3]))
    assert metrics.mean(np.array([False]))["ndcg"] is None


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12))
def test_gini_is_the_mean_difference_of_all_pairs(exposure: list[int]) -> None:
    total = sum(exposure)
    differences = sum(abs(a - b) for a in exposure for b in exposure)
    expected = differences / (2 * len(exposure) * total) if total else 0
    assert gini(np.array(exposure)) == pytest.approx(expected)


def test_errors_of_estimates() -> None:
    found = error_metrics(np.array([1.0, 4.0]), np.array([2, 2], np.float32))
    assert found == {"rmse": pytest.approx(2.5**0.5), "mae": 1.5}


def test_no_ratings_have_no_error() -> None:
    assert error_metrics(np.empty(0), np.empty(0, np.float32)) == {"rmse": None, "mae": None}
