"""When runs start, with a simulated clock."""

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest
import time_machine
from prometheus_client import CollectorRegistry, generate_latest
from ruamel.yaml import YAML
from structlog.testing import capture_logs

from app.auto_deployment.scheduler import (
    RetrainMetrics,
    Scheduler,
    create_scheduler_app,
    run_command,
    warn_of_local_remote,
)
from app.auto_deployment.workspace import Workspace
from app.orders import Action, Order, create_order, write_order
from app.settings import Settings
from tests.conftest import ROOT

NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)  # daylight saving time starts in Europe that night


class SimulatedRuns:
    """A scheduler whose runs take a minute and only write the state file."""

    def __init__(self, workspace: Path, clock: time_machine.Traveller) -> None:
        self.settings = Settings(
            workspace_dir=workspace,
            git_remote="somewhere",
            orders_dir=workspace.parent / "orders",
        )
        self.workspace, self.clock = workspace, clock
        self.starts: list[datetime] = []
        self.status = "published"
        self.restart_scheduler()

    def restart_scheduler(self) -> None:
        self.scheduler = Scheduler(self.settings, self.run)

    def run(self, stop: Event) -> None:
        self.starts.append(datetime.now(UTC))
        self.clock.shift(timedelta(minutes=1))
        if self.status == "killed":
            return
        self.workspace.mkdir(exist_ok=True)
        state = {"status": self.status, "finished_at": datetime.now(UTC).timestamp()}
        (self.workspace / "state.json").write_text(json.dumps(state))

    def tick(self) -> None:
        self.scheduler.tick(Event())

    def advance(self, **duration: float) -> None:
        """Move the clock forward, with a tick every ten minutes."""
        end = datetime.now(UTC) + timedelta(**duration)
        while datetime.now(UTC) < end:
            self.clock.shift(timedelta(minutes=10))
            self.tick()


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[SimulatedRuns]:
    with time_machine.travel(NOON, tick=False) as clock:
        yield SimulatedRuns(tmp_path / "workspace", clock)


def test_the_first_run_starts_at_once_and_the_next_ones_every_two_days(
    runs: SimulatedRuns,
) -> None:
    runs.tick()
    assert runs.starts == [NOON]
    runs.advance(hours=47)
    assert len(runs.starts) == 1
    runs.advance(days=4)
    assert len(runs.starts) == 3
    assert timedelta(hours=48) <= runs.starts[2] - runs.starts[1] < timedelta(hours=48.5)


def test_a_restart_of_the_scheduler_starts_no_run(runs: SimulatedRuns) -> None:
    runs.tick()
    for _ in range(4):
        runs.advance(hours=10)
        runs.restart_scheduler()
    assert len(runs.starts) == 1
    runs.advance(hours=9)
    assert len(runs.starts) == 2


def test_missed_runs_are_made_up_for_once(runs: SimulatedRuns) -> None:
    runs.tick()
    runs.clock.shift(timedelta(days=11))
    runs.restart_scheduler()
    runs.advance(hours=24)
    assert len(runs.starts) == 2
    assert runs.starts[1] - NOON < timedelta(days=11, hours=1)


@pytest.mark.parametrize("status", ["failed", "no_data", "killed"])
def test_a_failed_run_is_retried_after_an_hour(runs: SimulatedRuns, status: str) -> None:
    runs.status = status
    runs.tick()
    runs.advance(hours=3, minutes=30)
    assert len(runs.starts) == 4
    runs.status = "unchanged"
    runs.advance(hours=40)
    assert len(runs.starts) == 5


@pytest.mark.parametrize("status", ["gate_failed", "data_rejected"])
def test_a_rejection_is_not_retried_before_the_next_interval(
    runs: SimulatedRuns, status: str
) -> None:
    runs.status = status
    runs.tick()
    runs.advance(hours=47)
    assert len(runs.starts) == 1


def test_a_manual_run_counts(runs: SimulatedRuns) -> None:
    runs.tick()
    runs.advance(hours=30)
    runs.run(Event())
    runs.advance(hours=40)
    assert len(runs.starts) == 2


