"""Wall clocks of containers that can be stepped, by a library that is loaded first (`clock.c`)."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

SERVICES = ("collector", "recent", "shipper", "scheduler")
#: Where containers find the directory of `prepare`.
_MOUNT = "/clocks"
_LIBRARY = "clock.so"
_SOURCE = Path(__file__).with_name("clock.c")


def prepare(directory: Path) -> Path | None:
    """Create a directory with the library and a file for each service, which steps no clock yet.

    Returns:
        The directory; None without a C compiler on this host.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    clocks = directory / "clocks"
    clocks.mkdir()
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(clocks / _LIBRARY), str(_SOURCE)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    for service in SERVICES:
        (clocks / service).touch()
        step(clocks, service, 0)
    return clocks


def step(clocks: Path, service: str, seconds: int) -> None:
    """Step the clock of a service: from now on it differs by so many seconds from the true one."""
    with (clocks / service).open("r+") as file:  # never empty in between, which would be 0
        file.write(f"{seconds:+08}\n")


def get_environment(directory: str, service: str) -> dict[str, str]:
    """Return the environment of a process whose clock can be stepped.

    Args:
        directory: that of `prepare`, as the process sees it.
        service: name of the file with the step.
    """
    return {
        "LD_PRELOAD": f"{directory}/{_LIBRARY}",
        "CLOCK_OFFSET_FILE": f"{directory}/{service}",
    }


def describe_services(clocks: Path) -> dict[str, Any]:
    """Return what a compose file adds to the services so that their clocks can be stepped."""
    return {
        service: {
            "environment": get_environment(_MOUNT, service),
            "volumes": [f"{clocks}:{_MOUNT}:ro"],
        }
        for service in SERVICES
    }
