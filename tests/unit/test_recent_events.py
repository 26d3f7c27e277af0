import random

import pytest

from app.recent_events import newest_time


@pytest.mark.parametrize(("times", "expected"), [([], None), ([5], 5), ([5, 9], 9), ([9, 5, 7], 7)])
def test_the_time_of_few_events_is_their_median(times: list[float], expected: float | None) -> None:
    assert newest_time(times) == expected


def test_the_time_of_many_events_is_that_of_the_newest_but_of_no_wrong_one() -> None:
    times = [*range(10_000), *[10**9] * 20]
    random.Random(1).shuffle(times)
    assert newest_time(times) == 10_000 - 31
