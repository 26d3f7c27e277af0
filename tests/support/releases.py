"""Releases in tests: versions with faults, the release script, received notifications."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from pytest_httpserver import HTTPServer

from app.locks import exclusive_lock
from app.model.artifact import ModelMetadata, write_manifest
from app.model.manifest import Manifest, read_manifest
from tests.conftest import ROOT
from tests.support.faulty import FAULTY
from tests.support.load import CLIENT_TIMEOUT_SECONDS, Result, assert_available, attack
from tests.support.mailbox import Mailbox
from tests.support.stack import PROJECT, SLOTS, URL, Stack

#: Build section that adds a layer with a fault on top of the image of the commit before.
FAULTY_BUILD = '{{context: "{context}", network: host, args: {{BASE: "{base}", FAULT: "{fault}"}}}}'
SLOT_BUILD = "x-slot: &slot\n  <<: *hardened\n  build: "
#: Low enough for a machine that also runs other programs.
REQUESTS_PER_SECOND = 50
#: Of a load; a test's limit.
MAX_SECONDS = 800
#: A generous limit of a release with these settings, also on a machine that runs other programs.
TIMEOUT_SECONDS = 500
#: OnUnitInactiveSec of marquee-release@.timer.
TIMER_SECONDS = 15
#: Of `scripts/deploy.sh`, which builds images.
DEPLOY_TIMEOUT_SECONDS = 1500
#: Short durations, wide margins and small limits, to keep the tests short.
SETTINGS = {
    "RELEASE_ANALYSIS_WINDOW": "15s",
    "RELEASE_MIN_REQUESTS": "100",
    "RELEASE_SCRAPE_INTERVAL_SECONDS": "1",
    "RELEASE_MIN_TRAFFIC_SHARE": "0.15",
    "RELEASE_MAX_TRAFFIC_SHARE": "0.25",
    "RELEASE_FAILURE_TOLERANCE": "0.02",
    "RELEASE_FAILURE_MARGIN": "0.1",
    "RELEASE_POPULAR_TOLERANCE": "0.1",
    "RELEASE_POPULAR_MARGIN": "0.3",
    "RELEASE_MAX_LATENCY_RATIO": "50",
    "RELEASE_MAX_LATENCY_INCREASE_SECONDS": "0.24",
    "RELEASE_MAX_BURST_DURATION": "3s",
    "RELEASE_GUARD_INTERVAL": "3s",
    "RELEASE_GUARD_WINDOW": "9s",
    "RELEASE_GUARD_MIN_REQUESTS": "1000000",
    "RELEASE_READINESS_TIMEOUT": "60s",
    "RELEASE_PROMOTION_DELAY": "2s",
    "RELEASE_PROMETHEUS_TIMEOUT": "3s",
    "RELEASE_MIN_FREE_DISK_MB": "500",
    "RELEASE_MARQUEE": str(Path(sys.executable).with_name("marquee")),
}


@dataclass
class Releases:
    """The release script in the stack's clone.

    Attributes:
        model: a model of version 1 that passes every check.
        settings: `RELEASE_` settings of the current test, beside `defaults`.
        defaults: settings of every release.
    """

    stack: Stack
    model: Path
    receivers: "NotificationReceivers"
    settings: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, str] = field(default_factory=SETTINGS.copy)
    _processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def clone(self) -> Path:
        return self.stack.clone

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of the release script."""
        return {
            **self.stack.environment,
            **self.defaults,
            **self.receivers.settings,
            **self.settings,
        }

    @property
    def users(self) -> list[int]:
        """Ids of the users that the model has personal lists for."""
        users: list[int] = np.load(self.model / "lists" / "users.npy").tolist()
        return users

    def read_notifications(self) -> "Notifications":
        """Return the notifications received since the last call."""
        return self.receivers.read()

    # -- versions ------------------------------------------------------------------------------

    def commit_version(
        self, fault: str = "", modify_model: Callable[[Path], None] | None = None
    ) -> int:
        """Commit the next version with a model of its own; return its number.

        Args:
            fault: fault of the image (tests/e2e/faulty/faults.py); "" for none.
            modify_model: changes the model directory before the commit.
        """
        version_file = self.clone / "version.txt"
        version = int(version_file.read_text()) + 1
        model = self.clone / "model"
        shutil.rmtree(model, ignore_errors=True)
        shutil.copytree(self.model, model)
        for kind in ("lists", "factors"):
            set_version(model / kind, read_manifest(model / kind, kind), version)
        if modify_model:
            modify_model(model)
        version_file.write_text(f"{version}\n")
        (self.clone / "dvc.lock").unlink(missing_ok=True)  # of a version from DVC
        self._write_build(fault)
        message = f"Data and Model version update: [{version}]"
        git(self.clone, "commit", "--quiet", "--all", "-m", message)
        return version

    def remove_fault(self) -> None:
        """Commit the removal of a fault, so that the next build is good."""
        self._write_build("")
        if git(self.clone, "status", "--porcelain", "docker-compose.yml"):
            git(self.clone, "commit", "--quiet", "-m", "Remove the fault", "docker-compose.yml")

    def _write_build(self, fault: str) -> None:
        """Change the build of slots: a layer with a fault on top of the good image; "" for none."""
        good = (ROOT / "docker-compose.yml").read_text()
        file = self.clone / "docker-compose.yml"
        file.write_text(good)
        if fault:
            self.build_image(f"{PROJECT}-base")
            faulty = FAULTY_BUILD.format(context=FAULTY, base=f"{PROJECT}-base:canary", fault=fault)
            assert f"{SLOT_BUILD}*build\n" in good
            file.write_text(good.replace(f"{SLOT_BUILD}*build\n", f"{SLOT_BUILD}{faulty}\n"))

    def build_image(self, name: str) -> None:
        """Build the tree's image under another name."""
        subprocess.run(
            ["docker", "compose", "--file", "docker-compose.yml", "build", "--quiet", "canary"],
            cwd=self.clone, env={**self.stack.environment, "MARQUEE_IMAGE": name}, check=True,
            timeout=300,
        )  # fmt: skip

    # -- release script ------------------------------------------------------------------------

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the script in the background."""
        with (self.clone / "release.log").open("a") as log:
            process = subprocess.Popen(
                ["scripts/canary_release.sh", *arguments], cwd=self.clone, env=self.environment,
                stdout=log, stderr=log, text=True,
            )  # fmt: skip
        self._processes.append(process)
        return process

    def end(self) -> None:
        """End what a test that failed has left: its processes and the release in progress."""
        for process in self._processes:
            process.kill()
            process.wait(10)
        self._processes.clear()
        if is_release(process_id := self.get_lock_holder(), self.clone):  # started by `deploy`
            os.kill(process_id, signal.SIGKILL)
        for command in ("abort", "resume"):  # a promotion can only be completed
            if self.state.get("phase", "completed") != "completed":
                self.wait_for_lock()
                self.run(command)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the script and wait for it."""
        done = subprocess.run(
            ["scripts/canary_release.sh", *arguments], cwd=self.clone, env=self.environment,
            capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False,
        )  # fmt: skip
        with (self.clone / "release.log").open("a") as log:
            log.write(done.stdout + done.stderr)
        return done

    def deploy(self) -> subprocess.CompletedProcess[str]:
        """Run `scripts/deploy.sh`, which returns when the release has started or is refused."""
        return subprocess.run(
            ["scripts/deploy.sh"], cwd=self.clone, env=self.environment, capture_output=True,
            text=True, timeout=DEPLOY_TIMEOUT_SECONDS, check=False,
        )  # fmt: skip

    @property
    def state(self) -> dict[str, Any]:
        """Content of the state file; empty before the first release."""
        file = self.clone / "data" / "release" / "state.json"
        state: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return state

    def wait_for_phase(self, phase: str, *, in_background: bool = False) -> None:
        """Wait until a release is in a phase.

        Args:
            phase: name of the phase.
            in_background: whether `deploy` has started the release or a timer resumes it. Otherwise
                the wait fails as soon as the processes have ended that the test has started.
        """
        deadline = time.monotonic() + TIMEOUT_SECONDS
        is_running = True
        while self.state.get("phase") != phase:
            assert is_running, f"ended before it was {phase}: {self.read_log()}"
            assert time.monotonic() < deadline, f"not {phase}: {self.read_log()}"
            is_running = in_background or any(p.poll() is None for p in self._processes)
            time.sleep(0.05)

    def get_lock_holder(self) -> int:
        """Return the process id of the script that has last taken the lock; 0: none so far."""
        directory = self.clone / "data" / "release"
        for name in ("lock_holder.json", "holder.json"):  # the second in version 0.2.0
            if (directory / name).exists():
                return int(json.loads((directory / name).read_text())["pid"])
        return 0

    def wait_for_lock(self) -> None:
        """Wait until the lock is free: commands that a killed script started may hold it."""
        with exclusive_lock(self.clone / "data" / "release" / "lock", timeout_seconds=-1):
            pass

    def read_log(self) -> str:
        """Return the end of the script's log, and of that of releases in the background."""
        files = (self.clone / "release.log", self.clone / "data" / "release" / "release.log")
        return "\n".join(file.read_text()[-3000:] for file in files if file.exists())

    def get_phase_at(self, time_seconds: float) -> str:
        """Return the phase of the last release at a Unix time; `before` it, or without one."""
        phase = "before"
        if not self.state:
            return phase
        file = self.clone / "data" / "release" / "history" / f"{self.state['id']}.jsonl"
        for line in file.read_text().splitlines():
            with suppress(ValueError):  # a line that a full disk has cut
                event = json.loads(line)
                if event["event"] == "phase_started" and event["time"] <= time_seconds:
                    phase = event["phase"]
        return phase

    # -- slots ---------------------------------------------------------------------------------

    def get_images(self) -> dict[str, str]:
        """Return the image id by slot, without slots that have no container."""
        containers = self.get_containers()
        return {
            slot: self.stack.inspect(slot)["Image"]
            for slot, container in containers.items()
            if container
        }

    def get_containers(self) -> dict[str, str]:
        """Return the container id by slot: it changes when the slot is recreated."""
        return {slot: self.stack.container(slot) for slot in SLOTS}

    def assert_up_changes_nothing(self) -> None:
        """Run `docker compose up -d`, which must not recreate a slot."""
        before = self.get_containers()
        self.stack.compose("up", "-d")
        assert self.get_containers() == before


