"""A small world for tests of retraining: a repository, its remotes, a store that grows, and mail.

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


def git(where: Path, *arguments: str) -> str:
    """Run git as a developer would; its output."""
    identity = ["-c", "user.name=Developer", "-c", "user.email=developer@localhost"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=where, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"git {arguments}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def make_origin(place: Path) -> Path:
    """A bare repository with this tree as its only commit."""
    tree, origin = place / "first", place / "origin.git"
    tree.mkdir(parents=True)
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout
    copy = ["xargs", "-0", "cp", "--parents", "--target-directory", str(tree)]
    subprocess.run(copy, cwd=ROOT, input=names, check=True)
    git(place, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    git(tree, "init", "--quiet", "--initial-branch=main")
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message", "Begin")
    git(tree, "push", "--quiet", str(origin), "main")
    return origin


@dataclass
class World:
    """A place where versions are made."""

    place: Path
    mail_port: int = 0
    webhook: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    day: int = 0

    @property
    def origin(self) -> Path:
        return self.place / "origin.git"

    @property
    def remote(self) -> Path:
        """Where DVC keeps what is pushed."""
        return self.place / "versions"

    @property
    def workspace(self) -> Path:
        return self.place / "workspace"

    @property
    def environment(self) -> dict[str, str]:
        """All that `marquee` is told here."""
        mail = {"SMTP_HOST": f"127.0.0.1:{self.mail_port}"} if self.mail_port else {}
        webhook = {"SLACK_WEBHOOK": self.webhook} if self.webhook else {}
        told = {
            "GIT_REMOTE": str(self.origin),
            "DVC_REMOTE": str(self.remote),
            "WORKSPACE_DIR": str(self.workspace),
            "STORE_DIR": str(self.place / "store"),
            "SPOOL_DIR": str(self.place / "spool"),
            "OUTBOX_DIR": str(self.place / "outbox"),
            "SERVICE_URLS": "",
            "SMTP_TLS": "false",
            "MAIL_FROM": "marquee@localhost",
            "MAIL_TO": "team@localhost",
            "LOG_FORMAT": "json",
            **mail,
            **webhook,
            **self.settings,
        }
        return {**os.environ, **{f"MARQUEE_{name}": value for name, value in told.items()}}

    def marquee(
        self, *arguments: object, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "app", *map(str, arguments)],
            cwd=cwd or ROOT, env={**self.environment, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip

    def retrain(self, *arguments: str) -> dict[str, Any]:
        """Run `marquee retrain`; its outcome."""
        done = self.marquee("retrain", "--json", *arguments)
        assert done.stdout, done.stderr
        outcome: dict[str, Any] = json.loads(done.stdout)
        good = outcome["status"] in ("published", "unchanged", "waiting", "idle")
        assert done.returncode == (0 if good else 1), done.stderr
        return outcome

    def collect(self, days: int, *, noise: bool = False, high: bool = False) -> None:
        """Let days pass, and collect what was said: with `noise` ratings that mean nothing, with
        `high` ones that are all high."""
        lines = self.place / "lines.log"
        lines.write_text("\n".join(stream_of(self.day, days, noise=noise, high=high)) + "\n")
        self.day += days
        done = self.marquee("collect", "--file", lines)
        assert done.returncode == 0, done.stderr

    def clone(self, name: str) -> Path:
        """Another clone of the repository."""
        git(self.place, "clone", "--quiet", str(self.origin), name)
        return self.place / name

    def subjects(self) -> list[str]:
        """The log of what is pushed, newest first."""
        return git(self.origin, "log", "--format=%s", "main").splitlines()

    def version(self) -> int:
        """The version that is pushed."""
        return int(git(self.origin, "show", "main:version.txt"))

    def state(self) -> dict[str, Any]:
        """How the last run ended."""
        found: dict[str, Any] = json.loads((self.workspace / "state.json").read_bytes())
        return found


def stream_of(first: int, days: int, *, noise: bool = False, high: bool = False) -> list[str]:
    """What the stream says in some days."""
    random = np.random.default_rng(first)
    tastes = np.random.default_rng(1)
    likes = tastes.standard_normal((USERS, 3)) @ tastes.standard_normal((3, MOVIES)) / 1.5
    bias = tastes.standard_normal(MOVIES) / 2
    # What everyone watches, one movie a day and none twice, what is liked sooner than the rest.
    order = np.argsort(-(likes + bias + tastes.gumbel(size=likes.shape)), axis=1)
    lines = []
    for day in range(first, first + days):
        for user in range(USERS):
            movie = int(order[user, day])
            moment = START + timedelta(days=day, seconds=int(random.integers(80_000)))
            rating = 3.2 + bias[movie] + likes[user, movie] / 2 + random.normal() / 3
            rating = random.integers(1, 6) if noise else 5 if high else rating
            path = f"the+movie+{movie}+{1950 + movie}"
            lines += [
                f"{(moment + timedelta(minutes=minute)).isoformat()},{user},"
                f"GET /data/m/{path}/{minute}.mpg"
                for minute in range(int(random.integers(1, 4)))
            ]
            lines.append(
                f"{(moment + timedelta(minutes=5)).isoformat()},{user},"
                f"GET /rate/{path}={int(np.clip(np.round(rating), 1, 5))}"
            )
    return lines
