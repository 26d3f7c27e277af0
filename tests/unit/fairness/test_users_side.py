"""Groups of users: a known bias is found where it is, and nowhere else."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from app.fairness.errors import FairnessError
from app.fairness.page import find_differences
from app.fairness.params import FairnessParams
from app.fairness.user_groups import NOT_STATED, Labels, group_users, read_attributes
from app.fairness.users_side import UserMetrics, describe_groups

PARAMS = FairnessParams(min_users=30, resamples=200, significance=0.05)
USERS = 900
Bools = NDArray[np.bool_]


@pytest.fixture
def groups() -> dict[str, Labels]:
    rng = np.random.default_rng(1)
    gender = rng.choice(["F", "M"], USERS)
    age = rng.choice(["18-24", "25-34", "35-44"], USERS)
    occupation = np.array(["writer"] * 29 + ["lawyer"] * 12 + ["programmer"] * (USERS - 41))
    return {"gender": gender, "age": age, "occupation": occupation}


def make_metrics(harmed: Bools | None = None, *, popular: Bools | None = None) -> UserMetrics:
    rng = np.random.default_rng(5)
    values = rng.beta(1, 4, (USERS, 3))
    if harmed is not None:
        values[harmed, 0] *= 0.5
    shown = np.array([rng.choice(200, 10, replace=False) for _ in range(USERS)])
    if popular is not None:
        shown[popular] = np.arange(10)
    return UserMetrics(values, shown, rng.integers(0, 150, USERS))


def find(described: list[dict[str, Any]], kind: str) -> set[tuple[str, str]]:
    found = find_differences({"users_side": described}, kind)
    return {(name, metric) for name, metric, _ in found}


def test_nothing_is_found_where_nothing_is(groups: dict[str, Labels]) -> None:
    described = describe_groups(make_metrics(), groups, PARAMS, seed=1)
    assert find(described, "difference") == find(described, "adjusted") == set()


def test_a_group_that_is_served_worse_is_found_and_no_other(groups: dict[str, Labels]) -> None:
    metrics = make_metrics(groups["gender"] == "F")
    described = describe_groups(metrics, groups, PARAMS, seed=1)
    expected = {("gender F", "ndcg"), ("gender M", "ndcg")}
    assert find(described, "difference") == find(described, "adjusted") == expected
    (gender, *_) = described
    extremes = gender["worst_to_best"]["ndcg"]
    assert (extremes["lowest"], extremes["highest"]) == ("F", "M")
    value, low, high = extremes["ratio"]
    assert low < value < high < 1
    assert value == pytest.approx(0.5, abs=0.08)
    assert extremes["difference"][2] < 0


def test_a_group_with_less_variety_is_found_by_coverage(groups: dict[str, Labels]) -> None:
    metrics = make_metrics(popular=groups["age"] == "18-24")
    described = describe_groups(metrics, groups, PARAMS, seed=1)
    assert ("age 18-24", "coverage") in find(described, "difference")
    (age,) = (row for row in described if row["attribute"] == "age")
    (young, *_) = age["groups"]
    assert young["coverage"]["value"] == pytest.approx(0.1), "ten movies at a hundred places"


def test_a_small_group_without_a_rare_value_is_not_a_difference(groups: dict[str, Labels]) -> None:
    # One user in fifteen has any recall. That 40 users have none happens to one group in sixteen by
    # chance; without variance among them, a t-test takes it for certain.
    few = np.arange(USERS) < 40
    recall = np.where((np.arange(USERS) % 15 == 0) & ~few, 0.5, 0)
    metrics = make_metrics()
    values = np.column_stack([metrics.values[:, 0], recall, metrics.values[:, 2]])
    metrics = UserMetrics(values, metrics.shown, metrics.activity)
    groups = groups | {"occupation": np.where(few, "lawyer", "programmer")}
    described = describe_groups(metrics, groups, PARAMS, seed=1)
    lawyer = next(r for r in described if r["attribute"] == "occupation")["groups"][0]["recall"]
    assert lawyer["difference"]["p_value"] < 0.2, "not far from chance, either"
    assert lawyer["difference"]["corrected_p_value"] > 0.05
    assert find(described, "difference") == find(described, "adjusted") == set()


def test_a_difference_of_many_is_found_beside_small_groups_that_hardly_vary() -> None:
    # Nine of ten users get the same list, unless the model knows them; so do most of a small group.
    rng = np.random.default_rng(9)
    known = np.arange(USERS) % 10 == 0
    popularity = np.where(known, 0.22 + rng.normal(0, 0.05, USERS), 0.2)
    base = make_metrics()
    values = np.column_stack([base.values[:, :2], popularity])
    metrics = UserMetrics(values, base.shown, base.activity)
    groups = {
        "occupation": np.char.add("occupation ", rng.integers(0, 20, USERS).astype(str)),
        "known to the model": np.where(known, "yes", "no"),
    }
    found = find(describe_groups(metrics, groups, PARAMS, seed=1), "difference")
    expected = {("known to the model yes", "popularity"), ("known to the model no", "popularity")}
    assert found == expected


def test_chance_names_a_group_as_often_as_stated() -> None:
    rng = np.random.default_rng(7)
    params = FairnessParams(min_users=30, resamples=100, significance=0.05)
    values = (rng.random((400, 3)) < 0.08) * rng.beta(1, 3, (400, 3))
    metrics = UserMetrics(values, rng.integers(50, size=(400, 10)), rng.integers(0, 150, 400))
    rounds, named = 100, {"difference": 0, "adjusted": 0}
    for seed in range(rounds):
        occupation = rng.choice(["a", "b", "c", "d", "e"], 400, p=[0.1, 0.1, 0.1, 0.1, 0.6])
        groups = {"occupation": occupation, "gender": rng.choice(["F", "M"], 400)}
        described = describe_groups(metrics, groups, params, seed)
        for kind in named:
            named[kind] += bool(find(described, kind))
    # At a rate of 5 %, more than 12 of 100 are named with a probability of 0.15 %.
    assert max(named.values()) <= 12, named


def test_groups_of_fewer_than_thirty_users_are_not_shown(groups: dict[str, Labels]) -> None:
    described = describe_groups(make_metrics(), groups, PARAMS, seed=1)
    (occupation,) = (row for row in described if row["attribute"] == "occupation")
    assert [row["group"] for row in occupation["groups"]] == ["programmer"]
    assert (occupation["groups_not_shown"], occupation["users_not_shown"]) == (2, 41)
    assert "writer" not in str(described)
    with pytest.raises(ValueError, match="min_users"):
        FairnessParams(min_users=29, resamples=200, significance=0.05)


def test_users_are_grouped_by_what_is_known_of_them(tmp_path: Path) -> None:
    table = pl.DataFrame(
        {
            "user_id": [1, 2, 3, 4],
            "age": [17, 25, None, 999],
            "gender": ["F", " M ", None, ""],
            "occupation": ["writer", "", None, "lawyer"],
        }
    )
    table.write_parquet(tmp_path / "users.parquet")
    attributes = read_attributes(tmp_path / "users.parquet")
    users = np.array([1, 2, 3, 4, 5])
    activity = np.array([0, 1, 4, 5, 100])
    found = group_users(users, users < 4, activity, attributes, (18, 25))
    missing = NOT_STATED
    assert {name: labels.tolist() for name, labels in found.items()} == {
        "gender": ["F", "M", missing, missing, missing],
        "age": ["0-17", "25+", missing, missing, missing],
        "occupation": ["writer", missing, missing, "lawyer", missing],
        "activity": ["0 movies", "1-4 movies", "1-4 movies", "5-19 movies", "100+ movies"],
        "known to the model": ["yes", "yes", "yes", "no", "no"],
    }
    assert read_attributes(tmp_path / "none.parquet") is None
    (tmp_path / "damaged.parquet").write_text("no table")
    with pytest.raises(FairnessError, match=r"damaged\.parquet is not a table of users"):
        read_attributes(tmp_path / "damaged.parquet")
