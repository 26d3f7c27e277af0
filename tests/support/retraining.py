"""An environment for tests of retraining: a repository, its remotes, a growing store, and mail.

Everything is real: git with a bare repository, DVC with a directory, a mail server.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from tests.conftest import ROOT

START = datetime(2022, 11, 1)
USERS, MOVIES = 160, 90


def git(directory: Path, *arguments: str) -> str:
    """Run git as a developer would; return its output."""
    identity = ["-c", "user.name=Developer", "-c", "user.email=developer@localhost"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=directory, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"git {arguments}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def create_origin(directory: Path) -> Path:
    """Create a bare repository whose only commit is this source tree, at version 1."""
    tree, origin = directory / "first", directory / "origin.git"
    tree.mkdir(parents=True)
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout
    copy = ["xargs", "-0", "cp", "--parents", "--target-directory", str(tree)]
    subprocess.run(copy, cwd=ROOT, input=names, check=True)
    # The pipeline also tests commits of later versions.
    (tree / "version.txt").write_text("1\n")
    (tree / "dvc.lock").unlink(missing_ok=True)
    git(directory, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    git(tree, "init", "--quiet", "--initial-branch=main")
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message", "Begin")
    git(tree, "push", "--quiet", str(origin), "main")
    return origin


@dataclass
class RetrainingEnvironment:
    """A directory in which `marquee retrain` runs.

    Attributes:
        directory: where everything is.
        smtp_port: port of the mail server; 0: no mail.
        webhook: URL of the Slack webhook; empty: none.
        settings: further settings, without their prefix.
        day: the first day that is not collected yet.
    """

    directory: Path
    smtp_port: int = 0
    webhook: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    day: int = 0

    @property
    def origin(self) -> Path:
        """The bare repository."""
        return self.directory / "origin.git"

    @property
    def dvc_remote(self) -> Path:
        return self.directory / "versions"

    @property
    def workspace(self) -> Path:
        return self.directory / "workspace"

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables of `marquee`."""
        mail = {"SMTP_HOST": f"127.0.0.1:{self.smtp_port}"} if self.smtp_port else {}
        webhook = {"SLACK_WEBHOOK": self.webhook} if self.webhook else {}
        settings = {
            "GIT_REMOTE": str(self.origin),
            "DVC_REMOTE": str(self.dvc_remote),
            "WORKSPACE_DIR": str(self.workspace),
            "STORE_DIR": str(self.directory / "store"),
            "SPOOL_DIR": str(self.directory / "spool"),
            "OUTBOX_DIR": str(self.directory / "outbox"),
            "SERVICE_URLS": "",
            "SMTP_TLS": "false",
            "MAIL_FROM": "marquee@localhost",
            "MAIL_TO": "team@localhost",
            "LOG_FORMAT": "json",
            **mail,
            **webhook,
            **self.settings,
        }
        prefixed = {f"MARQUEE_{name}": value for name, value in settings.items()}
        return {**os.environ, **prefixed, "PYTHONPATH": str(ROOT)}

    def run_marquee(
        self, *arguments: object, timeout_seconds: float | None = 280
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "app", *map(str, arguments)],
            cwd=ROOT, env=self.variables, capture_output=True, text=True, timeout=timeout_seconds,
            check=False,
        )  # fmt: skip

    def retrain(self, *arguments: str) -> dict[str, Any]:
        """Run `marquee retrain` and return its result."""
        done = self.run_marquee("retrain", "--json", *arguments)
        assert done.stdout, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        successful = result["status"] in ("published", "unchanged", "no_data", "disabled")
        assert done.returncode == (0 if successful else 1), done.stderr
        return result

    def collect(self, days: int, *, noise: bool = False, high: bool = False) -> None:
        """Collect the log of some days.

        Args:
            days: number of days.
            noise: ratings are random.
            high: all ratings are 5.
        """
        log = self.directory / "lines.log"
        log.write_text("\n".join(create_log(self.day, days, noise=noise, high=high)) + "\n")
        self.day += days
        done = self.run_marquee("collect", "--file", log)
        assert done.returncode == 0, done.stderr

    def clear_store(self) -> None:
        """Forget what was collected."""
        (self.directory / "store" / "manifest.json").unlink()
        self.day = 0

    def clone(self, name: str) -> Path:
        """Clone the repository."""
        git(self.directory, "clone", "--quiet", str(self.origin), name)
        return self.directory / name

    def subjects(self) -> list[str]:
        """Subjects of the pushed commits, newest first."""
        return git(self.origin, "log", "--format=%s", "main").splitlines()

    def version(self) -> int:
        """The version that is pushed."""
        return int(git(self.origin, "show", "main:version.txt"))

    def tagged_versions(self) -> list[int]:
        """Numbers of the pushed tags."""
        tags = git(self.origin, "tag", "--list", "--sort=version:refname").split()
        return [int(tag.removeprefix("version-")) for tag in tags]


def create_log(first_day: int, days: int, *, noise: bool = False, high: bool = False) -> list[str]:
    """Create the log lines of some days; see `RetrainingEnvironment.collect`."""
    rng = np.random.default_rng(first_day)
    tastes = np.random.default_rng(1)
    likes = tastes.standard_normal((USERS, 3)) @ tastes.standard_normal((3, MOVIES)) / 1.5
    bias = tastes.standard_normal(MOVIES) / 2
    # Each user watches one movie a day and none twice, preferred movies sooner than others.
    order = np.argsort(-(likes + bias + tastes.gumbel(size=likes.shape)), axis=1)
    lines = []
    for day in range(first_day, first_day + days):
        for user in range(USERS):
            movie = int(order[user, day])
            time = START + timedelta(days=day, seconds=int(rng.integers(80_000)))
            rating = 3.2 + bias[movie] + likes[user, movie] / 2 + rng.normal() / 3
            rating = rng.integers(1, 6) if noise else 5 if high else rating
            path = f"the+movie+{movie}+{1950 + movie}"
            lines += [
                f"{(time + timedelta(minutes=minute)).isoformat()},{user},"
                f"GET /data/m/{path}/{minute}.mpg"
                for minute in range(int(rng.integers(1, 4)))
            ]
            lines.append(
                f"{(time + timedelta(minutes=5)).isoformat()},{user},"
                f"GET /rate/{path}={int(np.clip(np.round(rating), 1, 5))}"
            )
    return lines
