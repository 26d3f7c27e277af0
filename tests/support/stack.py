"""The compose file, unchanged, as a project of its own beside whatever else runs here."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

PROJECT = "marquee-e2e"
URL = "http://127.0.0.1:8082"
PROMETHEUS = "http://127.0.0.1:9090"
SLOTS = ("stable-1", "stable-2", "canary")


@dataclass
class Stack:
    """A clone of the repository whose compose file is up (or is about to be)."""

    clone: Path

    @property
    def environment(self) -> dict[str, str]:
        """Its own names for images, and the certificates this machine's builds need."""
        bundle = os.environ.get("SSL_CERT_FILE", "")
        return {
            **os.environ,
            "COMPOSE_PROJECT_NAME": PROJECT,
            "MARQUEE_IMAGE": PROJECT,
            **({"MARQUEE_BUILD_CA": bundle} if bundle else {}),
        }

    def compose(self, *arguments: str, timeout: float = 600) -> str:
        """Run `docker compose` in the clone; its output, or an assertion with its errors."""
        done = subprocess.run(
            ["docker", "compose", *arguments],
            cwd=self.clone,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"docker compose {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def sql(self, statement: str) -> list[list[str]]:
        """Rows, through the database's own client."""
        output = self.compose(
            "exec", "-T", "mysql", "mariadb", "--user=mysql", "--socket=/run/mysqld/mysqld.sock",
            "--skip-column-names", "--database=marquee", f"--execute={statement}",
        )  # fmt: skip
        return [line.split("\t") for line in output.splitlines()]

    def services(self) -> dict[str, dict[str, Any]]:
        """Every container of the project by service, ended ones too."""
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        return {row["Service"]: row for row in map(json.loads, lines)}

    def container(self, service: str) -> str:
        """The id of a service's container."""
        return self.compose("ps", "--all", "--quiet", service).strip()

    def inspect(self, service: str) -> dict[str, Any]:
        """What Docker knows of a service's container."""
        found: list[dict[str, Any]] = json.loads(docker("inspect", self.container(service)))
        return found[0]

    def replace(self, service: str) -> None:
        """Recreate one container and wait until it is healthy, as a release does."""
        self.compose("up", "-d", "--no-deps", "--force-recreate", "--wait", service)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """An instant query: Prometheus' result vector."""
        answer = requests.get(
            f"{PROMETHEUS}/api/v1/query", params={"query": expression}, timeout=5
        ).json()
        assert answer["status"] == "success", answer
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result


def docker(*arguments: str) -> str:
    """Run `docker`; its output."""
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"docker {arguments}: {done.stderr}"
    return done.stdout


def eventually(check: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until something is true, no longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.5)
