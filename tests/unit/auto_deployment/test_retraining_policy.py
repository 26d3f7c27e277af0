"""Decisions about data windows and models, and the limits they rest on."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.auto_deployment.errors import DeploymentError
from app.auto_deployment.retraining_policy import (
    ModelGate,
    check_thresholds,
    choose_window,
    compare_with_production,
    needs_version,
    read_limits,
)
from app.ingest.data_window import DataWindow, ExcludedSpan
from tests.conftest import ROOT

NEWEST = datetime(2026, 5, 1, 12)
SPAN = ExcludedSpan(after=datetime(2026, 4, 1), until=datetime(2026, 4, 3), reason="drift")
GATE = ModelGate(
    max_rmse=1.0,
    min_ndcg=0.02,
    min_coverage=0.002,
    max_regression=0.05,
    max_group_regression=0.1,
    min_compared_events=500,
)
GOOD = {"rmse": 0.9, "ndcg": 0.1, "coverage": 0.3, "events": 1000}


def window(
    production_newest: datetime | None = NEWEST, events: int = 500, *, accept_data: bool = False
) -> DataWindow:
    return choose_window(
        previous_newest=NEWEST,
        production_newest=production_newest,
        events_since_production=events,
        excluded=(SPAN,),
        accept_data=accept_data,
        gate=GATE,
    )


def test_a_model_is_tested_with_what_is_newer_than_the_production_model() -> None:
    assert window().test_start == NEWEST + timedelta(microseconds=1)


@pytest.mark.parametrize(("production_newest", "events"), [(NEWEST, 499), (None, 10_000)])
def test_without_enough_newer_events_a_share_is_the_test(
    production_newest: datetime | None, events: int
) -> None:
    assert window(production_newest, events).test_start is None


def test_rejected_batches_are_excluded_until_the_data_is_accepted() -> None:
    assert (window().excluded, window().skip_checks) == ((SPAN,), False)
    accepted = window(accept_data=True)
    assert (accepted.excluded, accepted.skip_checks) == ((), True)


def test_events_beyond_tomorrow_are_excluded() -> None:
    max_time = window().max_time
    assert max_time is not None
    now = datetime.now(UTC).replace(tzinfo=None)
    assert timedelta(hours=23) < max_time - now <= timedelta(days=1)


def test_changed_data_or_changed_code_needs_a_version() -> None:
    assert not needs_version("a", "a", sources_changed=False)
    assert needs_version("a", "b", sources_changed=False)
    assert needs_version("a", "a", sources_changed=True)
    assert needs_version(None, "a", sources_changed=False)


def test_a_good_model_passes_the_thresholds() -> None:
    assert check_thresholds(GOOD, GATE) == []


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({"rmse": 1.0}, "RMSE is 1.0000 and must be below 1"),
        ({"ndcg": 0.0199}, "ndcg is 0.0199 and must be at least 0.02"),
        ({"coverage": None}, "coverage is unknown and must be at least 0.002"),
        ({"ndcg": float("nan")}, "ndcg is nan and must be at least 0.02"),
    ],
)
def test_a_model_beyond_a_threshold_fails(change: dict[str, float | None], failed: str) -> None:
    assert check_thresholds({**GOOD, **change}, GATE) == [failed]


def test_a_model_without_ratings_needs_no_rmse() -> None:
    assert check_thresholds({**GOOD, "rmse": None}, GATE) == []


def test_a_model_within_the_tolerance_of_production_passes() -> None:
    slightly_worse = {**GOOD, "ndcg": 0.0951, "rmse": 0.944}
    failed, summary = compare_with_production(slightly_worse, GOOD, 7, GATE)
    assert failed == []
    assert summary == (
        "on 1,000 newer events: ndcg 0.0951, version 7's 0.1000; rmse 0.9440, version 7's 0.9000"
    )


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({"ndcg": 0.0949}, "ndcg is 0.0949, worse than version 7's 0.1000"),
        ({"rmse": 0.946}, "rmse is 0.9460, worse than version 7's 0.9000"),
    ],
)
def test_a_model_worse_than_the_production_model_fails(
    change: dict[str, float], failed: str
) -> None:
    assert compare_with_production({**GOOD, **change}, GOOD, 7, GATE).failed == [failed]


def test_a_model_whose_replay_is_worse_fails() -> None:
    production = {**GOOD, "replay": {"ndcg": 0.06, "hit_rate": 0.1}}
    candidate = {**GOOD, "replay": {"ndcg": 0.0569, "hit_rate": 0.2}}
    failed, summary = compare_with_production(candidate, production, 7, GATE)
    assert failed == ["replay ndcg is 0.0569, worse than version 7's 0.0600"]
    assert summary.endswith("; replay ndcg 0.0569, version 7's 0.0600")
    assert compare_with_production(production, candidate, 7, GATE).failed == []


@pytest.mark.parametrize("replay", [None, {}, {"ndcg": None}])
def test_a_replay_that_one_of_both_lacks_is_not_compared(replay: object) -> None:
    candidate = {**GOOD, "replay": {"ndcg": 0.01}}
    failed, summary = compare_with_production(candidate, {**GOOD, "replay": replay}, 7, GATE)
    assert (failed, "replay" in summary) == ([], False)


def test_too_few_newer_events_compare_nothing() -> None:
    failed, summary = compare_with_production({**GOOD, "ndcg": 0, "events": 499}, GOOD, 7, GATE)
    assert failed == []
    assert summary == "not compared with version 7: fewer than 500 newer events"


def test_the_parameter_file_holds_every_limit_and_no_other() -> None:
    read_limits(ROOT / "params.yaml")


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("max_damaged_ratio: 0.02", "damaged: 0.02", r"checks\.max_damaged_ratio"),
        ("max_rmse: 1.0", "max_rmse: -1", r"gate\.max_rmse"),
        ("max_rmse: 1.0", "max_rmse: .nan", r"gate\.max_rmse"),
        ("gate:", "gates:", r"gate\.max_rmse: Field required"),
        ("checks:", "checks: [", "cannot be read"),
    ],
)
def test_an_invalid_limit_is_named(tmp_path: Path, old: str, new: str, key: str) -> None:
    params = (ROOT / "params.yaml").read_text()
    assert old in params
    (tmp_path / "params.yaml").write_text(params.replace(old, new, 1))
    with pytest.raises(DeploymentError, match=key):
        read_limits(tmp_path / "params.yaml")
