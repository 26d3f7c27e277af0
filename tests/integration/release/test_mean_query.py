"""The query of the mean latency, tested by promtool with synthetic series."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support import query_cases

IMAGE = "prom/prometheus:v3.5.0"


@pytest.fixture
def rules_directory(tmp_path: Path) -> Path:
    """A directory with the tests and the query for a window of 10 minutes and version 7."""
    text = subprocess.run(
        [ROOT / "scripts" / "canary_release.sh", "queries", "--window", "10m", "--version", "7"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    query = text[: text.index("# What `marquee analyze")]
    rule = {"record": query_cases.RECORD, "expr": query}
    rules = {"groups": [{"name": "release", "rules": [rule]}]}
    (tmp_path / "rules.yml").write_text(json.dumps(rules))  # JSON is YAML
    (tmp_path / "tests.yml").write_text(json.dumps(query_cases.build_test_file("rules.yml")))
    tmp_path.chmod(0o755)
    return tmp_path


def promtool(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("promtool"):
        command = ["promtool"]
    elif shutil.which("docker") is None:
        pytest.skip("promtool runs from its binary or its image; it and docker are missing")
    elif subprocess.run(
        ["docker", "image", "inspect", IMAGE], capture_output=True, check=False
    ).returncode:
        pytest.skip(f"promtool runs from its binary or {IMAGE}; both are missing (make images)")
    else:
        command = ["docker", "run", "--rm", "--network=none", "--tmpfs=/tmp",
                   f"--volume={directory}:{directory}:ro", "--workdir", str(directory),
                   "--entrypoint=/bin/promtool", IMAGE]  # fmt: skip
    return subprocess.run(
        [*command, *arguments], cwd=directory, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


def test_the_query_distinguishes_all_cases(rules_directory: Path) -> None:
    done = promtool(rules_directory, "test", "rules", "tests.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_changed_query_fails_its_tests(rules_directory: Path) -> None:
    rules = rules_directory / "rules.yml"
    rules.write_text(rules.read_text().replace("duration_seconds_sum", "duration_seconds_count"))
    assert promtool(rules_directory, "test", "rules", "tests.yml").returncode == 1
