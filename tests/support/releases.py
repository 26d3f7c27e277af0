"""Releases in the suite: versions with and without faults, the script, and who is told."""

import fcntl
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_httpserver import HTTPServer

from app.model.artifact import ModelMetadata, write_manifest
from app.model.manifest import Manifest, read_manifest
from tests.conftest import ROOT
from tests.support.load import CLIENT_TIMEOUT_SECONDS, Result, attack
from tests.support.mailbox import Mailbox
from tests.support.stack import PROJECT, SLOTS, URL, Stack, docker

#: `make test` tries one release of each kind, `make soak` all of them.
soak_only = pytest.mark.skipif(
    "MARQUEE_SOAK_SECONDS" not in os.environ, reason="a further release of its kind: make soak"
)
FAULTY = ROOT / "tests" / "e2e" / "faulty"
OVERRIDE = """\
services:
  canary:
    build: !override
      context: {context}
      network: host
      args: {{BASE: {base}, FAULT: "{fault}"}}
"""
RATE = 100
#: Shortened, where it is the length alone that is shortened.
SETTINGS = {
    "RELEASE_ANALYSIS_WINDOW": "20s",
    "RELEASE_MIN_REQUESTS": "100",
    "RELEASE_SCRAPE_INTERVAL_SECONDS": "1",
    "RELEASE_GUARD_INTERVAL": "3s",
    "RELEASE_GUARD_WINDOW": "10s",
    "RELEASE_GUARD_MIN_REQUESTS": "1000000",
    "RELEASE_READINESS_TIMEOUT": "60s",
    "RELEASE_PROMOTION_DELAY": "2s",
    "RELEASE_PROMETHEUS_TIMEOUT": "3s",
    "RELEASE_MIN_FREE_DISK_MB": "500",
    "RELEASE_MARQUEE": str(Path(sys.executable).with_name("marquee")),
}