def test_a_time_in_the_future_does_not_delay_the_next_run(runs: SimulatedRuns) -> None:
    runs.clock.shift(timedelta(days=5000))
    runs.tick()
    runs.clock.shift(timedelta(days=-5000))
    runs.restart_scheduler()
    runs.advance(hours=47)
    assert len(runs.starts) == 2


def register_metrics(runs: SimulatedRuns) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(RetrainMetrics(runs.settings, runs.scheduler))
    return registry


def test_metrics_show_the_state_of_the_workspace(runs: SimulatedRuns) -> None:
    registry = register_metrics(runs)
    assert "marquee_retrain_configured 1.0" in generate_latest(registry).decode()
    runs.workspace.mkdir()
    state = {
        "status": "gate_failed", "last_success_at": 5.0, "duration_seconds": 61.5, "version": 7,
        "runs": {"gate_failed": 2},
    }  # fmt: skip
    (runs.workspace / "state.json").write_text(json.dumps(state))
    metrics = generate_latest(registry).decode()
    assert 'marquee_retrain_last_status{status="gate_failed"} 1.0' in metrics
    assert 'marquee_retrain_runs_total{status="gate_failed"} 2.0' in metrics
    assert "marquee_retrain_last_success_timestamp_seconds 5.0" in metrics
    assert "marquee_retrain_last_duration_seconds 61.5" in metrics
    assert "marquee_retrain_version 7.0" in metrics


def test_the_console_is_told_how_the_last_run_ended(runs: SimulatedRuns) -> None:
    client = create_scheduler_app(runs.settings, runs.scheduler).test_client()
    names = ("status", "subject", "finished_at", "step", "orders")
    assert client.get("/state").json == {**dict.fromkeys(names), "fairness": []}
    runs.workspace.mkdir()
    state = {"status": "gate_failed", "subject": "not published", "finished_at": 5.0, "runs": {}}
    (runs.workspace / "state.json").write_text(json.dumps(state))
    (runs.workspace / "run.json").write_text(json.dumps({"step": "train"}))
    assert client.get("/state").json == {
        "status": "gate_failed", "subject": "not published", "finished_at": 5.0, "step": "train",
        "orders": None, "fairness": [],
    }  # fmt: skip


def give_order(runs: SimulatedRuns, action: Action = "retrain") -> Order:
    order = create_order(action, "", "Ada in the console")
    runs.settings.orders_dir.mkdir(exist_ok=True)
    write_order(runs.settings.orders_dir, order)
    return order


def get_outcomes(runs: SimulatedRuns) -> list[str]:
    state = create_scheduler_app(runs.settings, runs.scheduler).test_client().get("/state").json
    return [order["outcome"] for order in (state or {})["orders"]]


def test_an_ordered_run_starts_at_once_and_once(runs: SimulatedRuns) -> None:
    runs.tick()
    give_order(runs)
    runs.tick()
    assert len(runs.starts) == 2
    runs.restart_scheduler()
    runs.advance(hours=1)
    assert len(runs.starts) == 2
    assert get_outcomes(runs) == ["done"]
    runs.status = "killed"
    give_order(runs)
    runs.tick()
    assert get_outcomes(runs) == ["done", "failed"]


def test_orders_that_have_expired_or_are_of_releases_start_no_run(runs: SimulatedRuns) -> None:
    runs.tick()
    give_order(runs)
    runs.clock.shift(timedelta(minutes=3))
    give_order(runs, "abort")
    runs.tick()
    assert len(runs.starts) == 1


