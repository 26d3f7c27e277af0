from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.model.packed_events import MAX_PACKED_BYTES, EventPacker
from app.model.recommendation_lists import RecommendationLists
from app.recent_events import UNKNOWN_MOVIE, RecentEvent, keep_last
from tests.conftest import MOVIES, USERS, write_lists
from tests.support.recent import NEWEST_SECONDS, add_recent_parts

NOW = 1_780_000_000
PACKER = EventPacker(60, np.uint16, (1, 5))
EVENTS = st.lists(
    st.builds(
        RecentEvent,
        movie=st.integers(UNKNOWN_MOVIE, 59),
        minutes=st.integers(0, 600),
        rating=st.none() | st.floats(1, 5),
        time=st.integers(NOW - 40_000_000, NOW + 100),
    ),
    max_size=20,
)


@settings(deadline=None)
@given(EVENTS)
def test_rounded_events_are_unpacked_unchanged(events: list[RecentEvent]) -> None:
    rounded = PACKER.round(events, NOW)
    used = {event.movie for event in rounded[::2]}
    packed = PACKER.pack(rounded, NOW, used)
    assert len(packed) <= MAX_PACKED_BYTES
    assert PACKER.unpack(packed) == (rounded, NOW, used, 0, [])
    assert PACKER.round(rounded, NOW) == rounded


@pytest.mark.parametrize(("scale", "step"), [((1, 5), 1), ((1, 10), 1), ((0.5, 5), 0.5)])
def test_usual_ratings_are_exact(scale: tuple[float, float], step: float) -> None:
    packer = EventPacker(60, np.uint16, scale)
    ratings = np.arange(scale[0], scale[1] + step, step).tolist()
    events = [RecentEvent(i, 0, rating, NOW) for i, rating in enumerate(ratings)]
    assert [event.rating for event in packer.round(events, NOW)] == ratings


def test_large_models_keep_fewer_movies_in_the_same_bytes() -> None:
    packer = EventPacker(70_000, np.uint32, (1, 5))
    events = [RecentEvent(i, 1, None, NOW) for i in range(69_950, 70_000)]
    rounded = packer.round(events, NOW)
    assert (len(rounded), PACKER.max_events) == (12, 16)
    packed = packer.pack(rounded, NOW, (), 38, [0, 5, 87])
    assert packer.unpack(packed) == (rounded, NOW, set(), 38, [0, 5, 87])
    assert len(packed) <= MAX_PACKED_BYTES
    assert packer.pack(rounded, NOW, (), 39, [88]) == b"", "does not fit"


@pytest.mark.parametrize("packed", [b"", b"\0" * 6, b"\0" * 5 + b"\xff" * 7, b"\0" * 4 + b"\1" * 8])
def test_other_bytes_are_refused(packed: bytes) -> None:
    with pytest.raises(ValueError, match="no packed events"):
        PACKER.unpack(packed)


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> RecommendationLists:
    model = add_recent_parts(write_lists(tmp_path_factory.mktemp("packed") / "model"))
    return RecommendationLists.open(Path(model), 20, [MOVIES[12], MOVIES[59]])


@settings(deadline=None)
@given(
    user=st.sampled_from([*USERS, 500, 1000]),
    ages=st.lists(st.integers(-1000, 3_000_000), min_size=1, max_size=50),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_list_is_made_again_from_its_packed_events(
    lists: RecommendationLists, user: int, ages: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    movies = rng.permutation(60)[: len(ages)].tolist()
    now = int(NEWEST_SECONDS) + 100_000
    events = [
        RecentEvent(
            movie, int(rng.integers(0, 300)), [None, 1.0, 3.5, 5.0][rng.integers(4)], now - age
        )
        for movie, age in zip(movies, sorted(ages), strict=True)
    ]
    kept = keep_last(events)
    found = lists.rank_recent(user, kept.events, now, kept.older)
    if found is None:
        assert all(event.time <= NEWEST_SECONDS for event in events)
        return
    made = found[0]
    assert lists.remake(user, "recent", made.recent_events) == made
    shown = made.text.split(",")
    left_out = {MOVIES[event.movie] for event in events} | {MOVIES[12], MOVIES[59]}
    assert len(shown) == len(set(shown))
    assert not {*shown} & left_out
    # User 7 has seen all movies but three.
    assert user == 7 or len(shown) == min(20, len(MOVIES) - len(left_out))


def test_events_that_the_model_knows_change_no_list(lists: RecommendationLists) -> None:
    now = NEWEST_SECONDS + 5
    assert lists.rank_recent(7, [RecentEvent(3, 60, None, NEWEST_SECONDS)], now) is None
    assert lists.rank_recent(7, [RecentEvent(UNKNOWN_MOVIE, 60, None, now)], now) is None
    assert lists.rank_recent(7, [], now) is None
    assert lists.remake(7, "personal", b"") == lists.get(7)
