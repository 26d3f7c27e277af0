"""Prometheus has every series that an alert or a recording rule names."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.support.alert_rules import find_named_series
from tests.support.dashboards import read_panels
from tests.support.stack import Stack
from tests.support.waiting import eventually

#: Writes the metrics of a release that has failed, with the code of releases.
WRITE_METRICS = """
set -Eeuo pipefail
CODE_DIR=$PWD
source scripts/lib.sh
for file in settings state full_disk slots analysis metrics notify phases commands status; do
    source "scripts/release/$file.sh"
done
source scripts/platforms/compose.sh
write_metrics
write_host_metrics
"""


@pytest.fixture(scope="module")
def failed_release(demo: Stack) -> Iterator[Stack]:
    """The stack with the profile `demo`, in which a release has failed; it was backed up."""
    directory = demo.clone / "data" / "release"
    directory.mkdir(parents=True, exist_ok=True)
    now = int(time.time())
    state = {
        "format": 1, "id": "1", "kind": "release", "version": 1, "phase": "completed",
        "outcome": "failed", "reason": "a test", "window_extended": False,
        "analysis_deadline": now, "completed_at": now, "outcome_counts": {"failed": 1},
    }  # fmt: skip
    file = directory / "state.json"
    before = file.read_text() if file.exists() else None
    file.write_text(json.dumps(state))
    try:
        subprocess.run(["bash", "-c", WRITE_METRICS], cwd=demo.clone, check=True)
        subprocess.run(
            ["scripts/backup.sh", "--plain"], cwd=demo.clone, env=demo.environment, check=True
        )
    finally:
        if before is None:
            file.unlink()
        else:
            file.write_text(before)
    yield demo
    for metrics in (demo.clone / "monitoring" / "release").glob("*.prom"):
        metrics.unlink()  # the next release writes its own
    shutil.rmtree(demo.clone / "data" / "backups")


def test_prometheus_has_every_series_that_a_rule_names(failed_release: Stack) -> None:
    """The simulator sends requests and lines; the broker is configured."""
    named = find_named_series()

    def find_missing() -> dict[str, list[str]]:
        return {name: rules for name, rules in named.items() if not failed_release.query(name)}

    eventually(lambda: not find_missing(), 180, lambda: f"missing: {find_missing()}", 5)


def test_free_space_of_every_volume_with_data_is_known(failed_release: Stack) -> None:
    expected = {"spool", "store", "recent", "workspace", "database", "prometheus", "release"}

    def find_volumes() -> set[str]:
        samples = failed_release.query("marquee_volume_free_bytes")
        return {sample["metric"]["volume"] for sample in samples}

    eventually(lambda: find_volumes() == expected, 60, lambda: f"{find_volumes()}")


def test_every_panel_of_the_dashboards_has_data(failed_release: Stack) -> None:
    """The queries of monitoring/grafana; Grafana itself is not run."""
    queries = {q: panel.name for panel in read_panels() for q in panel.queries}

    def find_empty() -> dict[str, str]:
        return {q: name for q, name in queries.items() if not failed_release.query(q)}

    eventually(lambda: not find_empty(), 180, find_empty)
