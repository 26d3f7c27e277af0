"""In each of the project's own images every command works, or says what is missing.

`tests/unit/test_cli.py` checks the same without containers.
"""

import re
import subprocess

import pytest

from app.cli import COMMANDS
from tests.support.images import CONFINED
from tests.support.stack import PROJECT, find_missing_engine

#: Tag of each image that the stack of the tests builds, and commands that must work in it.
IMAGES = {
    "stable-1": {"serve", "recommend", "verify", "init", "trace"},
    "provenance": {"recommend", "verify", "trace", "ship", "migrate", "backup"},
    "deployment": set(COMMANDS),
}


@pytest.mark.parametrize("tag", IMAGES)
def test_every_command_works_in_an_image_or_says_what_is_missing(tag: str) -> None:
    if reason := find_missing_engine():
        pytest.skip(reason)
    image = f"{PROJECT}:{tag}"
    inspect = ["docker", "image", "inspect", image]
    inspected = subprocess.run(inspect, capture_output=True, check=False)
    if inspected.returncode:
        pytest.skip(f"there is no image {image}: the tests in tests/e2e build it")
    overview, *helps = run_helps(image)
    assert "Usage: marquee" in overview
    for name, output in zip(COMMANDS, helps, strict=True):
        assert f"Usage: marquee {name}" in output or re.match(
            rf"Error: [\w.]+ is not installed, and `{name}` needs it", output
        ), output
    working = {name for name, out in zip(COMMANDS, helps, strict=True) if "Usage: " in out}
    assert working >= IMAGES[tag]


def run_helps(image: str) -> list[str]:
    """Return the output of `marquee --help`, then of each command, in one container."""
    script = f"for c in '' {' '.join(COMMANDS)}; do marquee $c --help 2>&1; printf '\\0'; done"
    run = ("run", "--rm", *CONFINED, "--entrypoint=sh", image, "-c", script)
    done = subprocess.run(["docker", *run], capture_output=True, text=True, timeout=200, check=True)
    return done.stdout.removesuffix("\0").split("\0")
