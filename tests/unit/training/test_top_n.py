import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.training.top_n import SeenMovies, fill_lists, top_k


class Table:
    """A scorer that gives fixed scores."""

    def __init__(self, scores: np.ndarray) -> None:
        self.table = scores

    def scores(self, first: int, last: int) -> np.ndarray:
        return self.table[first:last].copy()


def by_sorting(scores: np.ndarray, depth: int) -> list[list[int]]:
    """Best first, lower number first among equals, N after the end."""
    lists = []
    for row in scores.tolist():
        movies = sorted((-score, movie) for movie, score in enumerate(row) if score > -np.inf)
        best = [movie for _, movie in movies[:depth]]
        lists.append(best + [len(row)] * (depth - len(best)))
    return lists


@given(
    seed=st.integers(0, 2**32 - 1),
    items=st.sampled_from([1, 3, 63, 64, 65, 200, 640, 1000]),
    depth=st.integers(1, 12),
)
def test_the_top_k_are_those_a_full_sort_finds(seed: int, items: int, depth: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.standard_normal((4, items)).astype(np.float32)
    scores[random.random(scores.shape) < random.choice([0.0, 0.5, 0.99])] = -np.inf
    assert top_k(scores, depth).tolist() == by_sorting(scores, depth)


@pytest.mark.parametrize("items", [7, 1000])
def test_equal_scores_give_a_full_list_of_different_movies(items: int) -> None:
    found = top_k(np.zeros((2, items), np.float32), 5)
    assert all(len(set(row)) == 5 for row in found.tolist())
    assert found.max() < items


@pytest.mark.parametrize("block", [1, 3, 100])
def test_movies_a_user_has_seen_are_left_out_in_blocks_of_any_size(block: int) -> None:
    random = np.random.default_rng(0)
    scores = random.standard_normal((10, 30)).astype(np.float32)
    seen = [np.sort(random.permutation(30)[: 3 * user]) for user in range(10)]
    out = np.empty((10, 8), np.uint16)
    done: list[int] = []
    start = np.cumsum([0, *map(len, seen)])
    flat = np.concatenate(seen).astype(np.int32)
    fill_lists(out, Table(scores), SeenMovies(start, flat), block, done.append)
    for user, movies in enumerate(seen):
        scores[user, movies] = -np.inf
    assert out.tolist() == by_sorting(scores, 8)
    assert sum(done) == 10


def test_the_scores_of_a_list_are_those_above_its_last_movie() -> None:
    random = np.random.default_rng(1)
    scores = random.standard_normal((3, 20)).astype(np.float32)
    scores[2] *= 1e6  # more than a 16-bit number can be
    seen = SeenMovies(np.array([0, 0, 17, 17]), np.arange(17, dtype=np.int32))
    out, found = np.empty((3, 5), np.uint16), np.empty((3, 5), np.float16)
    fill_lists(out, Table(scores), seen, 2, list_scores=found)
    assert found[0] == pytest.approx(scores[0][out[0]] - scores[0][out[0]].min(), abs=1e-3)
    assert out[1].tolist()[3:] == [20, 20]
    expected = scores[1][out[1][:3]] - scores[1][out[1][2]]
    assert found[1] == pytest.approx([*expected, 0, 0], abs=1e-3)
    assert np.isfinite(found).all()
    assert (np.diff(found.astype(float), axis=1) <= 0).all()