def test_an_order_that_cannot_be_recorded_starts_no_run(
    runs: SimulatedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.tick()
    give_order(runs)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, capture_logs() as logged:
        patch.setattr(Workspace, "write", fail)
        runs.tick()
    assert len(runs.starts) == 1
    assert "cannot take an order of the console" in str(logged)
    runs.tick()
    assert len(runs.starts) == 2


def read_metric(registry: CollectorRegistry, name: str) -> float:
    value = registry.get_sample_value(f"marquee_retrain_{name}")
    assert value is not None
    return value


HOLD_LOCK = """
import sys
from app.auto_deployment.workspace import Workspace
from app.orders import Action, Order, create_order, write_order
from app.settings import Settings
workspace = Workspace(Settings(workspace_dir=sys.argv[1]))
with workspace.lock():
    workspace.start_step("train")
    print("running", flush=True)
    sys.stdin.read()
"""


def test_a_run_is_in_progress_until_its_process_has_ended(runs: SimulatedRuns) -> None:
    metrics = register_metrics(runs)
    assert read_metric(metrics, "running") == 0
    command = [sys.executable, "-c", HOLD_LOCK, str(runs.workspace)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with process:
        assert process.stdout
        assert b"running\n" in process.stdout
        assert read_metric(metrics, "running") == 1
        process.kill()
        process.wait()
        assert (runs.workspace / "run.json").exists()
        assert read_metric(metrics, "running") == 0


def test_waiting_for_the_first_data_is_not_a_missing_success(runs: SimulatedRuns) -> None:
    """The alert RetrainOverdue fires three days after this metric."""
    metrics, name = register_metrics(runs), "last_success_timestamp_seconds"
    runs.workspace.mkdir()
    runs.clock.shift(timedelta(days=5))
    now = datetime.now(UTC).timestamp()
    state: dict[str, object] = {"status": "no_data", "finished_at": now, "last_no_data_at": now}
    (runs.workspace / "state.json").write_text(json.dumps(state))
    assert read_metric(metrics, name) == now
    state["status"] = "failed"  # data has come
    (runs.workspace / "state.json").write_text(json.dumps(state))
    assert read_metric(metrics, name) == now
    state["last_success_at"] = now - 9 * 86_400  # after a success, data is missing
    (runs.workspace / "state.json").write_text(json.dumps(state))
    assert read_metric(metrics, name) == now - 9 * 86_400


def test_it_is_alive_only_while_the_loop_ticks(
    runs: SimulatedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.tick()
    assert runs.scheduler.is_alive()
    two_minutes_later = time.monotonic() + 120
    monkeypatch.setattr(time, "monotonic", lambda: two_minutes_later)
    assert not runs.scheduler.is_alive()


def test_its_container_has_an_init_that_reaps_processes() -> None:
    """tests/e2e/test_retraining.py has the processes; this is the setting."""
    services = YAML(typ="safe").load(ROOT / "docker-compose.yml")["services"]
    assert services["scheduler"]["init"] is True


def test_a_run_with_much_output_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").touch()
    (tmp_path / "app" / "__main__.py").write_text(
        "import json\n"
        "print(json.dumps({'status': 'failed', 'subject': 'Failed', 'body': 'x' * 1_000_000}))\n"
    )
    monkeypatch.chdir(tmp_path)  # `python -m app` runs the module of this directory
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    stop, heartbeats = Event(), itertools.count()

    def heartbeat() -> None:
        if next(heartbeats) == 300:  # a minute: it is blocked
            stop.set()

    run_command(stop, heartbeat)
    assert not stop.is_set()


def test_changed_settings_end_the_loop_between_two_runs(runs: SimulatedRuns) -> None:
    changed = Event()

    def run(stop: Event) -> None:
        changed.set()
        assert not stop.is_set()
        runs.run(stop)

    scheduler = Scheduler(runs.settings, run)
    scheduler.run_until(stop := Event(), changed.is_set)
    assert runs.starts == [NOON]
    assert not stop.is_set()
    assert runs.workspace.joinpath("state.json").exists()


def test_the_lock_of_a_run_is_seen_by_flock(tmp_path: Path) -> None:
    """`scripts/deploy.sh` asks with `flock` whether a run is in progress."""
    workspace = Workspace(Settings(workspace_dir=tmp_path))
    command = ["flock", "--nonblock", "--conflict-exit-code=75", str(tmp_path / "lock"), "true"]
    with workspace.lock():
        assert subprocess.run(command, check=False).returncode == 75
    assert subprocess.run(command, check=False).returncode == 0


@pytest.mark.parametrize(
    ("remote", "is_local"), [("/remotes/versions", True), ("", True), ("s3://bucket/a", False)]
)
def test_a_remote_on_the_same_host_is_logged(remote: str, is_local: bool) -> None:
    with capture_logs() as lines:
        warn_of_local_remote(Settings(dvc_remote=remote))
    assert ["all versions are on this host" in line["event"] for line in lines] == [True] * is_local
