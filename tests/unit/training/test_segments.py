from pathlib import Path

import numpy as np
import polars as pl
import pytest

from app.training.errors import TrainingError
from app.training.params import PopularityParams, SegmentParams
from app.training.ranking.popularity import popularity
from app.training.segments import Segments, make_segments, read_users
from tests.unit.training.tables import events

PEOPLE = pl.DataFrame(
    {
        "user_id": [1, 2, 3, 4, 5, 900],
        "age": [17, 12, 18, 70, 70, 3],
        "gender": ["F", "F", "M", "M", "M", "F"],
    }
)
EVENTS = events(
    (1, "a", 3, 0), (2, "a", 3, 0), (2, "b", 3, 0), (3, "c", 3, 0), (4, "d", 3, 0), (7, "c", 3, 0)
)


def segments(min_users: int, depth: int = 3, people: pl.DataFrame = PEOPLE) -> Segments:
    overall = popularity(EVENTS, PopularityParams())
    return make_segments(
        people, EVENTS, overall, PopularityParams(), SegmentParams(min_users=min_users), depth
    )


def test_users_are_grouped_by_gender_and_age_band() -> None:
    found = segments(min_users=1)
    assert found.names == ["F 0-17", "M 18-24", "M 55+"]
    assert dict(zip(found.users.tolist(), found.segment.tolist(), strict=True)) == {
        1: 0,
        2: 0,
        3: 1,
        4: 2,
        5: 2,
        900: 0,  # has watched nothing: the one segments are for
    }


def test_a_segment_lists_its_own_movies_first_then_the_popular_ones() -> None:
    # Overall: a and c twice, b and d once.
    assert segments(min_users=1).popular.tolist() == [[0, 1, 2], [2, 0, 1], [3, 0, 2]]


def test_a_list_longer_than_the_catalogue_ends_early() -> None:
    assert segments(min_users=1, depth=6).popular[0].tolist() == [0, 1, 2, 3, 4, 4]


def test_a_small_segment_is_none() -> None:
    found = segments(min_users=2)
    assert found.names == ["F 0-17"]
    assert found.users.tolist() == [1, 2, 900]


def test_when_all_segments_are_small_there_are_none() -> None:
    found = segments(min_users=10)
    assert found.users.size == 0
    assert found.popular.shape == (0, 3)


def test_users_with_gaps_or_twice_do_no_harm() -> None:
    more = pl.DataFrame({"user_id": [1, 3], "age": [30, None], "gender": ["M", "M"]})
    found = segments(1, people=pl.concat([PEOPLE, more]))
    assert found.names == ["F 0-17", "M 18-24", "M 25-34", "M 55+"]
    assert (np.diff(found.users) > 0).all()


def test_a_users_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "u.csv").write_text("user_id,age,occupation,gender\n6921,34,clerical/admin,M\n")
    assert read_users(tmp_path / "u.csv").rows() == [(6921, 34, "M")]


@pytest.mark.parametrize("content", ["", "user_id,age\n1,2\n", "user_id,age,gender\nx,y,z\n"])
def test_a_users_file_of_another_form_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "u.csv").write_text(content)
    with pytest.raises(TrainingError, match=r"u\.csv"):
        read_users(tmp_path / "u.csv")


def test_a_missing_users_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="none"):
        read_users(tmp_path / "none.parquet")
