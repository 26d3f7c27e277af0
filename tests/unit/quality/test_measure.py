"""`marquee quality` on a database and a store whose credits are known."""

import json
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from prometheus_client import CollectorRegistry, generate_latest

from app.cli import marquee
from app.provenance.quality_metrics import QualityCollector
from app.provenance.tables import quality
from tests.support.quality import START, QualityData, listed_only_by
from tests.support.waiting import eventually

HOUR = 3600.0
UNTIL = (START + timedelta(days=3)).isoformat(timespec="seconds")


@pytest.fixture
def data(tmp_path: Path) -> QualityData:
    return QualityData(tmp_path)


def run(data: QualityData, *arguments: object) -> Result:
    start = START.isoformat(timespec="seconds")
    period = ["--start", start, "--end", UNTIL, *map(str, arguments)]
    return CliRunner().invoke(marquee, ["quality", *period], env=data.environment())


def measure(data: QualityData, *arguments: object) -> dict[str, Any]:
    result = run(data, "--json", *arguments)
    assert result.exit_code == 0, result.output
    content: dict[str, Any] = json.loads(result.stdout)
    return content


def fill(data: QualityData) -> None:
    """Both versions answer users 42 and 1000; the last watch is two days later."""
    for user, hours in ((42, 0.0), (1000, 10.0)):
        listed = data.answer(7, user, hours * HOUR)
        data.watch(user, listed[1], hours * HOUR + 600, minutes=10)
        listed = data.answer(8, user, (hours + 5) * HOUR)
        data.watch(user, listed[2], (hours + 8) * HOUR, minutes=20)
    data.watch(7, "movie+number+59+1969", 48 * HOUR)
    data.commit_watches()


def models(data: QualityData) -> list[str]:
    return [text for v, path in data.models.items() for text in ("--model", f"{v}={path}")]


def test_watches_are_credited_within_1_and_24_hours(data: QualityData) -> None:
    fill(data)
    found = measure(data)
    assert (found["candidate"], found["production"]) == (8, 7)
    within = {h: found["horizons"][h]["versions"] for h in ("1h", "24h")}
    assert [within[h]["production"]["takes"] for h in within] == [2, 2]
    assert [within[h]["candidate"]["takes"] for h in within] == [0, 2]
    assert within["24h"]["candidate"]["minutes_per_answer"] == 20
    assert within["24h"]["candidate"]["take_rate_by_rank"][:3] == [0, 0, 1]
    assert within["1h"]["candidate"]["unaided_rate"] is None
    assert found["horizons"]["24h"]["takes"]["users_of_both"] == 2
    assert found["judgement"]["outcome"] == "undecided"


def test_the_candidate_may_be_the_older_version(data: QualityData) -> None:
    fill(data)
    found = measure(data, "--candidate", 7)
    assert (found["candidate"], found["production"]) == (7, 8)


def test_answers_younger_than_the_horizon_are_left_out(data: QualityData) -> None:
    fill(data)
    data.answer(8, 42, 47.5 * HOUR)
    data.answer(8, 42, 40 * HOUR)
    found = measure(data)
    counts = [found["horizons"][h]["takes"]["candidate_answers"] for h in ("1h", "24h")]
    assert counts == [3, 2]


def test_answers_that_are_too_young_for_24_hours_are_compared_within_one(
    data: QualityData,
) -> None:
    """As at the deadline of a release of twelve hours."""
    for version, user in ((7, 42), (8, 42), (7, 1000), (8, 1000)):
        data.watch(user, data.answer(version, user, version)[0], 60)
    data.watch(7, "movie+number+59+1969", 3 * HOUR)
    data.commit_watches()
    found = measure(data, "--save")
    assert found["horizons"]["24h"] is None
    assert found["horizons"]["1h"]["takes"]["candidate_answers"] == 2
    assert "within 24h: a version has no answers that are old enough" in run(data).output
    with data.engine.connect() as connection:
        assert {*connection.scalars(sa.select(quality.c.horizon))} == {"1h"}


def test_answers_that_are_younger_than_an_hour_are_not_compared(data: QualityData) -> None:
    data.watch(42, data.answer(7, 42, 0)[0], 60)
    data.answer(8, 42, 10)
    data.commit_watches()
    result = run(data)
    assert (result.exit_code, "older than the newest watch" in result.output) == (1, True)


def test_a_watch_after_the_end_is_credited_to_the_answer_that_came_before_it(
    data: QualityData,
) -> None:
    """As after the deadline of a release, when users go on asking."""
    for version in (7, 8):
        data.answer(version, 1000, version)
    shown = data.answer(7, 42, 1.5 * HOUR)
    data.answer(7, 42, 2.1 * HOUR)
    data.watch(42, shown[0], 2.2 * HOUR)
    data.watch(7, "movie+number+59+1969", 48 * HOUR)
    data.commit_watches()
    end = (START + timedelta(hours=2)).isoformat(timespec="seconds")
    takes = {
        until: measure(data, "--end", until)["horizons"]["1h"]["versions"]["production"]["takes"]
        for until in (end, UNTIL)
    }
    assert takes == {end: 0, UNTIL: 1}
    found = measure(data, "--end", end)["horizons"]["1h"]["takes"]
    assert found["production_answers"] == 2


