"""The `docker` command."""

import shutil
import subprocess


def docker(*arguments: str, timeout_seconds: float = 300) -> str:
    """Run `docker`; return its output, or fail with its errors."""
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=timeout_seconds, check=False
    )
    assert done.returncode == 0, f"docker {arguments}: {done.stderr}"
    return done.stdout


def missing_image(image: str) -> str | None:
    """Return why no container of this image can run here; None where it can."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    found = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False)
    return f"no Docker engine with {image} (make images)" if found.returncode else None
