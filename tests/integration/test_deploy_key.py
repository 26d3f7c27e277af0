"""What the deploy key can do, with a real sshd and a real clone; only deploy.sh is a stand-in."""

import getpass
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.ssh_server import SshServer, find_missing_program, running_ssh_server

DEPLOY = """#!/bin/bash
echo "$*" >>../deployed
"""


class Server:
    """A clone that is one commit behind its origin, and the server through which it is deployed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clone = directory / "a clone"
        self.developer = directory / "developer"
        self.ssh: SshServer
        scripts = self.developer / "scripts"
        scripts.mkdir(parents=True)
        for name in ("lib.sh", "deploy_command.sh"):
            (scripts / name).write_bytes((ROOT / "scripts" / name).read_bytes())
        (scripts / "deploy.sh").write_text(DEPLOY)
        for path in scripts.iterdir():
            path.chmod(0o755)
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit("first")
        origin = directory / "origin.git"
        subprocess.run(["git", "clone", "--quiet", "--bare", self.developer, origin], check=True)
        subprocess.run(["git", "clone", "--quiet", origin, self.clone], check=True)
        self.git("remote", "add", "origin", str(origin))
        self.newest = self.commit("second")
        self.git("push", "--quiet", "origin", "main")
        self.git("checkout", "--quiet", "-b", "other")
        self.other = self.commit("not reviewed")
        self.git("push", "--quiet", "origin", "other")

    def git(self, *arguments: str) -> str:
        command = ["git", "-c", "user.name=d", "-c", "user.email=d@d", *arguments]
        done = subprocess.run(
            command, cwd=self.developer, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self, message: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ssh", "-F", "none", "-i", self.ssh.key, "-p", str(self.ssh.port),
             "-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={self.ssh.known_hosts}", *arguments],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    @property
    def target(self) -> str:
        return f"{getpass.getuser()}@127.0.0.1"

    @property
    def deployed(self) -> list[str]:
        file = self.directory / "deployed"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if reason := find_missing_program():
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("deploy")
    server = Server(directory)
    command = f"'{server.clone}/scripts/deploy_command.sh'"
    (directory / "sshd").mkdir()
    with running_ssh_server(directory / "sshd", f'restrict,command="{command}"') as ssh:
        server.ssh = ssh
        yield server


@pytest.mark.parametrize("with_path", [True, False])
def test_the_key_deploys_a_commit_of_the_branch(server: Server, with_path: bool) -> None:
    settings = {
        "DEPLOY_KEY": str(server.ssh.key),
        "DEPLOY_KNOWN_HOSTS": str(server.ssh.known_hosts),
        "DEPLOY_TARGET": server.target,
        "DEPLOY_PORT": str(server.ssh.port),
        "DEPLOY_PATH": str(server.clone) if with_path else "",
        "CI_COMMIT_SHA": server.newest,
    }
    before = server.deployed
    done = subprocess.run(
        [ROOT / "scripts" / "deploy_over_ssh.sh"], env={**os.environ, **settings},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert server.deployed == [*before, server.newest]


@pytest.mark.parametrize(
    "command",
    [
        "", "id", "sh -c id", "deploy", "deploy HEAD", "deploy {short}", "deploy {newest}; id",
        "deploy {newest} && id", "deploy {newest}\nid", "deploy $(id)", "deploy --help",
        "deploy {newest} --scheduler", "cd / && scripts/deploy.sh {newest}", "scp -t /tmp",
        "git-upload-pack '/'",
    ],
)  # fmt: skip
def test_the_key_runs_nothing_else(server: Server, command: str) -> None:
    before = server.deployed
    text = command.format(newest=server.newest, short=server.newest[:10])
    done = server.run(server.target, text)
    assert done.returncode == 2, done.stderr
    assert "this key may only deploy a commit" in done.stderr
    assert "uid=" not in done.stdout
    assert server.deployed == before


def test_a_commit_that_is_not_of_the_branch_is_refused(server: Server) -> None:
    before = server.deployed
    for commit in (server.other, "0" * 40):
        done = server.run(server.target, f"deploy {commit}")
        assert done.returncode == 1
        assert f"{commit} is not a commit of origin/main; nothing was changed" in done.stderr
    assert server.deployed == before


def test_the_key_opens_no_terminal_and_no_port(server: Server) -> None:
    terminal = server.run("-tt", server.target, "id")
    assert "PTY allocation request failed" in terminal.stderr
    forwarded = server.run("-W", "127.0.0.1:1", server.target)
    assert "administratively prohibited" in forwarded.stderr
