import numpy as np
import pytest

from app.training.interactions import Interactions
from app.training.tuning.splits import (
    KNOWN_EVENTS,
    Split,
    moment_split,
    newcomer_split,
    newest_split,
    random_split,
    validation_splits,
)
from tests.unit.training.tables import Row, events


def world(times: bool = True) -> Interactions:
    random = np.random.default_rng(0)
    rows: list[Row] = [
        (user, f"movie+{movie:02}", 3, float(random.random() * 100) if times else None)
        for user in range(30)
        for movie in random.permutation(40)[: 12 + user % 9].tolist()
    ]
    return events(*rows)


def pairs(table: Interactions) -> set[tuple[int, int]]:
    return set(zip(table.user.tolist(), table.item.tolist(), strict=True))


@pytest.mark.parametrize("place", range(4))
def test_each_event_is_learned_from_or_held_out(place: int) -> None:
    data = world()
    split = validation_splits(data, 0)[place]
    assert not pairs(split.train) & pairs(split.test)
    assert pairs(split.train) | pairs(split.test) == pairs(data)
    assert split.users.tolist() == np.unique(split.test.user).tolist()


def test_at_random_each_user_gives_a_quarter() -> None:
    data = world()
    held_out = np.diff(random_split(data, 3).test.start)
    np.testing.assert_array_equal(held_out, np.ceil(np.diff(data.start) / 4))


def test_another_seed_holds_out_other_events() -> None:
    first, again, other = (pairs(random_split(world(), seed).test) for seed in (1, 1, 2))
    assert first == again != other


def _newest_age(split: Split, user: int) -> float:
    mine = slice(split.train.start[user], split.train.start[user + 1])
    return float(split.train.days[mine].min())


def test_in_time_each_user_learns_from_what_is_older_than_the_test() -> None:
    split = newest_split(world())
    assert split is not None
    shift = (split.test.newest - split.train.newest).total_seconds() / 86400  # type: ignore[operator]
    for user in split.users.tolist():
        mine = slice(split.test.start[user], split.test.start[user + 1])
        assert split.test.days[mine].max() < _newest_age(split, user) + shift + 1e-6


def test_at_one_moment_everything_later_is_held_out() -> None:
    split = moment_split(world())
    assert split is not None
    assert split.train.newest is not None
    assert split.test.newest is not None
    oldest = split.test.days.max() * 86400
    assert (split.test.newest - split.train.newest).total_seconds() > oldest


def test_newcomers_keep_their_first_few_events() -> None:
    data = world()
    split = newcomer_split(data, 0)
    assert split is not None
    kept = np.diff(split.train.start)
    assert set(kept[split.users].tolist()) == set(KNOWN_EVENTS)
    others = np.setdiff1d(np.arange(30), split.users)
    np.testing.assert_array_equal(kept[others], np.diff(data.start)[others])
    for user in split.users.tolist():
        mine = slice(data.start[user], data.start[user + 1])
        oldest = data.item[mine][np.argsort(-data.days[mine])][: kept[user]]
        learned = split.train.item[split.train.start[user] : split.train.start[user + 1]]
        assert sorted(oldest.tolist()) == learned.tolist()


def test_without_times_nothing_is_held_out_in_time() -> None:
    assert [s.name for s in validation_splits(world(times=False), 0)] == ["random", "newcomers"]


def test_too_few_active_users_make_no_newcomers() -> None:
    assert newcomer_split(events((1, "a", 3, 0), (2, "b", 3, 1)), 0) is None
