"""When runs begin, with the clock moved."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest
import time_machine
from prometheus_client import CollectorRegistry, generate_latest

from app.auto_deployment.scheduler import Scheduler
from app.auto_deployment.scheduler_metrics import RetrainMetrics
from app.settings import Settings

NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)  # the night after it, Europe's clocks change


class Runs:
    """A scheduler whose runs only leave what real ones leave, and take a minute."""

    def __init__(self, workspace: Path, clock: time_machine.Traveller) -> None:
        self.settings = Settings(workspace_dir=workspace, git_remote="somewhere")
        self.workspace, self.clock = workspace, clock
        self.begun: list[datetime] = []
        self.status = "published"
        self.start()

    def start(self) -> None:
        """As after a restart: nothing is known but what lies in the workspace."""
        self.scheduler = Scheduler(self.settings, self._run)
        self.scheduler._job.do(self.scheduler._begin, Event())

    def _run(self, stop: Event) -> None:
        self.begun.append(datetime.now(UTC))
        self.clock.shift(timedelta(minutes=1))
        if self.status == "killed":
            return
        self.workspace.mkdir(exist_ok=True)
        state = {"status": self.status, "finished": datetime.now(UTC).timestamp()}
        (self.workspace / "state.json").write_text(json.dumps(state))

    def pass_time(self, **spans: float) -> None:
        """Let time pass, looking every ten minutes."""
        end = datetime.now(UTC) + timedelta(**spans)
        while datetime.now(UTC) < end:
            self.clock.shift(timedelta(minutes=10))
            self.scheduler.look()


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    with time_machine.travel(NOON, tick=False) as clock:
        yield Runs(tmp_path / "workspace", clock)


def test_the_first_run_begins_at_once_and_then_every_two_days(runs: Runs) -> None:
    runs.scheduler.look()
    assert runs.begun == [NOON]
    runs.pass_time(hours=47)
    assert len(runs.begun) == 1
    runs.pass_time(days=4)
    assert len(runs.begun) == 3
    assert timedelta(hours=48) <= runs.begun[2] - runs.begun[1] < timedelta(hours=48.5)


def test_a_restart_does_not_begin_anew(runs: Runs) -> None:
    runs.scheduler.look()
    for _ in range(4):
        runs.pass_time(hours=10)
        runs.start()
    assert len(runs.begun) == 1
    runs.pass_time(hours=9)
    assert len(runs.begun) == 2


def test_what_was_missed_is_made_up_for_once(runs: Runs) -> None:
    runs.scheduler.look()
    runs.clock.shift(timedelta(days=11))
    runs.start()
    runs.pass_time(hours=24)
    assert len(runs.begun) == 2
    assert runs.begun[1] - NOON < timedelta(days=11, hours=1)


@pytest.mark.parametrize("status", ["failed", "waiting", "killed"])
def test_a_fault_outside_is_tried_again_after_an_hour(runs: Runs, status: str) -> None:
    runs.status = status
    runs.scheduler.look()
    runs.pass_time(hours=3, minutes=30)
    assert len(runs.begun) == 4
    runs.status = "unchanged"
    runs.pass_time(hours=40)
    assert len(runs.begun) == 5


@pytest.mark.parametrize("status", ["gate", "refused"])
def test_a_verdict_stands_for_two_days(runs: Runs, status: str) -> None:
    runs.status = status
    runs.scheduler.look()
    runs.pass_time(hours=47)
    assert len(runs.begun) == 1


def test_a_run_by_hand_counts(runs: Runs) -> None:
    runs.scheduler.look()
    runs.pass_time(hours=30)
    runs._run(Event())
    runs.pass_time(hours=40)
    assert len(runs.begun) == 2


def test_a_clock_that_was_wrong_does_not_put_off_for_years(runs: Runs) -> None:
    runs.clock.shift(timedelta(days=5000))
    runs.scheduler.look()
    runs.clock.shift(timedelta(days=-5000))
    runs.start()
    runs.pass_time(hours=47)
    assert len(runs.begun) == 2


def test_metrics_tell_how_it_stands(runs: Runs) -> None:
    registry = CollectorRegistry()
    registry.register(RetrainMetrics(runs.settings, runs.scheduler))
    assert "marquee_retrain_configured 1.0" in generate_latest(registry).decode()
    runs.workspace.mkdir()
    state = {"status": "gate", "last_success": 5.0, "version": 7, "runs": {"gate": 2}}
    (runs.workspace / "state.json").write_text(json.dumps(state))
    said = generate_latest(registry).decode()
    assert 'marquee_retrain_last_status{status="gate"} 1.0' in said
    assert 'marquee_retrain_runs_total{status="gate"} 2.0' in said
    assert "marquee_retrain_last_success_timestamp_seconds 5.0" in said
    assert "marquee_retrain_version 7.0" in said
