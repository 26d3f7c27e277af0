"""A schedule of faults is the same for the same seed, can be stored, and can be made smaller."""

from collections import Counter
from itertools import combinations, pairwise

import pytest

from tests.support.campaign.schedule import KINDS, SHORT_KINDS, Schedule, draw, parse_seeds

SEEDS = range(100)


def test_a_seed_gives_the_same_schedule_again() -> None:
    assert draw(7, 5) == draw(7, 5)
    assert draw(7, 5) != draw(8, 5)


def test_a_schedule_is_stored_and_read() -> None:
    schedule = draw(3, 5)
    assert Schedule.from_json(schedule.to_json()) == schedule
    with pytest.raises(ValueError, match="not a schedule"):
        Schedule.from_json("{}")
    with pytest.raises(ValueError, match="unknown kinds"):
        Schedule.from_json(schedule.to_json().replace(schedule.faults[0].kind, "flood"))


def test_a_subset_keeps_each_fault_at_its_moment() -> None:
    schedule = draw(3, 5)
    kept = schedule.keep([1, 4])
    assert kept.faults == (schedule.faults[1], schedule.faults[4])
    assert (kept.seed, kept.minutes) == (3, 5)
    with pytest.raises(ValueError, match="no fault"):
        schedule.keep([len(schedule.faults)])
    first, second = schedule.halves()
    assert first.faults + second.faults == schedule.faults


def test_all_faults_end_in_time_and_do_not_disturb_one_another() -> None:
    for seed in SEEDS:
        schedule = draw(seed, 5)
        assert [fault.number for fault in schedule.faults] == list(range(len(schedule.faults)))
        assert all(0 < fault.start < fault.end < 300 for fault in schedule.faults)
        assert not any(a.conflicts_with(b) for a, b in combinations(schedule.faults, 2))
        slots = [fault for fault in schedule.faults if "slots" in fault.resources]
        assert all(a.end <= b.start for a, b in pairwise(slots))


def test_a_hundred_seeds_have_each_kind_ten_times_and_faults_that_overlap() -> None:
    schedules = [draw(seed, 5) for seed in SEEDS]
    counts = Counter(fault.kind for schedule in schedules for fault in schedule.faults)
    assert {kind: counts[kind] for kind in KINDS if counts[kind] < 10} == {}
    overlapping = sum(
        b.start < a.end for schedule in schedules for a, b in combinations(schedule.faults, 2)
    )
    assert overlapping > 200


def test_short_runs_have_only_what_they_can_do() -> None:
    for seed in SEEDS:
        faults = draw(seed, 1, SHORT_KINDS).faults
        assert {fault.kind for fault in faults} <= set(SHORT_KINDS)
        assert all(fault.end < 60 for fault in faults)


def test_a_list_of_seeds_is_parsed() -> None:
    assert parse_seeds("1-3,7") == [1, 2, 3, 7]
    for text in ("", "x", "3-1"):
        with pytest.raises(ValueError, match=r"no seeds|invalid literal"):
            parse_seeds(text)
