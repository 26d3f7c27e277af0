from pathlib import Path

import numpy as np
import polars as pl
import pytest
import structlog
from structlog.testing import CapturingLogger

from app.training.errors import TrainingError
from app.training.ranking.popularity import compute_popularity
from app.training.segments import Segments, build_segments, read_users
from tests.support.params import make_params
from tests.unit.training.tables import events

USERS = pl.DataFrame(
    {
        "user_id": [1, 2, 3, 4, 5, 900],
        "age": [17, 12, 18, 70, 70, 3],
        "gender": ["F", "F", "M", "M", "M", "F"],
    }
)
EVENTS = events(
    (1, "a", 3, 0), (2, "a", 3, 0), (2, "b", 3, 0), (3, "c", 3, 0), (4, "d", 3, 0), (7, "c", 3, 0)
)


def segments(min_users: int, depth: int = 3, users: pl.DataFrame = USERS) -> Segments:
    params = make_params(segments={"min_users": min_users}, popularity={"half_life_days": 60})
    overall = compute_popularity(EVENTS, params.popularity)
    return build_segments(
        users,
        EVENTS,
        overall,
        params.popularity,
        make_params(segments={"min_users": min_users}).segments,
        depth,
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
        900: 0,  # no events: the segments are for such users
    }


def test_a_segment_lists_its_own_movies_first_then_the_popular_ones() -> None:
    # Overall: a and c twice, b and d once.
    assert segments(min_users=1).popular.tolist() == [[0, 1, 2], [2, 0, 1], [3, 0, 2]]


def test_a_list_longer_than_the_catalogue_ends_early() -> None:
    assert segments(min_users=1, depth=6).popular[0].tolist() == [0, 1, 2, 3, 4, 4]


def test_a_segment_needs_the_minimum_number_of_users() -> None:
    found = segments(min_users=2)
    assert found.names == ["F 0-17"]
    assert found.users.tolist() == [1, 2, 900]


def test_when_all_segments_are_small_there_are_none() -> None:
    found = segments(min_users=10)
    assert found.users.size == 0
    assert found.popular.shape == (0, 3)


def test_of_duplicate_users_the_last_counts_and_incomplete_ones_are_ignored() -> None:
    more = pl.DataFrame({"user_id": [1, 3], "age": [30, None], "gender": ["M", "M"]})
    found = segments(1, users=pl.concat([USERS, more]))
    assert found.names == ["F 0-17", "M 18-24", "M 25-34", "M 55+"]
    assert (np.diff(found.users) > 0).all()


def test_a_users_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "u.csv").write_text("user_id,age,occupation,gender\n6921,34,clerical/admin,M\n")
    assert read_users(tmp_path / "u.csv").rows() == [(6921, 34, "M")]


@pytest.mark.parametrize(
    "text",
    [
        "Gender;Age;UserID\nM;34;6921\n",
        "# exported\nuser_id:token\tage:float\tsex:token\tzip\n6921\t34.0\tM\t1\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_columns_of_users_are_recognised_by_name(tmp_path: Path, text: str, encoding: str) -> None:
    (tmp_path / "u.parquet").write_bytes(text.encode(encoding))  # the content decides
    assert read_users(tmp_path / "u.parquet").rows() == [(6921, 34, "M")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1::F::1::10::48067\n", "the first row is no header"),
        ("user_id,age,gender\n1,1980,F\n", "an age is not between 0 and 120"),
        ("user_id,age,gender\n1,25-34,F\n", "age '25-34' is not a whole number"),
        ("user_id,age,sex,gender\n1,2,F,F\n", "sex and gender could both be the gender"),
        ("user_id,age\n1,2\n", "no column gender"),
        ("user_id,age,gender\n" + "".join(f"{n},2,g{n}\n" for n in range(30)), "20 genders"),
        ("user_id,age,gender\n" + "1" * 5000 + ",2,F\n", "is not a whole number"),
    ],
)
def test_an_implausible_column_of_users_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "u.csv").write_text(text)
    with pytest.raises(TrainingError, match=message):
        read_users(tmp_path / "u.csv")


def test_a_time_of_users_that_is_ignored_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A logger of its own: where other tests have set up the logs, they may go elsewhere.
    output = CapturingLogger()
    monkeypatch.setattr("app.ingest.text_tables._log", structlog.wrap_logger(output, []))
    (tmp_path / "u.csv").write_text("user_id,age,gender,joined\n1,2,F,2005-09-06\n")
    read_users(tmp_path / "u.csv")
    assert "looks like a time and is ignored" in str(output.calls)


@pytest.mark.parametrize("content", ["", "user_id,age\n1,2\n", "user_id,age,gender\nx,y,z\n"])
def test_a_users_file_with_other_content_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "u.csv").write_text(content)
    with pytest.raises(TrainingError, match=r"u\.csv"):
        read_users(tmp_path / "u.csv")


def test_a_missing_users_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="none"):
        read_users(tmp_path / "none.parquet")
