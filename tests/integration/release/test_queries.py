"""The verdict's queries, evaluated by promtool over made-up series."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

IMAGE = "prom/prometheus:v3.5.0"
RELEASE = ROOT / "monitoring" / "prometheus" / "release"


@pytest.fixture
def filled_in(tmp_path: Path) -> Path:
    """The queries for a window of ten minutes and version 7, beside their tests."""
    environment = {**os.environ, "RELEASE_SCRAPE_INTERVAL_SECONDS": "15"}
    text = subprocess.run(
        [ROOT / "scripts" / "canary_release.sh", "queries", "--window", "10m", "--version", "7"],
        env=environment, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    (tmp_path / "verdict.yml").write_text(text)
    shutil.copy(RELEASE / "tests.yml", tmp_path)
    tmp_path.chmod(0o755)
    return tmp_path


def promtool(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("docker") is None:
        pytest.skip("promtool comes from the image of Prometheus; there is no docker command")
    if subprocess.run(
        ["docker", "image", "inspect", IMAGE], capture_output=True, check=False
    ).returncode:
        pytest.skip(f"promtool comes from {IMAGE}, which is not here (make images)")
    return subprocess.run(
        ["docker", "run", "--rm", "--network=none", "--tmpfs=/tmp", f"--volume={directory}:/r:ro",
         "--entrypoint=/bin/promtool", IMAGE, *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_every_case_is_told_apart(filled_in: Path) -> None:
    done = promtool(filled_in, "test", "rules", "/r/tests.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_query_is_tested_and_every_limit_explained(filled_in: Path) -> None:
    tests = (filled_in / "tests.yml").read_text()
    settings = (ROOT / "scripts" / "release" / "settings.env").read_text()
    for rule in yaml.safe_load((filled_in / "verdict.yml").read_text())["groups"][0]["rules"]:
        assert f"sum({rule['record']})" in tests, rule["record"]
        for key in ("below", "at_most", "at_least", "guard"):
            if key in rule["labels"]:
                assert f"\n{rule['labels'][key]}=" in settings, rule["record"]


def test_a_changed_query_is_noticed(filled_in: Path) -> None:
    queries = filled_in / "verdict.yml"
    queries.write_text(queries.read_text().replace('le="0.25"', 'le="0.5"'))
    assert promtool(filled_in, "test", "rules", "/r/tests.yml").returncode == 1
