"""A real SSH server on the loopback address."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.service import free_port
from tests.support.waiting import eventually

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"


@dataclass
class SshServer:
    """An SSH server on the loopback address.

    Attributes:
        key: private key of the client.
        known_hosts: file with the server's host key.
        wrong_known_hosts: file with another host key for the same address.
    """

    port: int
    key: Path
    known_hosts: Path
    wrong_known_hosts: Path


def find_missing_program() -> str | None:
    """Return why no server can be started here, or None."""
    if os.geteuid() != 0:
        return "starting an SSH server requires root"
    for command in ("ssh", "ssh-keygen", "sshd"):
        if shutil.which(command, path=_PATH) is None:
            return f"{command} is not installed (SYSTEM=1 installs it)"
    return None


@contextmanager
def running_ssh_server(directory: Path, key_options: str) -> Iterator[SshServer]:
    """Run a server that accepts one key until the block ends.

    Args:
        directory: for its files.
        key_options: what stands before the key in `authorized_keys`.
    """
    for name in ("host", "other_host", "key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True
        )
    port = free_port()
    known_hosts, wrong_known_hosts = directory / "known_hosts", directory / "wrong_known_hosts"
    known_hosts.write_text(f"[127.0.0.1]:{port} {(directory / 'host.pub').read_text()}")
    wrong_known_hosts.write_text(f"[127.0.0.1]:{port} {(directory / 'other_host.pub').read_text()}")
    public_key = (directory / "key.pub").read_text()
    (directory / "authorized_keys").write_text(f"{key_options} {public_key}".lstrip())
    configuration = directory / "sshd_config"
    configuration.write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {directory}/host\nPidFile none\n"
        f"AuthorizedKeysFile {directory}/authorized_keys\nStrictModes no\n"
        "PasswordAuthentication no\nSubsystem sftp internal-sftp\n"
        f"SetEnv PATH={os.environ['PATH']}\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    log = directory / "sshd.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [str(shutil.which("sshd", path=_PATH)), "-D", "-e", "-f", configuration],
            stdout=file, stderr=file,
        )  # fmt: skip
    try:
        eventually(lambda: "Server listening" in log.read_text(), 60, log.read_text)
        yield SshServer(port, directory / "key", known_hosts, wrong_known_hosts)
    finally:
        process.terminate()
        process.wait(10)
