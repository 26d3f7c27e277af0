"""Commands in code blocks of the README and the docs exist."""

import re
import subprocess

import click
import pytest

from app.cli import marquee
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = "\n".join(
    block
    for page in PAGES
    if page.name != "commands.md"  # generated
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
)
COMMANDS = [
    command.strip()
    for line in BLOCKS.replace("\\\n", " ").splitlines()
    for command in re.split(r"&&|\|", line.split(" #")[0])
]


@pytest.mark.parametrize(
    "target", sorted(set(re.findall(r"^make ([a-z-]+)", BLOCKS, re.MULTILINE)))
)
def test_every_make_target_exists(target: str) -> None:
    result = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("line", sorted({c for c in COMMANDS if c.startswith("marquee ")}))
def test_every_command_and_option_exists(line: str) -> None:
    name, *arguments = line.split()[1:]
    command = marquee.get_command(click.Context(marquee), name)
    assert command is not None, name
    if isinstance(command, click.Group):
        command = command.commands[arguments.pop(0)]
    options = {option for param in command.params for option in param.opts}
    assert not [a for a in arguments if a.startswith("--") and a.split("=")[0] not in options]