class ReleaseTimer:
    """Runs `supervise` 15 seconds after it has ended, as marquee-release@.timer does."""

    def __init__(self, releases: Releases) -> None:
        self._releases = releases
        self._is_stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._is_stopped.wait(TIMER_SECONDS):
            self._releases.start("supervise").wait()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_stopped.set()
        self._thread.join(TIMEOUT_SECONDS)


@dataclass
class Notifications:
    """Mails (subjects and bodies) and Slack messages, each joined to one text."""

    mails: str
    slack: str


class NotificationReceivers:
    """A mail server and a Slack webhook on the loopback address."""

    def __init__(self) -> None:
        self._mailbox = Mailbox()
        self._mailbox.start()
        self._slack = HTTPServer(port=0)
        self._slack.expect_request("/hook").respond_with_data("ok")
        self._slack.start()

    @property
    def settings(self) -> dict[str, str]:
        """Settings with which the script sends to both."""
        return {
            "MARQUEE_SMTP_HOST": f"127.0.0.1:{self._mailbox.port}",
            "MARQUEE_SMTP_TLS": "false",
            "MARQUEE_MAIL_FROM": "marquee@example.org",
            "MARQUEE_MAIL_TO": "team@example.org",
            "MARQUEE_SLACK_WEBHOOK": self._slack.url_for("/hook"),
        }

    def read(self) -> Notifications:
        """Return what was received since the last call."""
        mails = [f"{mail['Subject']}\n{mail.get_content()}" for mail in self._mailbox.mails]
        posted = [request.get_json()["text"] for request, _ in self._slack.log]
        self._mailbox.mails.clear()
        self._slack.clear_log()
        return Notifications("\n".join(mails), "\n".join(posted))

    def close(self) -> None:
        """Stop both servers."""
        self._mailbox.stop()
        self._slack.stop()