@dataclass
class Releases:
    """The release script in the stack's clone."""

    stack: Stack
    model: Path  # a good model of version 1
    receivers: "Receivers"
    settings: dict[str, str] = field(default_factory=dict)
    version: int = 1

    @property
    def clone(self) -> Path:
        return self.stack.clone

    @property
    def environment(self) -> dict[str, str]:
        """The stack's, and the release's settings."""
        return {
            **self.stack.environment,
            **SETTINGS,
            **self.receivers.settings,
            **self.settings,
        }

    @property
    def users(self) -> list[int]:
        """Users whom the model knows."""
        known: list[int] = np.load(self.model / "lists" / "users.npy").tolist()
        return known

    def told(self) -> "Told":
        """What people were told since it was last asked."""
        return self.receivers.read()

    # -- versions ------------------------------------------------------------------------------

    def new_version(self, fault: str = "", change: Callable[[Path], None] | None = None) -> int:
        """Commit a version of its own: the next number, its model, and perhaps a fault."""
        self.version += 1
        shutil.rmtree(self.clone / "model", ignore_errors=True)
        shutil.copytree(self.model, self.clone / "model")
        for kind in ("lists", "factors"):
            manifest = read_manifest(self.clone / "model" / kind, kind)
            write(self.clone / "model" / kind, manifest, self.version)
        if change:
            change(self.clone / "model")
        (self.clone / "version.txt").write_text(f"{self.version}\n")
        git(
            self.clone,
            "commit",
            "--quiet",
            "--all",
            "-m",
            f"Data and Model version update: [{self.version}]",
        )
        self.fault(fault)
        return self.version

    def fault(self, fault: str) -> None:
        """Have the build put a faulty layer on the good image of this tree; "" takes it away."""
        override = self.clone / "docker-compose.override.yml"
        override.unlink(missing_ok=True)
        if fault:
            self.compose_build(f"{PROJECT}-base")
            override.write_text(
                OVERRIDE.format(context=FAULTY, base=f"{PROJECT}-base:canary", fault=fault)
            )

    def compose_build(self, name: str) -> None:
        """Build the tree's image under another name."""
        subprocess.run(
            ["docker", "compose", "build", "--quiet", "canary"], cwd=self.clone, check=True,
            env={**self.stack.environment, "MARQUEE_IMAGE": name}, timeout=300,
        )  # fmt: skip

    # -- the script ----------------------------------------------------------------------------

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the script and return at once."""
        with (self.clone / "release.log").open("a") as log:
            return subprocess.Popen(
                ["scripts/canary_release.sh", *arguments], cwd=self.clone, env=self.environment,
                stdout=log, stderr=log, text=True,
            )  # fmt: skip

    def run(self, *arguments: str, seconds: float = 200) -> subprocess.CompletedProcess[str]:
        """Run the script to its end."""
        done = subprocess.run(
            ["scripts/canary_release.sh", *arguments], cwd=self.clone, env=self.environment,
            capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
        with (self.clone / "release.log").open("a") as log:
            log.write(done.stdout + done.stderr)
        return done

    @property
    def state(self) -> dict[str, Any]:
        """The state file; empty before the first release."""
        file = self.clone / "data" / "release" / "state.json"
        found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return found

    def until(self, phase: str, seconds: float = 90) -> None:
        """Wait until the release is in a phase."""
        deadline = time.monotonic() + seconds
        while self.state.get("phase") != phase:
            assert time.monotonic() < deadline, f"not within {seconds} s: {phase}: {self.log()}"
            time.sleep(0.05)

    def settled(self) -> None:
        """Wait until nothing that a killed script had begun works on any more."""
        with (self.clone / "data" / "release" / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)

    def log(self) -> str:
        """The last lines of what the script said."""
        file = self.clone / "release.log"
        return file.read_text()[-3000:] if file.exists() else ""

    def history(self) -> str:
        """Every evaluation of the last release."""
        return self.run("history", self.state["id"]).stdout

    def phase_at(self, when: float) -> str:
        """The phase of the last release at a moment."""
        file = self.clone / "data" / "release" / "history" / f"{self.state['id']}.jsonl"
        phase = "before"
        for event in map(json.loads, file.read_text().splitlines()):
            if event["event"] == "phase" and event["time"] <= when:
                phase = event["phase"]
        return phase

    # -- what stands in the slots ----------------------------------------------------------------

    def images(self) -> dict[str, str]:
        """Image by slot; a slot without a container is left out."""
        found = {slot: self.stack.container(slot) for slot in SLOTS}
        return {s: docker("inspect", "-f", "{{.Image}}", c).strip() for s, c in found.items() if c}

    def containers(self) -> dict[str, str]:
        """Container by slot: another one means that the slot was changed."""
        return {slot: self.stack.container(slot) for slot in SLOTS}

    def up_changes_nothing(self) -> None:
        """Plain `docker compose up -d`, which must change no slot."""
        before = self.containers()
        self.stack.compose("up", "-d")
        assert self.containers() == before


@dataclass
class Told:
    """Mails (subject and text) and messages to Slack."""

    mails: str
    slack: str


class Receivers:
    """A mail server and a Slack webhook on loopback."""

    def __init__(self) -> None:
        self._mailbox = Mailbox()
        self._mailbox.start()
        self._slack = HTTPServer(port=0)
        self._slack.expect_request("/hook").respond_with_data("ok")
        self._slack.start()

    @property
    def settings(self) -> dict[str, str]:
        """What the script needs to reach both."""
        return {
            "MARQUEE_SMTP_HOST": f"127.0.0.1:{self._mailbox.port}",
            "MARQUEE_SMTP_TLS": "false",
            "MARQUEE_MAIL_FROM": "marquee@example.org",
            "MARQUEE_MAIL_TO": "team@example.org",
            "MARQUEE_SLACK_WEBHOOK": self._slack.url_for("/hook"),
        }

    def read(self) -> Told:
        """Everything since the last reading."""
        mails = [f"{mail['Subject']}\n{mail.get_content()}" for mail in self._mailbox.mails]
        posted = [request.get_json()["text"] for request, _ in self._slack.log]
        self._mailbox.mails.clear()
        self._slack.clear_log()
        return Told("\n".join(mails), "\n".join(posted))

    def close(self) -> None:
        """Stop both."""
        self._mailbox.stop()
        self._slack.stop()


def write(directory: Path, manifest: Manifest, version: int) -> None:
    """Give an artifact another version number."""
    changed = manifest.model_copy(update={"version": version})
    (directory / "manifest.json").write_bytes(changed.to_json())


def of_strangers(model: Path) -> None:
    """Make a model know nobody who asks: every answer is popular."""
    shutil.rmtree(model / "factors")
    users = model / "lists" / "users.npy"
    np.save(users, np.load(users) + 10**12)
    old = read_manifest(model / "lists", "lists")
    metadata = ModelMetadata(old.version, old.parameters, old.metrics, old.data, old.code)
    write_manifest(model / "lists", "lists", users=old.users, movies=old.movies, metadata=metadata)


def damaged(model: Path) -> None:
    """Change one byte of a model, its size unchanged."""
    lists = model / "lists" / "lists.npy"
    content = bytearray(lists.read_bytes())
    content[-100] ^= 1
    lists.write_bytes(content)


def git(clone: Path, *arguments: str) -> str:
    """Run git in the clone as somebody."""
    who = ["-c", "user.name=Suite", "-c", "user.email=suite@localhost"]
    return subprocess.run(
        ["git", *who, *arguments], cwd=clone, check=True, capture_output=True, text=True
    ).stdout


def under_load(
    releases: Releases,
    during: Callable[[], object],
    each: Callable[[dict[str, Any]], object] | None = None,
    rate: int = RATE,
) -> Result:
    """Ask for users whom the sample knows while something happens; says when requests failed."""
    users = random.Random(8).choices(releases.users, k=5000)
    failed: list[float] = []

    def look(hit: dict[str, Any]) -> None:
        if hit["code"] != HTTPStatus.OK or hit["latency"] / 1e9 > CLIENT_TIMEOUT_SECONDS:
            failed.append(moment(hit))
        if each:
            each(hit)

    result = attack(URL, users, rate, seconds=280, during=during, on_response=look, stop_early=True)
    for phase, count in Counter(map(releases.phase_at, failed)).items():
        result.failures[f"while {phase}"] = count
    return result


def moment(hit: dict[str, Any]) -> float:
    """When a request was sent, in seconds since 1970."""
    return datetime.fromisoformat(hit["timestamp"][:26].rstrip("Z") + "+00:00").timestamp()


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL, to the script alone: what it had begun goes on without it."""
    process.kill()
    process.wait(10)


def wait(process: subprocess.Popen[str], seconds: float = 200) -> int:
    """Its exit status."""
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        assert time.monotonic() < deadline, "the release does not end"
        time.sleep(0.2)
    return int(process.returncode)
