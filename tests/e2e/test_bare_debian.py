"""First steps on Debian that has git and make only: `make ... SYSTEM=1` installs the rest."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.conftest import ROOT
from tests.support.docker import docker
from tests.support.images import TAGS, Container, missing_requirement
from tests.support.soak import soak_only
from tests.support.stack import is_successful
from tests.support.waiting import eventually

TEST_TIMEOUT_SECONDS = 3000
FETCH = (
    "import urllib.request as r;"
    "print(r.urlopen('http://127.0.0.1:8082/recommend/42', timeout=2).read().decode())"
)

pytestmark = pytest.mark.timeout(TEST_TIMEOUT_SECONDS + 600)


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """A container with git, make and a clone, which reaches package sources as image builds do."""
    if reason := missing_requirement("debian"):
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("debian")
    source = directory / "source.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", str(ROOT), str(source)], check=True)
    subprocess.run([ROOT / "tests" / "images" / "build_secrets.sh", directory], check=True)
    mounts = {
        directory / "apt.sources": "/etc/apt/sources.list.d/debian.sources",
        directory / "ca.crt": "/run/secrets/ca",
        directory / "clients": "/run/secrets/clients",
        source: "/source.git",
    }
    name = f"bare-debian-{uuid4().hex[:8]}"
    network = os.environ.get("BUILD_NETWORK", "default")
    docker(
        "run", "--detach", "--init", "--name", name, f"--network={network}",
        *(f"--volume={path}:{target}:ro" for path, target in mounts.items()),
        *(f"--env={n}" for n in ("http_proxy", "https_proxy", "no_proxy") if n in os.environ),
        TAGS["debian"], "sleep", "infinity",
    )  # fmt: skip
    try:
        run_in(name, "apt-get -qq update")
        run_in(name, "apt-get -qq install -y --no-install-recommends git make")
        run_in(name, "git -c safe.directory=/source.git clone --quiet /source.git /root/marquee")
        yield Container(name)
    finally:
        docker("rm", "--force", "--volumes", name)


def command_in(container: str, command: str) -> list[str]:
    """Return a `docker exec` command that runs a shell command in the clone, where there is one."""
    shell = f". /run/secrets/clients; cd /root/marquee 2>/dev/null; {command}"
    return ["docker", "exec", "--env=DEBIAN_FRONTEND=noninteractive", container, "sh", "-c", shell]


def run_in(container: str, command: str, timeout_seconds: float = 600) -> str:
    """Run a shell command in a container; return its output, or fail with it."""
    done = subprocess.run(
        command_in(container, command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=timeout_seconds, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


def test_make_run_responds_on_bare_debian(debian: Container, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as file:
        make = subprocess.Popen(
            command_in(debian.name, "exec make run SYSTEM=1"), stdout=file, stderr=file
        )
    fetch = ("docker", "exec", debian.name, "python3", "-c", FETCH)
    try:
        eventually(
            lambda: make.poll() is not None or is_successful(*fetch), 900, "a response",
            interval_seconds=1,
        )  # fmt: skip
        assert make.poll() is None, log.read_text()
        assert len(debian.execute("python3", "-c", FETCH).strip().split(",")) == 20
    finally:
        make.kill()
        make.wait()


@soak_only
def test_make_test_app_passes_on_bare_debian(debian: Container) -> None:
    output = run_in(debian.name, "make test-app SYSTEM=1", TEST_TIMEOUT_SECONDS)
    assert " passed" in output
