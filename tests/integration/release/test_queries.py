"""The queries of the canary analysis, tested by promtool with synthetic series."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT
from tests.support import query_cases

IMAGE = "prom/prometheus:v3.5.0"


@pytest.fixture
def rules_directory(tmp_path: Path) -> Path:
    """A directory with the tests and the queries for a window of 10 minutes and version 7."""
    environment = {**os.environ, "RELEASE_SCRAPE_INTERVAL_SECONDS": "15"}
    text = subprocess.run(
        [ROOT / "scripts" / "canary_release.sh", "queries", "--window", "10m", "--version", "7"],
        env=environment, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    (tmp_path / "queries.yml").write_text(text)
    tests = query_cases.build_test_file("queries.yml")
    (tmp_path / "tests.yml").write_text(json.dumps(tests))  # JSON is YAML
    tmp_path.chmod(0o755)
    return tmp_path


def promtool(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("docker") is None:
        pytest.skip("promtool runs in the Prometheus image; the docker command is missing")
    if subprocess.run(
        ["docker", "image", "inspect", IMAGE], capture_output=True, check=False
    ).returncode:
        pytest.skip(f"promtool runs in {IMAGE}, which is missing (make images)")
    return subprocess.run(
        ["docker", "run", "--rm", "--network=none", "--tmpfs=/tmp", f"--volume={directory}:/r:ro",
         "--entrypoint=/bin/promtool", IMAGE, *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_queries_distinguish_all_cases(rules_directory: Path) -> None:
    done = promtool(rules_directory, "test", "rules", "/r/tests.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_query_has_a_test_and_every_limit_is_a_setting(rules_directory: Path) -> None:
    tested = {query for case in query_cases.CASES for query in case.expected}
    settings = (ROOT / "scripts" / "release" / "settings.env").read_text()
    queries = YAML(typ="safe").load(rules_directory / "queries.yml")
    for rule in queries["groups"][0]["rules"]:
        assert rule["record"].removeprefix("release:") in tested, rule["record"]
        for key in ("below", "at_most", "at_least", "guard_limit"):
            if key in rule["labels"]:
                assert f"\n{rule['labels'][key]}=" in settings, rule["record"]


def test_a_changed_query_fails_its_tests(rules_directory: Path) -> None:
    queries = rules_directory / "queries.yml"
    queries.write_text(queries.read_text().replace('le="0.25"', 'le="0.5"'))
    assert promtool(rules_directory, "test", "rules", "/r/tests.yml").returncode == 1
