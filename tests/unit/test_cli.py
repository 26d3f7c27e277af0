"""Each command works, or says what is missing, with the packages of each image.

`tests/e2e/test_image_commands.py` runs the commands in the images themselves.
"""

import json
import re
import subprocess
import sys
from typing import NamedTuple

import pytest

from app.cli import COMMANDS
from tests.conftest import ROOT

#: Runs commands in a process that can import the given packages of `app`, and distributions, only.
RUN_COMMANDS = """
import contextlib, importlib.abc, importlib.metadata, io, json, re, sys

image = json.load(sys.stdin)
normalize = lambda name: re.sub("[-_.]+", "-", name).lower()
distributions = {
    module: {normalize(name) for name in names}
    for module, names in importlib.metadata.packages_distributions().items()
}

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        package, _, rest = name.partition(".")
        part = rest.partition(".")[0]
        is_missing = (
            part in image["all_packages"] and part not in image["packages"]
            if package == "app"
            else package in distributions
            and not distributions[package] & {*image["distributions"], "marquee"}
        )
        if is_missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
from app.cli import main

for command in image["commands"]:
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            main(command)
        except SystemExit as exit:
            status = exit.code
    print(json.dumps([status, output.getvalue()]))
"""


class Outcome(NamedTuple):
    status: int
    output: str


def run_in_image(image: str, *commands: list[str]) -> list[Outcome]:
    """Run commands with the packages that the Dockerfile copies into an image."""
    dockerfile = (ROOT / "app" / "Dockerfile").read_text()
    stage = dockerfile.partition(f" AS {image}-venv\n")[2].partition("\nFROM ")[0]
    assert stage, image
    requirements = (ROOT / "requirements" / f"{image}.txt").read_text()
    everything = [path.name for path in (ROOT / "app").iterdir() if path.is_dir()]
    packages = re.findall(r"^COPY app/(\w+) ", stage, re.MULTILINE)
    content = {
        "all_packages": everything,
        "packages": everything if "COPY app app\n" in stage else packages,
        "distributions": re.findall(r"^([a-z0-9-]+)==", requirements, re.MULTILINE),
        "commands": commands,
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN_COMMANDS],
        input=json.dumps(content), capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [Outcome(*json.loads(line)) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("image", ["service", "provenance", "deployment"])
def test_every_command_has_a_help_or_says_what_is_missing(image: str) -> None:
    commands = [["--help"], *([name, "--help"] for name in COMMANDS)]
    overview, *helps = run_in_image(image, *commands)
    assert overview.status == 0, overview.output
    for name, result in zip(COMMANDS, helps, strict=True):
        if result.status == 0:
            assert f"Usage: marquee {name}" in result.output
        else:
            assert re.fullmatch(
                rf"Error: [\w.]+ is not installed, and `{name}` needs it: run the command in the "
                r"image `\w+`, or install requirements/\w+\.txt\n", result.output
            ), result.output  # fmt: skip
            assert result.status == 1
            assert re.search(rf"^ +{name} +\(not here: app\.", overview.output, re.MULTILINE)
    working = {name for name, done in zip(COMMANDS, helps, strict=True) if done.status == 0}
    expected = {
        "service": {"serve", "recommend", "verify", "init", "trace", "ship", "migrate"},
        "provenance": {"recommend", "verify", "trace", "ship", "migrate", "backup"},
        "deployment": set(COMMANDS),
    }
    assert working >= expected[image]


def test_a_command_whose_library_is_missing_names_image_and_requirements() -> None:
    trace, train = run_in_image("service", ["trace", "--user", "1"], ["train", "--out", "model"])
    assert trace == Outcome(
        1, "Error: sqlalchemy is not installed, and `trace` needs it: run the command in the image "
        "`provenance`, or install requirements/provenance.txt\n"
    )  # fmt: skip
    assert "app.training is not installed" in train.output
    assert "requirements/training.txt" in train.output
    (data,) = run_in_image("provenance", ["data", "stats"])
    assert data.status == 1
    assert re.match(r"Error: \w+ is not installed, and `data` needs it", data.output)


@pytest.mark.parametrize(
    "command, stream",
    [
        ("recommend --users-file -", "input"),
        ("analyze --samples -", "input"),
        ("notify --subject s --body-file -", "input"),
        ("restore-backup -", "input"),
        ("backup -", "output"),
    ],
)
def test_a_closed_standard_stream_is_wrong_usage(command: str, stream: str) -> None:
    redirection = {"input": "<&-", "output": ">&-"}[stream]
    done = subprocess.run(
        ["bash", "-c", f'"$0" -m app {command} {redirection}', sys.executable],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.endswith(f": standard {stream} is closed\n"), done.stderr
