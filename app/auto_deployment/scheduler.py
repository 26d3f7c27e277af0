"""When to retrain: every two days, from the last one on, whatever was restarted meanwhile."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from threading import Event
from types import FrameType

import schedule

from app import logs
from app.auto_deployment.auto_deploy import STATE
from app.auto_deployment.scheduler_metrics import serve
from app.auto_deployment.workspace import Workspace
from app.settings import Settings

_LOOK_SECONDS = 5.0
#: A fault outside, or nothing collected yet: tried again sooner.
_SOON = ("failed", "waiting")
#: A run that is told to stop ends what it has begun within this time.
_STOP_SECONDS = 20
_log = logs.get(__name__)


class Scheduler:
    """Starts a run when it is due, and one at a time.

    When that is follows from how the last one ended, which stands in the workspace: so it holds
    across restarts, for runs by hand too, and what was missed is made up for once.

    Args:
        settings: how often.
        run: runs to its end, or until the event is set.
    """

    def __init__(self, settings: Settings, run: Callable[[Event], None]) -> None:
        self._settings = settings
        self._workspace = Workspace(settings)
        self._not_before = 0.0
        self._run = run
        self.beat = time.monotonic()
        self._scheduler = schedule.Scheduler()
        self._job = self._scheduler.every(int(settings.retrain_interval_hours * 3600)).seconds

    def due(self) -> float:
        """When the next run begins, in seconds since 1970; in the past where one was missed."""
        state = self._workspace.read(STATE)
        finished = float(state.get("finished") or 0)
        if not 0 < finished <= time.time():  # never, or by a clock that was wrong
            return self._not_before
        minutes = self._settings.retrain_retry_minutes
        soon = state.get("status") in _SOON
        pause = minutes * 60 if soon else self._settings.retrain_interval_hours * 3600
        return max(finished + pause, self._not_before)

    def work(self, stop: Event) -> None:
        """Until told to stop."""
        self._job.do(self._begin, stop)
        while not stop.is_set():
            self.look()
            stop.wait(_LOOK_SECONDS)

    def look(self) -> None:
        """Start a run if one is due."""
        self.beat = time.monotonic()
        self._job.next_run = datetime.fromtimestamp(self.due())
        self._scheduler.run_pending()

    def _begin(self, stop: Event) -> None:
        began = time.time()
        _log.info("a retraining begins")
        self._run(stop)
        state = self._workspace.read(STATE)
        if float(state.get("finished") or 0) < began:  # it could not even say how it ended
            self._not_before = time.time() + self._settings.retrain_retry_minutes * 60
        upcoming = datetime.fromtimestamp(self.due()).astimezone().isoformat(timespec="seconds")
        _log.info("a retraining ended", status=state.get("status"), next=upcoming)


def run_retrain(stop: Event, beat: Callable[[], None]) -> None:
    """`marquee retrain` in a process of its own, so that its end, whatever it is, is not ours."""
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "retrain", "--json"], stdout=subprocess.PIPE
    )
    while process.poll() is None:
        beat()
        if stop.wait(0.2):
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
    said = process.communicate()[0]
    if process.returncode < 0 and not stop.is_set():
        _log.error("the retraining was killed", signal=-process.returncode)
    try:
        outcome = json.loads(said)
    except ValueError:
        return
    _log.info("outcome", status=outcome["status"], subject=outcome["subject"])


def work(settings: Settings) -> None:
    """Schedule until SIGTERM or Ctrl-C."""
    stop = Event()

    def told(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, told)
    signal.signal(signal.SIGINT, told)

    def alive() -> None:
        scheduler.beat = time.monotonic()

    scheduler = Scheduler(settings, lambda stop: run_retrain(stop, alive))
    server = serve(settings, scheduler)
    if settings.git_remote:
        _log.info(
            "scheduling",
            hours=settings.retrain_interval_hours,
            workspace=str(settings.workspace_dir),
        )
        scheduler.work(stop)
    else:
        _log.info("idle: no versions are made, MARQUEE_GIT_REMOTE is not set")
        while not stop.wait(_LOOK_SECONDS):
            alive()
    if server:
        server.shutdown()
    _log.info("stopped")
