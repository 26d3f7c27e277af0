"""`marquee analyze --prometheus` reads whole numbers from a real Prometheus."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from app.canary_analysis.prometheus import Clock, MinuteReader, Prometheus, read_queries
from app.cli import marquee
from tests.conftest import ROOT
from tests.support.backfilled_prometheus import serve

START = 1_700_000_000
MINUTES = 12
_QUERIES = ROOT / "monitoring" / "prometheus" / "release" / "analysis.yml"
_BOUNDS = ("0.005", "0.25", "+Inf")


@dataclass
class Slot:
    """A slot whose counters are scraped every five seconds; it may restart.

    Attributes:
        counters: part of a counter -> value since the start of the process.
        seen: minute -> status -> responses that Prometheus can see.
        series: what Prometheus scraped.
    """

    name: str
    version: str
    rate: int
    counters: dict[tuple[str, str], float] = field(default_factory=dict)
    seen: dict[int, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    series: dict[str, dict[str, dict[int, float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(dict))
    )

    def restart(self) -> None:
        self.counters = {("count", "200"): 0.0, ("count", "500"): 0.0}
        self.counters |= {("bucket", bound): 0.0 for bound in _BOUNDS}
        self.counters |= {("source", "personal"): 0.0, ("sum", ""): 0.0}

    def answer(self, time: int, status: str, count: int, counts: bool = True) -> None:
        """Answer requests; `counts`: they are scraped in the end."""
        key = ("count", status)
        self.counters[key] = self.counters.get(key, 0.0) + count
        if status == "200":
            for bound in _BOUNDS[1:]:
                self.counters["bucket", bound] += count
            self.counters["source", "personal"] += count
            self.counters["sum", ""] += 0.01 * count
        if counts and time > START:
            minute = self.seen[(time - START) // 60]
            minute[status] = minute.get(status, 0) + count

    def scrape(self, time: int, reached: bool = True) -> None:
        role = "canary" if self.name == "canary" else "stable"
        job = f'job="marquee",slot="{self.name}",role="{role}"'
        self.series["up"][job][time] = float(reached)
        if not reached:
            return
        own = f'{job},version="{self.version}",url_rule="/recommend/<user_id>",method="GET"'
        name = "flask_http_request_duration_seconds"
        for (kind, part), value in self.counters.items():
            if kind == "count":
                self.series[f"{name}_count"][f'{own},status="{part}"'][time] = value
            elif kind == "bucket":
                self.series[f"{name}_bucket"][f'{own},status="200",le="{part}"'][time] = value
            elif kind == "sum":
                self.series[f"{name}_sum"][f'{own},status="200"'][time] = value
            else:
                self.series["marquee_recommendations_total"][f'{job},source="{part}"'][time] = value


def simulate() -> list[Slot]:
    """Two slots: the canary restarts once, and one 404 appears while it is scraped."""
    random = Random(1)
    canary, stable = Slot("canary", "7", 5), Slot("stable-1", "6", 20)
    for slot in (canary, stable):
        slot.restart()
    stable.answer(START - 200, "200", 5000)
    # Before its first scrape the canary has answered the requests of its smoke test.
    canary.answer(START - 1, "200", 7)
    for time in range(START - 58, START + 60 * MINUTES, 5):
        stable.answer(time, "200", random.randrange(stable.rate))
        stable.scrape(time)
        if time < START:
            continue
        down = START + 243 <= time < START + 262
        if time == START + 262:
            canary.restart()
        if not down and time > START + 2:
            canary.answer(time, "200", random.randrange(canary.rate))
            canary.answer(time, "500", int(random.random() < 0.2))
        if time == START + 127:
            canary.answer(time, "404", 3)
        canary.scrape(time, reached=not down)
    return [canary, stable]


@pytest.fixture(scope="module")
def slots() -> list[Slot]:
    return simulate()


@pytest.fixture(scope="module")
def url(slots: list[Slot], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    series = {
        name: {labels: values for slot in slots for labels, values in slot.series[name].items()}
        for name in slots[0].series
    }
    with serve(tmp_path_factory.mktemp("prometheus"), series) as address:
        yield address


def test_counts_of_each_minute_are_exact(url: str, slots: list[Slot]) -> None:
    reader = MinuteReader(Prometheus(url), read_queries(_QUERIES, "7"), Clock(START))
    samples, notes = reader.read(range(MINUTES))
    assert {(s.slot, s.minute) for s in samples} == {
        (slot.name, minute) for slot in slots for minute in range(MINUTES)
    }
    expected = {slot.name: slot.seen for slot in slots}
    for sample in samples:
        seen = expected[sample.slot].get(sample.minute, {})
        found = {status: count for status, count in sample.status.items() if count}
        assert found == {status: count for status, count in seen.items() if count}, sample
        assert sample.buckets[float("inf")] == sample.status["200"]
        assert sample.seconds == pytest.approx(0.01 * sample.status["200"])
        assert sample.source == {"personal": sample.status["200"]}
        assert sample.started is None
    assert notes == ["canary restarted in minute 4: what came after its last scrape is unseen"]
    assert [s.up for s in samples if s.slot == "canary"][3:6] == [12, 9, 12]


def test_reading_minute_by_minute_is_reading_at_once(url: str) -> None:
    queries = read_queries(_QUERIES, "7")
    at_once = MinuteReader(Prometheus(url), queries, Clock(START)).read(range(MINUTES)).samples
    one_by_one = [
        sample
        for minute in range(MINUTES)
        for sample in MinuteReader(Prometheus(url), queries, Clock(START))
        .read(range(minute, minute + 1))
        .samples
    ]
    key = {(s.slot, s.minute): (s.status.get("200"), s.status.get("500"), s.up) for s in at_once}
    assert key == {
        (s.slot, s.minute): (s.status.get("200"), s.status.get("500"), s.up) for s in one_by_one
    }


def test_shorter_minutes_have_the_same_sums(url: str) -> None:
    queries = read_queries(_QUERIES, "7")
    minutes = MinuteReader(Prometheus(url), queries, Clock(START)).read(range(MINUTES)).samples
    clock = Clock(START, seconds=20)
    parts = MinuteReader(Prometheus(url), queries, clock).read(range(3 * MINUTES)).samples
    sums: dict[tuple[str, int], int] = defaultdict(int)
    for part in parts:
        sums[part.slot, part.minute // 3] += sum(part.status.values())
    assert sums == {(s.slot, s.minute): sum(s.status.values()) for s in minutes}


def test_the_command_keeps_what_it_has_read(url: str, tmp_path: Path) -> None:
    arguments = ["analyze", "--prometheus", url, "--start", str(START), "--version", "7"]
    arguments += ["--window", str(MINUTES), "--state", str(tmp_path), "--queries", str(_QUERIES)]

    def look(minutes: int, *more: str) -> dict[str, object]:
        now = START + 60 * minutes + 6
        done = CliRunner().invoke(marquee, [*arguments, "--now", str(now), *more])
        assert done.exit_code == 0, done.output
        result = json.loads(done.stdout)
        assert isinstance(result, dict)
        return result

    assert look(5)["verdict"] == "CONTINUE"
    assert len((tmp_path / "samples.jsonl").read_text().splitlines()) == 2 * 5
    last = look(MINUTES, "--mean-seconds", "0.01")
    # The canary fails one request in ten, the stable slot none.
    assert last["verdict"] == "ABORT"
    assert json.loads((tmp_path / "decision.json").read_text()) == last
    # Seen in the first look.
    assert last["notes"] == [
        "canary restarted in minute 4: what came after its last scrape is unseen"
    ]
    checks = {check["name"]: check for check in last["checks"]}  # type: ignore[attr-defined]
    assert checks["prometheus_mean_seconds"]["value"] == 0.01
    assert checks["unanswered"]["outcome"] == "skipped"
    assert len((tmp_path / "samples.jsonl").read_text().splitlines()) == 2 * MINUTES
