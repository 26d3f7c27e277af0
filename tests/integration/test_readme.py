"""What the README says is so."""

import re
import subprocess

import click
import pytest

from app.cli import marquee
from tests.conftest import ROOT

BLOCKS = "\n".join(re.findall(r"```\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL))
LINES = [line.split(" #")[0].strip() for line in BLOCKS.replace("\\\n", " ").splitlines()]


@pytest.mark.parametrize("target", sorted(set(re.findall(r"make ([a-z]+)", BLOCKS))))
def test_every_make_target_exists(target: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "line",
    [
        part.strip()
        for line in LINES
        for part in line.split("&&")
        if part.strip().startswith("marq")
    ],
)
def test_every_command_parses(line: str) -> None:
    name, *arguments = line.split()[1:]
    context = click.Context(marquee)
    command = marquee.get_command(context, name)
    assert command is not None, name
    options = {option for param in command.params for option in param.opts}
    assert not [a for a in arguments if a.startswith("--") and a not in options]