def set_version(directory: Path, manifest: Manifest, version: int) -> None:
    """Change the version number of a model artifact."""
    changed = manifest.model_copy(update={"version": version})
    (directory / "manifest.json").write_bytes(changed.to_json())


def make_users_unknown(model: Path) -> None:
    """Change all user ids of a model, so that every request gets the fallback list."""
    shutil.rmtree(model / "factors")
    users = model / "lists" / "users.npy"
    np.save(users, np.load(users) + 10**12)
    old = read_manifest(model / "lists", "lists")
    metadata = ModelMetadata(old.version, old.parameters, old.metrics, old.data, old.code)
    write_manifest(model / "lists", "lists", users=old.users, movies=old.movies, metadata=metadata)


def corrupt_model(model: Path) -> None:
    """Change one byte of a model, without changing its size."""
    lists = model / "lists" / "lists.npy"
    content = bytearray(lists.read_bytes())
    content[-100] ^= 1
    lists.write_bytes(content)


def git(clone: Path, *arguments: str) -> str:
    """Run git in the clone, with an author; return its output."""
    author = ["-c", "user.name=Suite", "-c", "user.email=suite@localhost"]
    return subprocess.run(
        ["git", *author, *arguments], cwd=clone, check=True, capture_output=True, text=True
    ).stdout