def test_of_a_request_at_two_slots_the_delivered_answer_counts(data: QualityData) -> None:
    fill(data)
    data.answer(7, 42, 20 * HOUR, "one", client_gone=True)
    data.answer(8, 42, 20 * HOUR + 1, "one")
    found = measure(data)["horizons"]["1h"]["takes"]
    assert (found["candidate_answers"], found["production_answers"]) == (3, 2)


def test_movies_of_the_other_list_only_are_the_placebo(data: QualityData) -> None:
    fill(data)
    movie = next(iter(listed_only_by(data, 8, 7, 999_999)))
    data.answer(7, 999_999, 20 * HOUR)
    data.watch(999_999, movie, 20 * HOUR + 60)
    data.commit_watches()
    found = measure(data, *models(data))["horizons"]["1h"]["versions"]
    assert found["production"]["answers_with_other_list"] == 3
    assert found["production"]["unaided_rate"] == pytest.approx(1 / 3)
    assert found["candidate"]["unaided_rate"] == 0


def test_watches_before_the_answer_do_not_count(data: QualityData) -> None:
    fill(data)
    listed = data.answer(8, 7, 30 * HOUR)
    data.watch(7, listed[0], 29 * HOUR)
    data.commit_watches()
    assert measure(data)["horizons"]["24h"]["versions"]["candidate"]["takes"] == 2


def test_times_of_the_log_are_converted_to_utc(data: QualityData) -> None:
    """In a log of New York, the same local times are five hours later."""
    fill(data)
    variables = {**data.environment(), "MARQUEE_STREAM_TIME_ZONE": "America/New_York"}
    arguments = ["quality", "--json", "--start", START.isoformat(), "--end", UNTIL]
    result = CliRunner().invoke(marquee, arguments, env=variables)
    versions = json.loads(result.stdout)["horizons"]["1h"]["versions"]
    assert [versions[side]["takes"] for side in ("candidate", "production")] == [0, 0]


def test_a_saved_result_is_exported_to_prometheus(data: QualityData) -> None:
    fill(data)
    measure(data, "--save")
    with data.engine.connect() as connection:
        rows = connection.execute(sa.select(quality)).mappings().all()
    assert {(row["horizon"], row["value"]) for row in rows} == {
        (horizon, value) for horizon in ("1h", "24h") for value in ("takes", "minutes")
    }
    registry = CollectorRegistry()
    registry.register(QualityCollector(data.engine))
    eventually(lambda: generate_latest(registry), 60, "the table is read")
    text = generate_latest(registry).decode()
    labels = 'horizon="1h",production_version="7",value="takes",version="8"'
    assert f"marquee_quality_production{{{labels}}} 1.0" in text
    assert "marquee_quality_computed_timestamp_seconds" in text


def test_metrics_do_not_wait_for_the_database(data: QualityData) -> None:
    asked, answer = Event(), Event()

    @sa.event.listens_for(data.engine, "do_connect")
    def _wait(*_: object) -> None:
        asked.set()
        answer.wait(60)

    data.engine.dispose()
    registry = CollectorRegistry()
    registry.register(QualityCollector(data.engine))
    try:
        assert generate_latest(registry) == b""
        assert asked.wait(60)
        assert generate_latest(registry) == b""
        assert not answer.is_set()
    finally:
        answer.set()


def test_without_a_table_nothing_is_exported(tmp_path: Path) -> None:
    engine, read = sa.create_engine(f"sqlite:///{tmp_path}/empty.db"), Event()
    sa.event.listen(engine, "handle_error", lambda _: read.set())
    registry = CollectorRegistry()
    registry.register(QualityCollector(engine))
    assert generate_latest(registry) == b""
    assert read.wait(60)
    assert generate_latest(registry) == b""


def test_the_table_for_people_names_both_versions(data: QualityData) -> None:
    fill(data)
    output = run(data, *models(data)).output
    assert "version 8 compared with 7 in production" in output
    assert "takes per answer" in output
    assert "undecided: " in output


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--production", "8"], 2, "--production needs --candidate"),
        (["--candidate", "8", "--production", "8"], 2, "the same version"),
        (["--end", "2023-01-01"], 2, "--start must be before"),
        (["--model", "model"], 2, "is not VERSION=DIRECTORY"),
        (["--candidate", "9", "--production", "7"], 1, "version 9 has no answer"),
    ],
)
def test_wrong_usage_and_failures_have_a_status(
    data: QualityData, arguments: list[str], status: int, message: str
) -> None:
    fill(data)
    result = run(data, *arguments)
    assert (result.exit_code, message in result.output) == (status, True)


def test_a_model_of_another_version_is_refused(data: QualityData) -> None:
    fill(data)
    result = run(data, "--model", f"7={data.models[8]}")
    assert (result.exit_code, "is the model of version 8, not 7" in result.output) == (1, True)


def test_answers_of_one_version_only_are_an_error(data: QualityData) -> None:
    data.answer(7, 42, 0)
    data.watch(42, "movie+number+1+1911", 60)
    data.commit_watches()
    result = run(data)
    assert (result.exit_code, "answered: 7" in result.output) == (1, True)
