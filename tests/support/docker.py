"""The `docker` command."""

import shutil
import subprocess


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
