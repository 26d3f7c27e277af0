"""Containers for the tests of the stand-ins, each started with as little as the stack gives it."""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

HERE = Path(__file__).parent
CONFINED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp")


def images() -> dict[str, str]:
    """The stand-ins' names and tags."""
    lines = (HERE / "images.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def docker(*arguments: str, given: bytes | None = None) -> str:
    """What a docker command says on both outputs; an error with these words when it fails."""
    command = ["docker", *arguments]
    done = subprocess.run(command, input=given, capture_output=True, timeout=120, check=False)
    said = (done.stdout + done.stderr).decode()
    if done.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{said}")
    return said


def why_no_engine() -> str | None:
    """The reason why no container can be started here, if there is one."""
    if not shutil.which("docker"):
        return "no docker command: make images SYSTEM=1 installs it"
    command = ["docker", "info", "--format", "{{.ServerVersion}}"]
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    if done.returncode:
        return "no Docker engine answers: make images SYSTEM=1 starts one"
    return None


def why_not(name: str) -> str | None:
    """The reason why this stand-in cannot be tested here, if there is one."""
    if no_engine := why_no_engine():
        return no_engine
    command = ["docker", "image", "inspect", images()[name]]
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    return f"no image {images()[name]}: make images builds it" if done.returncode else None


class Container:
    """A running container."""

    def __init__(self, name: str) -> None:
        self.name = name

    def execute(self, *command: str, given: bytes | None = None) -> str:
        return docker("exec", "-i", self.name, *command, given=given)

    def logs(self) -> str:
        return docker("logs", self.name)

    def address(self, port: int) -> tuple[str, int]:
        """Where a port of the container is published on this machine."""
        host, _, published = docker("port", self.name, str(port)).strip().rpartition(":")
        return host, int(published)

    def get(self, port: int, path: str, *, patience: float = 30) -> str:
        """The body of a page, as soon as it answers 200."""
        host, published = self.address(port)
        asked = urllib.request.Request(
            f"http://{host}:{published}{path}", headers={"Accept": "text/html, */*"}
        )
        deadline = time.monotonic() + patience
        while True:
            try:
                with urllib.request.urlopen(asked, timeout=2) as page:
                    return str(page.read().decode())
            except (urllib.error.URLError, OSError) as error:
                if time.monotonic() > deadline or not self.runs():
                    raise AssertionError(f"{path}: {error}\n{self.logs()}") from error
                time.sleep(0.2)

    def runs(self) -> bool:
        state = json.loads(docker("inspect", "--format", "{{json .State}}", self.name))
        return bool(state["Running"])

    def wait_for(self, *command: str, patience: float = 60) -> str:
        """What a command in the container says, as soon as it succeeds."""
        deadline = time.monotonic() + patience
        while True:
            try:
                return self.execute(*command)
            except AssertionError as error:
                if time.monotonic() > deadline or not self.runs():
                    raise AssertionError(f"{error}\n{self.logs()}") from error
                time.sleep(0.3)


@contextmanager
def running(standin: str, *options: str, command: tuple[str, ...] = ()) -> Iterator[Container]:
    """A container of this stand-in, confined like the stack's."""
    name = f"standin-test-{uuid4().hex[:8]}"
    docker("run", "--detach", "--name", name, *CONFINED, *options, images()[standin], *command)
    try:
        yield Container(name)
    finally:
        docker("rm", "--force", "--volumes", name)


def once(standin: str, *command: str, entrypoint: str = "") -> str:
    """What one command in a container of this stand-in says."""
    other = (f"--entrypoint={entrypoint}",) if entrypoint else ()
    return docker(
        "run", "--rm", *CONFINED, "--user=10001:10001", *other, images()[standin], *command
    )
