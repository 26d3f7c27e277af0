"""A day in the life, and fourteen: a version every second day, by itself, while people ask.

`make soak` lives fourteen days of the simulated world; `make test` fewer, faster.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import pytest

from app.simulator.responses import OUTCOMES
from tests.conftest import ROOT
from tests.e2e.test_provenance import drained
from tests.support.releases import Releases
from tests.support.simulated_days import Days, Edition, Life
from tests.support.stack import Stack

SOAK = "MARQUEE_SOAK_SECONDS" in os.environ
EDITION = (
    Edition(days=14, speed=1344, rate=60, every=2, versions=5)
    if SOAK
    else Edition(days=4, speed=1440, rate=60, every=1, versions=2)
)
AVAILABILITY = 0.999
#: How much more memory a service may have in the last quarter than in the second, beyond a tenth.
GROWTH_MIB = 10
#: Told and not judged, with the reason why each grows.
GROWING = {
    "days": "the simulator remembers who watched what",
    "kafka": "a heap that its settings let grow",
    "prometheus": "keeps two hours of samples in memory before it writes them, here of each second",
}

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def days(shared_releases: Releases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Days]:
    shared_releases.fault("")
    lived = Days(shared_releases, tmp_path_factory.mktemp("days"))
    try:
        lived.begin()
        drained(lived.stack)
        lived.stack.sql("truncate reccom")
        yield lived
    finally:
        lived.close()


@pytest.fixture(scope="module")
def life(days: Days, figures: Callable[[str], None]) -> Life:
    lived = days.live(EDITION)
    (ROOT / "build" / "days.json").write_text(json.dumps(asdict(lived), indent=1))
    for row in (*lived.retrainings, *lived.releases):
        figures(f"days: {row}")
    return lived


def test_people_are_answered_all_along(life: Life, figures: Callable[[str], None]) -> None:
    requests = life.summary["requests"]
    figures(f"days: {life.summary['days']} days, requests {requests}")
    assert life.summary["days"] == pytest.approx(EDITION.days, abs=0.01)
    assert requests["availability"] >= AVAILABILITY
    assert life.summary["stream"]["lost"] == 0


def test_versions_come_into_service_by_themselves(life: Life) -> None:
    promoted = [row for row in life.releases if row["outcome"] == "promoted"]
    assert len(promoted) >= EDITION.versions, (life.retrainings, life.releases)
    assert len(set(life.served)) == len(promoted) + 1


def test_every_answer_is_in_the_database_with_its_version(
    days: Days, life: Life, figures: Callable[[str], None]
) -> None:
    drained(days.stack)
    grouped = "select version_number, count(*), count(distinct request_id) from reccom"
    rows = {
        int(version): (int(tries), int(requests))
        for version, tries, requests in days.stack.sql(f"{grouped} group by version_number")
    }
    answers = {int(version): count for version, count in life.summary["answers"].items()}
    assert answers.keys() <= rows.keys()
    for version, count in answers.items():
        assert rows[version][1] >= count, f"answers of version {version} are not in reccom"
    # What is there beyond the answers: second tries, and answers nobody waited for.
    (total,) = days.stack.sql("select count(*), count(distinct request_id) from reccom")
    requests = life.summary["requests"]
    given = sum(requests[outcome] for outcome in OUTCOMES)
    assert sum(answers.values()) == requests["ok"] <= int(total[1]) <= given
    assert _versions(days.stack, "tracking") >= answers.keys()
    assert _versions(days.stack, "build") >= answers.keys()
    traced = "select count(*) from reccom left join build using (build_id) where build.build_id"
    assert days.stack.sql(f"{traced} is null") == [["0"]]
    figures(f"days: reccom has {total[0]} rows of {total[1]} requests; answered {answers}")


def _versions(stack: Stack, table: str) -> set[int]:
    return {int(row[0]) for row in stack.sql(f"select version_number from {table}")}


def test_no_version_is_worse_in_truth_than_the_one_before(
    days: Days, life: Life, figures: Callable[[str], None]
) -> None:
    models = days.restore(life.served)
    told = {day: days.compare(models, EDITION, day) for day in (0.0, EDITION.days)}
    (ROOT / "build" / "days-compared.json").write_text(json.dumps(told, indent=1))
    last = told[EDITION.days]
    for number, row in zip(life.served, last["versions"], strict=True):
        met: dict[str, Any] = life.summary["versions"].get(str(number), {})
        figures(
            f"days: version {number}: listed {row['listed']}, {row['share_of_best']:.1%} of the"
            f" best; in service: {met.get('choices', 0)} choices, gain {met.get('gain')}"
        )
    for row in last["comparisons"]:
        figures(
            f"days: {row['before'][-4:]} to {row['after'][-4:]}: {row['difference']:+.4f}"
            f" +- {row['error']:.4f}, {row['users']} users"
        )
    assert last["users"] >= EDITION.people
    assert not [row for row in last["comparisons"] if row["worse"]]


def test_memory_stays_as_it_is(days: Days, life: Life, figures: Callable[[str], None]) -> None:
    found = days.memory(life)
    (ROOT / "build" / "days-memory.json").write_text(json.dumps(found, indent=1))
    for service, quarters in found.items():
        why = f" (not judged: {GROWING[service]})" if service in GROWING else ""
        figures(f"days: {service} has {quarters} MiB by quarters{why}")
    assert found.keys() > {"stable-1", "stable-2", "canary", "nginx", "mysql", "shipper"}
    if not SOAK:
        pytest.skip("memory is judged over fourteen days: make soak")
    grown = {
        service: quarters
        for service, quarters in found.items()
        if service not in GROWING and quarters[3] > quarters[1] * 1.1 + GROWTH_MIB
    }
    assert not grown
