"""The `docker` command."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.conftest import ROOT


def docker(
    *arguments: str,
    stdin: bytes | None = None,
    timeout_seconds: float = 300,
    include_errors: bool = False,
) -> str:
    """Run `docker`; return its standard output, or fail with its errors.

    Args:
        arguments: of the command.
        stdin: standard input.
        timeout_seconds: a generous limit.
        include_errors: append standard error to the output.
    """
    done = subprocess.run(
        ["docker", *arguments],
        input=stdin,
        capture_output=True,
        timeout=timeout_seconds,
        check=False,
    )
    output, errors = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 0, f"docker {arguments}: {done.returncode}\n{output}{errors}"
    return output + errors if include_errors else output


def missing_image(image: str) -> str | None:
    """Return why no container of this image can run here; None where it can."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    found = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False)
    return f"no Docker engine with {image} (make images)" if found.returncode else None


def restart_docker() -> None:
    """Restart the daemon by systemd, or else as scripts/install_system.sh starts it."""
    stop_docker()
    start_docker()


def stop_docker() -> None:
    """Stop the daemon, and with it all containers."""
    if _has_systemd():
        subprocess.run(["systemctl", "stop", "docker.socket", "docker"], check=True, timeout=120)
        return
    pid = int(Path("/var/run/docker.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "the Docker daemon does not stop"
        time.sleep(0.2)


def start_docker() -> None:
    """Start the daemon with its own settings."""
    if _has_systemd():
        subprocess.run(["systemctl", "start", "docker.socket", "docker"], check=True, timeout=120)
        return
    subprocess.run([ROOT / "scripts" / "install_system.sh", "docker"], check=True, timeout=180)


def _has_systemd() -> bool:
    return Path("/run/systemd/system").is_dir() and shutil.which("systemctl") is not None
