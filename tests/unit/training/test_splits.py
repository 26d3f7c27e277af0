import numpy as np
import pytest

from app.training.interactions import Interactions
from app.training.tuning.splits import (
    COLD_START_EVENTS,
    Split,
    cold_start_split,
    drop_empty,
    global_temporal_split,
    per_user_temporal_split,
    random_split,
    select_pairs,
    validation_splits,
)
from tests.unit.training.tables import Row, events


def make_events(times: bool = True) -> Interactions:
    random = np.random.default_rng(0)
    rows: list[Row] = [
        (user, f"movie+{movie:02}", 3, float(random.random() * 100) if times else None)
        for user in range(30)
        for movie in random.permutation(40)[: 12 + user % 9].tolist()
    ]
    return events(*rows)


def pairs(table: Interactions) -> set[tuple[int, int]]:
    return set(zip(table.user.tolist(), table.movie.tolist(), strict=True))


@pytest.mark.parametrize("place", range(4))
def test_each_event_is_in_one_of_the_parts(place: int) -> None:
    data = make_events()
    split = validation_splits(data, 0)[place]
    assert not pairs(split.train) & pairs(split.test)
    assert pairs(split.train) | pairs(split.test) == pairs(data)
    assert split.users.tolist() == np.unique(split.test.user).tolist()


def test_the_random_split_holds_out_a_quarter_of_each_user() -> None:
    data = make_events()
    held_out = np.diff(random_split(data, 3).test.start)
    np.testing.assert_array_equal(held_out, np.ceil(np.diff(data.start) / 4))


def test_another_seed_holds_out_other_events() -> None:
    first, again, other = (pairs(random_split(make_events(), seed).test) for seed in (1, 1, 2))
    assert first == again != other


def _newest_age(split: Split, user: int) -> float:
    mine = slice(split.train.start[user], split.train.start[user + 1])
    return float(split.train.age_days[mine].min())


def test_the_per_user_temporal_split_holds_out_each_user_s_newest_events() -> None:
    split = per_user_temporal_split(make_events())
    assert split is not None
    shift = (split.test.newest - split.train.newest).total_seconds() / 86400  # type: ignore[operator]
    for user in split.users.tolist():
        mine = slice(split.test.start[user], split.test.start[user + 1])
        assert split.test.age_days[mine].max() < _newest_age(split, user) + shift + 1e-6


def test_the_global_temporal_split_holds_out_everything_after_one_time() -> None:
    split = global_temporal_split(make_events())
    assert split is not None
    assert split.train.newest is not None
    assert split.test.newest is not None
    oldest = split.test.age_days.max() * 86400
    assert (split.test.newest - split.train.newest).total_seconds() > oldest


def test_cold_start_users_keep_their_first_few_events() -> None:
    data = make_events()
    split = cold_start_split(data, 0)
    assert split is not None
    kept = np.diff(split.train.start)
    assert set(kept[split.users].tolist()) == set(COLD_START_EVENTS)
    others = np.setdiff1d(np.arange(30), split.users)
    np.testing.assert_array_equal(kept[others], np.diff(data.start)[others])
    for user in split.users.tolist():
        mine = slice(data.start[user], data.start[user + 1])
        oldest = data.movie[mine][np.argsort(-data.age_days[mine])][: kept[user]]
        learned = split.train.movie[split.train.start[user] : split.train.start[user + 1]]
        assert sorted(oldest.tolist()) == learned.tolist()


def test_without_times_there_are_no_temporal_splits() -> None:
    splits = validation_splits(make_events(times=False), 0)
    assert [split.name for split in splits] == [
        "random",
        "cold_start",
    ]


def test_without_active_users_there_is_no_cold_start_split() -> None:
    assert cold_start_split(events((1, "a", 3, 0), (2, "b", 3, 1)), 0) is None


def test_users_and_movies_without_pairs_are_dropped() -> None:
    data = make_events()
    rest = select_pairs(data, (data.user != 4) & (data.movie % 7 != 0))
    found = drop_empty(rest)
    assert len(found.users) == 29
    assert len(found.movies) == 34
    for name in ("rating", "age_days"):
        np.testing.assert_array_equal(getattr(found, name), getattr(rest, name))

    def names(table: Interactions) -> list[tuple[int, str]]:
        return [
            (int(table.users[u]), table.movies[m])
            for u, m in zip(table.user.tolist(), table.movie.tolist(), strict=True)
        ]

    assert names(found) == names(rest)