def run_under_load(
    releases: Releases,
    during: Callable[[], object],
    on_response: Callable[[dict[str, Any]], object] | None = None,
    rate: int = REQUESTS_PER_SECOND,
    users: Sequence[int] = (),
) -> Result:
    """Run something while users request recommendations.

    Args:
        during: what to run; the load ends when it returns.
        on_response: called with each response, as vegeta's JSON.
        rate: requests per second.
        users: their ids; default: the users of the model.

    Returns:
        The result of the load, with the number of failed requests by phase of the release.
    """
    users = random.Random(8).choices(users or releases.users, k=5000)
    failed: list[float] = []

    def check_response(hit: dict[str, Any]) -> None:
        if hit["code"] != HTTPStatus.OK or hit["latency"] / 1e9 > CLIENT_TIMEOUT_SECONDS:
            failed.append(get_request_time(hit))
        if on_response:
            on_response(hit)

    result = attack(
        URL, users, rate, MAX_SECONDS, during, on_response=check_response, stop_early=True
    )
    for phase, count in Counter(map(releases.get_phase_at, failed)).items():
        result.failures[f"while {phase}"] = count
    return result


def roll_back_under_load(releases: Releases) -> Result:
    """Roll back while users request recommendations, and check what everybody gets afterwards."""
    before = releases.get_images()["stable-1"]

    def rollback() -> None:
        assert releases.run("rollback").returncode == 0, releases.read_log()

    result = run_under_load(releases, rollback)
    assert_available(result)
    images = set(releases.get_images().values())
    assert len(images) == 1
    assert before not in images
    assert "Rolled back to version" in releases.read_notifications().mails
    releases.assert_up_changes_nothing()
    return result


def get_request_time(hit: dict[str, Any]) -> float:
    """Return when a request was sent, as Unix time in seconds."""
    return datetime.fromisoformat(hit["timestamp"][:26].rstrip("Z") + "+00:00").timestamp()


def is_release(process_id: int, clone: Path) -> bool:
    """Return whether a process is the release script in a clone."""
    process = Path("/proc") / str(process_id)
    try:
        command, directory = (process / "cmdline").read_bytes(), (process / "cwd").readlink()
    except OSError:
        return False
    return b"canary_release" in command and directory == clone.resolve()


def kill(process: subprocess.Popen[str]) -> None:
    """Send SIGKILL to the script alone: commands that it started continue to run."""
    process.kill()
    process.wait(10)


def wait(process: subprocess.Popen[str]) -> int:
    """Wait for the script to end; return its exit status."""
    return process.wait(TIMEOUT_SECONDS)
