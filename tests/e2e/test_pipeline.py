"""The CI pipeline, run by gitlab-ci-local, deploys over SSH, and the release is promoted."""

import getpass
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.load import assert_available
from tests.support.releases import Releases, git, run_under_load
from tests.support.soak import soak_only
from tests.support.ssh_server import SshServer, running_ssh_server
from tests.support.waiting import eventually

RUNNER = ROOT / "build" / "gitlab-ci-local" / "node_modules" / ".bin" / "gitlab-ci-local"
DEPLOY = ("deploy", "--no-needs")
LOG = ROOT / "build" / "pipeline.log"
TIMEOUT_SECONDS = 3000


def find_missing_requirement() -> str | None:
    """Return why the pipeline cannot run here; install what is missing if SYSTEM=1."""
    if os.environ.get("SYSTEM") == "1":
        subprocess.run([ROOT / "scripts" / "install_system.sh", "ssh", "pipeline"], check=True)
    for command in ("rsync", "npm", "ssh", "ssh-keygen", "/usr/sbin/sshd"):
        if shutil.which(command) is None:
            return f"{command} is not installed (SYSTEM=1 installs it)"
    if not RUNNER.exists():
        directory = RUNNER.parents[2]
        directory.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["npm", "install", "--silent", "--no-fund", "--no-audit", f"--prefix={directory}",
             "gitlab-ci-local@4.68.1"], capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            return f"gitlab-ci-local cannot be installed: {done.stderr[-200:]}"
    return None


@pytest.fixture
def server(tmp_path: Path, releases: Releases) -> Iterator[SshServer]:
    if reason := find_missing_requirement():
        pytest.skip(reason)
    # The server's settings in .env and release.env: sshd passes no environment variables on.
    settings = {**releases.environment, "HOME": str(Path.home())}
    names = [n for n in settings if n.startswith(("RELEASE_", "MARQUEE_", "COMPOSE_"))]
    with (releases.clone / ".env").open("a") as file:
        file.writelines(f"{n}={settings[n]}\n" for n in names if not n.startswith("RELEASE_"))
    (releases.clone / "release.env").write_text(
        "".join(f"{n}={settings[n]}\n" for n in names if n.startswith("RELEASE_"))
    )
    # The line that docs/releasing.md names: the key can deploy, and nothing else.
    options = f'restrict,command="{releases.clone}/scripts/deploy_command.sh"'
    try:
        with running_ssh_server(tmp_path, options) as server:
            yield server
    finally:
        (releases.clone / "release.env").unlink()


def wait_for_pipeline(pipeline: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait for a pipeline to end; return its exit status and output."""
    status = pipeline.wait(TIMEOUT_SECONDS)
    return subprocess.CompletedProcess(pipeline.args, status, LOG.read_text())


@soak_only
@pytest.mark.timeout(TIMEOUT_SECONDS + 600)
@pytest.mark.skipif(os.geteuid() != 0, reason="starting an SSH server requires root")
def test_push_is_deployed_and_promoted(
    server: SshServer, releases: Releases, tmp_path: Path, record_measurement: Callable[[str], None]
) -> None:
    origin, developer = tmp_path / "origin.git", tmp_path / "developer"
    version = releases.commit_version()
    subprocess.run(["git", "clone", "--quiet", "--bare", releases.clone, origin], check=True)
    branch = git(origin, "symbolic-ref", "--short", "HEAD").strip()
    subprocess.run(["git", "clone", "--quiet", origin, developer], check=True)
    # The server's clone is one commit behind its upstream branch in origin.
    git(releases.clone, "reset", "--quiet", "--hard", "HEAD~1")
    git(releases.clone, "remote", "set-url", "origin", str(origin))
    git(releases.clone, "fetch", "--quiet")
    git(releases.clone, "branch", f"--set-upstream-to=origin/{branch}")

    rejected = wait_for_pipeline(
        start_pipeline(
            server, developer, releases.clone, known_hosts=server.wrong_known_hosts, jobs=DEPLOY
        )
    )
    assert rejected.returncode != 0
    assert "Host key verification failed" in rejected.stdout
    before = git(releases.clone, "rev-parse", "HEAD")
    start = time.monotonic()
    pipeline = start_pipeline(server, developer, releases.clone, jobs=())
    # The test jobs use both cores: start the load when the new commit is on the server.
    eventually(
        lambda: git(releases.clone, "rev-parse", "HEAD") != before or pipeline.poll() is not None,
        TIMEOUT_SECONDS, "the deployment",
    )  # fmt: skip
    seconds: list[float] = []

    def release() -> None:
        done = wait_for_pipeline(pipeline)
        seconds.append(time.monotonic() - start)
        assert done.returncode == 0, done.stdout[-5000:]
        assert "has started" in done.stdout
        assert releases.state["phase"] != "completed", "the job waited for the release"
        eventually(lambda: releases.state["phase"] == "completed", 200, "the end of the release")

    result = run_under_load(releases, release)
    record_measurement(
        f"pipeline until the release has started: {seconds[0]:.0f} s; release: {result}"
    )
    state = releases.state
    assert (state["outcome"], state["version"]) == ("promoted", str(version)), state
    assert set(releases.get_images().values()) == {state["candidate_image"]}
    assert_available(result)
    again = wait_for_pipeline(start_pipeline(server, developer, releases.clone, jobs=DEPLOY))
    assert again.returncode == 0
    assert "this version is already in service" in again.stdout
    assert releases.state == state


def start_pipeline(
    server: SshServer,
    developer: Path,
    clone: Path,
    *,
    jobs: Sequence[str],
    known_hosts: Path | None = None,
) -> subprocess.Popen[str]:
    """Start the pipeline as GitLab does, in the developer's clone.

    Args:
        clone: the server's clone.
        jobs: names of the jobs; all if empty.
        known_hosts: file with the accepted host key; default: the server's.
    """
    variables = {
        "DEPLOY_TARGET": f"{getpass.getuser()}@127.0.0.1",
        "DEPLOY_PORT": str(server.port),
        "DEPLOY_PATH": str(clone),
        "DEPLOY_KEY": str(server.key),
        "DEPLOY_KNOWN_HOSTS": str(known_hosts or server.known_hosts),
        "SYSTEM": "",
    }
    with LOG.open("w") as log:
        return subprocess.Popen(
            [RUNNER, *jobs, "--force-shell-executor", "--shell-isolation",
             *(f"--variable={n}={v}" for n, v in variables.items())],
            cwd=developer, stdout=log, stderr=subprocess.STDOUT, text=True,
            env={n: v for n, v in os.environ.items() if n != "MARQUEE_SOAK_SECONDS"},
        )  # fmt: skip
