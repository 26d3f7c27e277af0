"""The versions are copied to another host as docs/retraining.md describes, lost, and restored."""

import getpass
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.ssh_server import find_missing_program, running_ssh_server

SOURCE = "/srv/marquee/versions/"


def read_command() -> str:
    """The command in the documentation."""
    page = (ROOT / "docs" / "retraining.md").read_text()
    found = re.search(r"^rsync (?:.*\\\n)*.*$", page, re.MULTILINE)
    assert found is not None
    return found[0]


def read_key_options() -> str:
    page = (ROOT / "docs" / "retraining.md").read_text()
    found = re.search(r'^(restrict,command="rrsync .*?") ', page, re.MULTILINE)
    assert found is not None
    return found[1]


def dvc(directory: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "dvc", "--quiet", *arguments]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def make_version(directory: Path, remote: Path) -> bytes:
    """Push a file to the remote of a new repository of DVC; return its content."""
    directory.mkdir()
    dvc(directory, "init", "--no-scm")
    dvc(directory, "remote", "add", "--default", "storage", str(remote))
    (directory / "model").write_bytes(content := os.urandom(100_000))
    dvc(directory, "add", "model")
    dvc(directory, "push")
    return content


@pytest.mark.slow
def test_versions_are_restored_from_the_copy_on_another_host(tmp_path: Path) -> None:
    reason = find_missing_program() or next(
        (f"{name} is not installed" for name in ("rsync", "rrsync") if not shutil.which(name)), None
    )
    if reason:
        pytest.skip(reason)
    remote, elsewhere, clone = tmp_path / "remote", tmp_path / "elsewhere", tmp_path / "clone"
    elsewhere.mkdir()
    content = make_version(clone, remote)
    options = read_key_options().replace("/srv/versions", str(elsewhere))
    (tmp_path / "sshd").mkdir()
    with running_ssh_server(tmp_path / "sshd", options) as server:
        environment = {
            **os.environ,
            "KEY": str(server.key),
            "KNOWN_HOSTS": str(server.known_hosts),
            "TARGET": f"{getpass.getuser()}@127.0.0.1",
            "RSYNC_RSH": "",
        }
        command = read_command().replace(SOURCE, f"{remote}/")
        command = command.replace("ssh -i", f"ssh -F none -p {server.port} -i")
        for _ in range(2):  # a copy of what is there already
            subprocess.run(["bash", "-ec", command], env=environment, check=True)
        wrong = {**environment, "KNOWN_HOSTS": str(server.wrong_known_hosts)}
        assert subprocess.run(["bash", "-ec", command], env=wrong, check=False).returncode != 0
        # The key of the copy gives nothing back.
        reverse = command.replace(f'{remote}/ "$TARGET:"', f'"$TARGET:" {tmp_path}/stolen')
        assert reverse != command
        assert subprocess.run(["bash", "-ec", reverse], env=environment, check=False).returncode
        assert not (tmp_path / "stolen" / "files").exists()
    shutil.rmtree(remote)
    shutil.rmtree(clone / ".dvc" / "cache")
    (clone / "model").unlink()
    shutil.copytree(elsewhere, remote)
    dvc(clone, "pull")
    assert (clone / "model").read_bytes() == content
