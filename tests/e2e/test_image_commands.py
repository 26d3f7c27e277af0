"""In each of the project's own images every command works, or says what is missing.

`tests/unit/test_cli.py` checks the same without containers.
"""

import re

import pytest

from app.cli import COMMANDS
from tests.support.docker import docker
from tests.support.stack import PROJECT, Stack

#: Tag of each image of the stack, and commands that must work in it.
IMAGES = {
    "stable-1": {"serve", "recommend", "verify", "init"},
    "provenance": {"recommend", "verify", "trace", "ship", "migrate", "backup"},
    "deployment": set(COMMANDS),
}
SEPARATOR = "@@@"
RUN_HELPS = f"""
import os
from app.cli import COMMANDS, main
for name in COMMANDS:
    if child := os.fork():
        os.waitpid(child, 0)
        print(end="{SEPARATOR}", flush=True)
    else:
        main([name, "--help"])
"""

#: Prints the loaded modules that Python compiles at every start.
FIND_UNCOMPILED = """
import os, sys
import app.cli, urllib.request
for name, module in sys.modules.items():
    spec = getattr(module, "__spec__", None)
    if spec and str(spec.origin).endswith(".py") and not os.path.exists(spec.cached or ""):
        print(name)
"""


@pytest.mark.parametrize("tag", IMAGES)
def test_every_command_works_in_an_image_or_says_what_is_missing(stack: Stack, tag: str) -> None:
    overview, *helps = run_helps(f"{PROJECT}:{tag}")
    assert "Usage: marquee" in overview
    for name, output in zip(COMMANDS, helps, strict=True):
        assert f"Usage: marquee {name}" in output or re.match(
            rf"Error: [\w.]+ is not installed, and `{name}` needs it", output
        ), output
    working = {name for name, out in zip(COMMANDS, helps, strict=True) if "Usage: " in out}
    assert working >= IMAGES[tag]


@pytest.mark.parametrize("tag", IMAGES)
def test_no_module_is_compiled_at_the_start(stack: Stack, tag: str) -> None:
    """The root file system is read-only, and python:slim has no bytecode of its library."""
    image = f"{PROJECT}:{tag}"
    assert docker("run", "--rm", "--entrypoint=python", image, "-c", FIND_UNCOMPILED) == ""


def run_helps(image: str, *options: str) -> list[str]:
    """Return the output of `marquee --help`, then of each command, in one container."""
    # One process for all: to start Python and import the command line takes longer than a command.
    script = f"marquee --help 2>&1; printf {SEPARATOR}; python -c '{RUN_HELPS}' 2>&1"
    confined = ("--read-only", "--cap-drop=ALL", "--tmpfs=/tmp", "--network=none")
    output = docker("run", "--rm", *confined, *options, "--entrypoint=sh", image, "-c", script)
    return output.removesuffix(SEPARATOR).split(SEPARATOR)
