"""Fourteen simulated days of traffic with a new version every second day."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import pytest

from app.simulator.responses import OUTCOMES
from tests.conftest import ROOT
from tests.support.releases import Releases
from tests.support.shipper import wait_until_shipped
from tests.support.simulated_days import Outcome, Scenario, SimulatedDays
from tests.support.soak import soak_only
from tests.support.stack import Stack

SCENARIO = Scenario(days=14, speed=1344, rate=60, retrain_interval_days=2, min_promoted=5)
MIN_AVAILABILITY = 0.999
#: Allowed growth from the second quarter to the last.
MAX_GROWTH_RATIO, MAX_GROWTH_MIB = 1.1, 10
#: Services whose memory is reported and not checked, and why it grows.
GROWING_SERVICES = {
    "days": "the simulator keeps each user's watched movies",
    "kafka": "a heap that grows up to its limit",
    "prometheus": "keeps two hours of samples in memory, here one of each second",
}

pytestmark = [soak_only, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def simulated_days(
    shared_releases: Releases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SimulatedDays]:
    shared_releases.remove_fault()
    days = SimulatedDays(shared_releases, tmp_path_factory.mktemp("days"))
    try:
        days.set_up()
        wait_until_shipped()
        days.stack.sql("truncate reccom")
        yield days
    finally:
        days.tear_down()


@pytest.fixture(scope="module")
def outcome(simulated_days: SimulatedDays, record_measurement: Callable[[str], None]) -> Outcome:
    result = simulated_days.run(SCENARIO)
    write_report("outcome", asdict(result))
    for row in (*result.retrainings, *result.releases):
        record_measurement(f"simulated days: {row}")
    return result


def write_report(name: str, content: object) -> None:
    path = ROOT / "build" / f"simulated-days-{name}.json"
    path.write_text(json.dumps(content, indent=1))


def test_the_service_is_available_throughout(
    outcome: Outcome, record_measurement: Callable[[str], None]
) -> None:
    requests = outcome.summary["requests"]
    record_measurement(f"simulated days: {outcome.summary['days']} days, requests {requests}")
    assert outcome.summary["days"] == pytest.approx(SCENARIO.days, abs=0.01)
    assert requests["availability"] >= MIN_AVAILABILITY
    assert outcome.summary["log"]["lost"] == 0


def test_versions_are_trained_and_promoted_without_intervention(outcome: Outcome) -> None:
    promoted = [row for row in outcome.releases if row["outcome"] == "promoted"]
    assert len(promoted) >= SCENARIO.min_promoted, (outcome.retrainings, outcome.releases)
    assert len(set(outcome.served_versions)) == len(promoted) + 1


def test_every_recommendation_is_in_the_database_with_its_version(
    simulated_days: SimulatedDays, outcome: Outcome, record_measurement: Callable[[str], None]
) -> None:
    stack = simulated_days.stack
    wait_until_shipped()
    grouped = "select version_number, count(*), count(distinct request_id) from reccom"
    rows = {
        int(version): (int(tries), int(requests))
        for version, tries, requests in stack.sql(f"{grouped} group by version_number")
    }
    received = {int(version): n for version, n in outcome.summary["recommendations"].items()}
    assert received.keys() <= rows.keys()
    for version, count in received.items():
        assert rows[version][1] >= count, f"responses of version {version} missing in reccom"
    # Rows beyond what clients received: retries, and responses after the client's timeout.
    (total,) = stack.sql("select count(*), count(distinct request_id) from reccom")
    requests = outcome.summary["requests"]
    n_valid = sum(requests[result] for result in OUTCOMES)
    assert sum(received.values()) == requests["ok"] <= int(total[1]) <= n_valid
    assert versions_in(stack, "tracking") >= received.keys()
    assert versions_in(stack, "build") >= received.keys()
    join = "select count(*) from reccom left join build using (build_id)"
    assert stack.sql(f"{join} where build.build_id is null") == [["0"]]
    record_measurement(
        f"simulated days: reccom has {total[0]} rows of {total[1]} requests;"
        f" clients received {received}"
    )


def versions_in(stack: Stack, table: str) -> set[int]:
    return {int(row[0]) for row in stack.sql(f"select version_number from {table}")}


def test_no_version_has_a_lower_true_utility_than_the_one_before(
    simulated_days: SimulatedDays, outcome: Outcome, record_measurement: Callable[[str], None]
) -> None:
    models = simulated_days.restore_models(outcome.served_versions)
    by_day = {
        day: simulated_days.compare_versions(models, SCENARIO, day) for day in (0.0, SCENARIO.days)
    }
    write_report("comparison", by_day)
    last = by_day[SCENARIO.days]
    for version, row in zip(outcome.served_versions, last["versions"], strict=True):
        observed: dict[str, Any] = outcome.summary["versions"].get(str(version), {})
        record_measurement(
            f"simulated days: version {version}: listed {row['listed']},"
            f" {row['share_of_best']:.1%} of the best; in service:"
            f" {observed.get('choices', 0)} choices, gain {observed.get('gain')}"
        )
    for row in last["comparisons"]:
        record_measurement(
            f"simulated days: {row['before'][-4:]} to {row['after'][-4:]}: "
            f"{row['difference']:+.4f} +- {row['standard_error']:.4f}, {row['users']} users"
        )
    assert last["users"] >= SCENARIO.max_users
    assert not [row for row in last["comparisons"] if row["worse"]]


def test_the_memory_of_services_does_not_grow(
    simulated_days: SimulatedDays, outcome: Outcome, record_measurement: Callable[[str], None]
) -> None:
    memory = simulated_days.memory_by_service(outcome)
    write_report("memory", memory)
    for service, quarters in memory.items():
        reason = GROWING_SERVICES.get(service)
        unchecked = f" (not checked: {reason})" if reason else ""
        record_measurement(f"simulated days: {service} has {quarters} MiB by quarters{unchecked}")
    assert memory.keys() > {"stable-1", "stable-2", "canary", "nginx", "mysql", "shipper"}
    grown = {
        service: quarters
        for service, quarters in memory.items()
        if service not in GROWING_SERVICES
        and quarters[3] > quarters[1] * MAX_GROWTH_RATIO + MAX_GROWTH_MIB
    }
    assert not grown
