"""Stand-in images and their containers, which run with as few privileges as in the stack."""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from tests.conftest import ROOT
from tests.support.docker import docker

LABEL = "org.marquee.standin"
CONFINED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp")


def read_tags() -> dict[str, str]:
    """Return the tag of each stand-in by name."""
    lines = (ROOT / "tests" / "images" / "images.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


TAGS = read_tags()


def missing_requirement(name: str) -> str | None:
    """Return why a stand-in cannot be tested on this machine; None where it can."""
    if not shutil.which("docker"):
        return "there is no docker command: make images SYSTEM=1 installs it"
    if not _succeeds("docker", "info"):
        return "no Docker engine responds: make images SYSTEM=1 starts one"
    if not _succeeds("docker", "image", "inspect", TAGS[name]):
        return f"there is no image {TAGS[name]}: make images builds it"
    return None


def _succeeds(*command: str) -> bool:
    return not subprocess.run(command, capture_output=True, timeout=30, check=False).returncode


class Container:
    """A running container."""

    def __init__(self, name: str) -> None:
        self.name = name

    def execute(self, *command: str, stdin: bytes | None = None) -> str:
        """Run a command in the container; return its output, or fail with it."""
        return docker("exec", "-i", self.name, *command, stdin=stdin, include_errors=True)

    def logs(self) -> str:
        """Return what the container has logged."""
        return docker("logs", self.name, include_errors=True)

    def published_address(self, port: int) -> tuple[str, int]:
        """Return host and port at which a port of the container is published."""
        host, _, published = docker("port", self.name, str(port)).strip().rpartition(":")
        return host, int(published)

    def get(self, port: int, path: str, *, timeout_seconds: float = 30) -> str:
        """Retry an HTTP request until its status is 200; return the body."""
        host, published = self.published_address(port)
        request = urllib.request.Request(
            f"http://{host}:{published}{path}", headers={"Accept": "text/html, */*"}
        )
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                with urllib.request.urlopen(request, timeout=2) as response:
                    return str(response.read().decode())
            except (urllib.error.URLError, OSError) as error:
                if time.monotonic() > deadline or not self.is_running():
                    raise AssertionError(f"{path}: {error}\n{self.logs()}") from error
                time.sleep(0.2)

    def is_running(self) -> bool:
        """Return whether the container's process has not exited."""
        state = json.loads(docker("inspect", "--format", "{{json .State}}", self.name))
        return bool(state["Running"])

    def execute_until_success(self, *command: str, timeout_seconds: float = 60) -> str:
        """Retry a command in the container until it succeeds; return its output."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                return self.execute(*command)
            except AssertionError as error:
                if time.monotonic() > deadline or not self.is_running():
                    raise AssertionError(f"{error}\n{self.logs()}") from error
                time.sleep(0.3)


@contextmanager
def running(image: str, *options: str, command: tuple[str, ...] = ()) -> Iterator[Container]:
    """Start a confined container of a stand-in, and remove it at the end."""
    name = f"standin-test-{uuid4().hex[:8]}"
    docker("run", "--detach", "--name", name, *CONFINED, *options, TAGS[image], *command)
    try:
        yield Container(name)
    finally:
        docker("rm", "--force", "--volumes", name)


def run_once(image: str, *command: str, entrypoint: str = "") -> str:
    """Run one command in a confined container of a stand-in; return its output."""
    option = (f"--entrypoint={entrypoint}",) if entrypoint else ()
    return docker(
        "run", "--rm", *CONFINED, "--user=10001:10001", *option, TAGS[image], *command,
        include_errors=True,
    )  # fmt: skip
