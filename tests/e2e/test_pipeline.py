"""The pipeline, run by gitlab-ci-local: its deployment, over an sshd, ends in a promotion."""

import getpass
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.integration.service.conftest import free_port
from tests.support.releases import Releases, git, soak_only, under_load
from tests.support.stack import eventually

RUNNER = ROOT / "build" / "gitlab-ci-local" / "node_modules" / ".bin" / "gitlab-ci-local"
#: `make soak` runs the test jobs too; they are `make test` once more.
WHOLE = "MARQUEE_SOAK_SECONDS" in os.environ
DEPLOY = ("deploy", "--no-needs")
LOG = ROOT / "build" / "pipeline.log"
LONGEST = 3000 if WHOLE else 200  # seconds


def why_not() -> str | None:
    if os.environ.get("SYSTEM") == "1":
        subprocess.run([ROOT / "scripts" / "install_system.sh", "pipeline"], check=True)
    for command in ("rsync", "npm", "ssh", "ssh-keygen", "/usr/sbin/sshd"):
        if shutil.which(command) is None:
            return f"there is no {command} (SYSTEM=1 installs it)"
    if not RUNNER.exists():
        place = RUNNER.parents[2]
        place.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["npm", "install", "--silent", "--no-fund", "--no-audit", f"--prefix={place}",
             "gitlab-ci-local@4.68.1"], capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            return f"gitlab-ci-local cannot be installed: {done.stderr[-200:]}"
    return None


@dataclass
class Server:
    """An sshd on loopback, and what a client needs to trust it."""

    port: int
    key: Path
    known_hosts: Path
    stranger: Path


@pytest.fixture
def server(tmp_path: Path, releases: Releases) -> Iterator[Server]:
    if reason := why_not():
        pytest.skip(reason)
    for name in ("host", "stranger", "key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True
        )
    port = free_port()
    known = f"[127.0.0.1]:{port} "
    (tmp_path / "known_hosts").write_text(known + (tmp_path / "host.pub").read_text())
    (tmp_path / "of_a_stranger").write_text(known + (tmp_path / "stranger.pub").read_text())
    # What a server has in release.env and .env; sshd hands nothing over.
    settings = {**releases.environment, "HOME": str(Path.home())}
    names = [n for n in settings if n.startswith(("RELEASE_", "MARQUEE_", "COMPOSE_"))]
    with (releases.clone / ".env").open("a") as file:
        file.writelines(f"{n}={settings[n]}\n" for n in names if not n.startswith("RELEASE_"))
    (releases.clone / "release.env").write_text(
        "".join(f"{n}={settings[n]}\n" for n in names if n.startswith("RELEASE_"))
    )
    configuration = tmp_path / "sshd_config"
    configuration.write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {tmp_path}/host\nPidFile none\n"
        f"AuthorizedKeysFile {tmp_path}/key.pub\nStrictModes no\nPasswordAuthentication no\n"
        f"SetEnv PATH={os.environ['PATH']}\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    with (tmp_path / "sshd.log").open("w") as log:
        process = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-e", "-f", configuration], stdout=log, stderr=log
        )
    try:
        yield Server(port, tmp_path / "key", tmp_path / "known_hosts", tmp_path / "of_a_stranger")
    finally:
        process.terminate()
        process.wait(10)
        (releases.clone / "release.env").unlink()


def ended(running: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """A pipeline that came to its end, with what it said."""
    status = running.wait(LONGEST)
    return subprocess.CompletedProcess(running.args, status, LOG.read_text())


@soak_only
@pytest.mark.timeout(LONGEST + 600)
@pytest.mark.skipif(os.geteuid() != 0, reason="an sshd of our own needs root")
def test_a_push_ends_in_a_promoted_release(
    server: Server, releases: Releases, tmp_path: Path, figures: Callable[[str], None]
) -> None:
    origin, desk = tmp_path / "origin.git", tmp_path / "desk"
    version = releases.new_version()
    subprocess.run(["git", "clone", "--quiet", "--bare", releases.clone, origin], check=True)
    branch = git(origin, "symbolic-ref", "--short", "HEAD").strip()
    subprocess.run(["git", "clone", "--quiet", origin, desk], check=True)
    # The server's clone is one commit behind, and follows the origin.
    git(releases.clone, "reset", "--quiet", "--hard", "HEAD~1")
    git(releases.clone, "remote", "set-url", "origin", str(origin))
    git(releases.clone, "fetch", "--quiet")
    git(releases.clone, "branch", f"--set-upstream-to=origin/{branch}")

    refused = ended(pipeline(server, desk, releases.clone, of=server.stranger, jobs=DEPLOY))
    assert refused.returncode != 0
    assert "Host key verification failed" in refused.stdout
    before = git(releases.clone, "rev-parse", "HEAD")
    start = time.monotonic()
    pushed = pipeline(server, desk, releases.clone, jobs=() if WHOLE else DEPLOY)
    # The test jobs take both cores: people come once the new commit is on the server.
    eventually(
        lambda: git(releases.clone, "rev-parse", "HEAD") != before or pushed.poll() is not None,
        LONGEST, "the deployment",
    )  # fmt: skip
    seconds: list[float] = []

    def release() -> None:
        done = ended(pushed)
        seconds.append(time.monotonic() - start)
        assert done.returncode == 0, done.stdout[-5000:]
        assert "has begun" in done.stdout
        assert releases.state["phase"] != "ended", "the job waited for the release"
        eventually(lambda: releases.state["phase"] == "ended", 200, "the end of the release")

    result = under_load(releases, release)
    figures(f"pipeline to begun release {seconds[0]:.0f} s; released from there: {result}")
    state = releases.state
    assert (state["outcome"], state["version"]) == ("promoted", str(version)), state
    assert set(releases.images().values()) == {state["candidate"]}
    assert result.failed == 0, result
    again = ended(pipeline(server, desk, releases.clone, jobs=DEPLOY))
    assert again.returncode == 0
    assert "this very version is in service" in again.stdout
    assert releases.state == state


def pipeline(
    server: Server, desk: Path, clone: Path, *, jobs: Sequence[str], of: Path | None = None
) -> subprocess.Popen[str]:
    """Start the pipeline, or some jobs of it, as GitLab would; with the host key `of` another."""
    variables = {
        "DEPLOY_TARGET": f"{getpass.getuser()}@127.0.0.1",
        "DEPLOY_PORT": str(server.port),
        "DEPLOY_PATH": str(clone),
        "DEPLOY_KEY": str(server.key),
        "DEPLOY_KNOWN_HOSTS": str(of or server.known_hosts),
        "SYSTEM": "",
    }
    with LOG.open("w") as log:
        return subprocess.Popen(
            [RUNNER, *jobs, "--force-shell-executor", "--shell-isolation",
             *(f"--variable={n}={v}" for n, v in variables.items())],
            cwd=desk, stdout=log, stderr=subprocess.STDOUT, text=True,
            env={n: v for n, v in os.environ.items() if n != "MARQUEE_SOAK_SECONDS"},
        )  # fmt: skip
