"""Each command line of the README and of the pages under Start is run by a test.

The lines that need no container are run here as they stand in the pages; the others are named with
the test that runs them.
"""

import os
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

from ruamel.yaml import YAML

from tests.conftest import ROOT
from tests.support.params import write_params
from tests.support.service import serving
from tests.support.soak import soak_only

#: Lines that others run: the test file, and what stands in it.
ELSEWHERE = {
    "make run": ("tests/integration/test_fresh_clone.py", '["make", "run"]'),
    "docker compose up -d": ("tests/e2e/conftest.py", 'stack.compose("up", "-d", "--wait"'),
    "make test": ("scripts/run_tests.sh", "test-containers"),  # what runs this test
    "make test SYSTEM=1": ("tests/e2e/test_bare_debian.py", "SYSTEM=1"),
    "make demo": ("tests/e2e/test_demo.py", 'run_make(clone, "demo")'),
    "make demo-down": ("tests/e2e/test_demo.py", 'run_make(clone, "demo-down")'),
    "MARQUEE_KAFKA_SERVERS=host:9092 marquee collect": (
        "tests/integration/ingest/kafka/test_simulated.py", "MARQUEE_KAFKA_SERVERS=",
    ),
}  # fmt: skip
#: The end of the last line of `your-data.md`, which the test of a fresh clone runs.
MAKE_RUN = " && make run"
CURL = "curl localhost:8082/recommend/42"
_COMMAND = re.compile(
    r"(\$ )?([A-Z_]+=\S+ )?(make|docker|curl|marquee|scripts/\S+|git|dvc|python) "
)


def find_start_pages() -> list[Path]:
    """The pages under Start in the navigation of the documentation; `index.md` is the README."""
    sections = YAML(typ="safe").load(ROOT / "mkdocs.yml")["nav"]
    (names,) = [section["Start"] for section in sections if "Start" in section]
    return [ROOT / "README.md" if n == "index.md" else ROOT / "docs" / n for n in names]


def find_commands(page: Path) -> list[str]:
    """The command lines in the code blocks of a page, without their comments."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    found = [re.sub(r"\s+#.*", "", line) for line in lines if _COMMAND.match(line + " ")]
    return [re.sub(r"\s+", " ", line.removeprefix("$ ")).strip() for line in found]


def run_here(page: str) -> list[str]:
    return [line for line in find_commands(ROOT / page) if line not in ELSEWHERE]


def run_script(lines: list[str], directory: Path) -> str:
    """Run lines with bash, each of which must succeed; return their output."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MARQUEE_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        ["bash", "-ec", "\n".join(lines)], cwd=directory, env=environment,
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_command_of_the_start_pages_is_run_by_a_test() -> None:
    commands = {line for page in find_start_pages() for line in find_commands(page)}
    assert ELSEWHERE.keys() <= commands, "a line that is not in the pages any more"
    here = {*run_here("README.md"), *run_here("docs/your-data.md")}
    assert commands == ELSEWHERE.keys() | here
    for line, (file, text) in ELSEWHERE.items():
        assert text in (ROOT / file).read_text(), line


def write_input(directory: Path, shared_data: Path) -> None:
    """Write a log and a table of ratings, small enough for seconds, and parameters."""
    for source, name, count in (
        ("movielog/stream.log", "stream.log", 5000), ("cinematch/ratings.csv", "ratings.csv", 8000),
    ):  # fmt: skip
        with (shared_data / source).open() as lines:
            (directory / name).write_text("".join(islice(lines, count)))
    write_params(directory / "params.yaml", ease={"max_movies": 200}, als={"factors": 8})


@soak_only
def test_the_commands_of_your_data_lead_to_a_served_model(
    tmp_path: Path, shared_data: Path
) -> None:
    write_input(tmp_path, shared_data)
    lines = run_here("docs/your-data.md")
    assert lines[-1].endswith(MAKE_RUN)
    output = run_script([*lines[:-1], lines[-1].removesuffix(MAKE_RUN)], tmp_path)
    assert "ndcg" in output.lower()
    (curl,) = run_here("README.md")
    assert curl == CURL
    with serving(tmp_path / "model", tmp_path) as server:
        answer = run_script([curl.replace("localhost:8082", f"localhost:{server.port}")], tmp_path)
    assert len(answer.split(",")) == 20
