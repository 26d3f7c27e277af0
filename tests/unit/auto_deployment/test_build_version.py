"""Building a version, with stages that copy prepared files in place of training."""

import json
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from app.auto_deployment.build_version import VersionBuilder
from app.auto_deployment.errors import NoVersionError
from app.auto_deployment.version_commits import read_version
from app.ingest.data_window import read_window
from app.ingest.ingest_files import ingest_log_files
from app.ingest.log_parser import RatingScale
from app.ingest.schemas import RATINGS, WATCHES, conform
from tests.conftest import ROOT
from tests.unit.auto_deployment.conftest import NEWEST, Tree, VersionRepository, write_model

#: `$STAGES` holds the files that the stages copy.
STAGES = """\
stages:
  test-data:
    cmd: >-
      mkdir -p reports && rm -rf data/prepared && cp -r "$STAGES/prepared" data/prepared
      && cp "$STAGES/data.json" reports/ && grep -q '"passed": true' reports/data.json
    always_changed: true
    outs: [{data/prepared: {cache: false}}]
    metrics: [{reports/data.json: {cache: false}}]
  evaluate:
    cmd: cp "$STAGES/metrics.json" reports/
    deps: [reports/data.json]
    metrics: [{reports/metrics.json: {cache: false}}]
  train:
    cmd: rm -rf model && cp -r "$STAGES/model" model
    deps: [reports/metrics.json, version.txt]
    outs: [model]
"""
METRICS = {"rmse": 0.9, "ndcg": 0.1, "coverage": 0.3, "events": 1000, "users": 50}
AFTER = datetime.fromisoformat(NEWEST)
UNTIL = AFTER + timedelta(days=2)
REPORT = {
    "passed": True, "rejected": [], "blocking": [], "newest": UNTIL.isoformat(),
    "tables_hash": "new", "batch": {"after": AFTER.isoformat(), "until": UNTIL.isoformat(),
                                    "events": 1},
}  # fmt: skip


@dataclass
class Build:
    """A clone in which version 5 can be built, and the files that its stages copy."""

    repository: VersionRepository
    stages: Path
    tree: Tree

    def write(self, name: str, content: dict[str, Any]) -> None:
        (self.stages / name).write_text(json.dumps(content))

    def builder(self) -> VersionBuilder:
        return VersionBuilder(self.repository.settings, self.repository.workspace, self.tree)


@pytest.fixture
def build(repository: VersionRepository, tmp_path: Path) -> Build:
    stages = tmp_path / "stages"
    (stages / "prepared").mkdir(parents=True)
    rows = {"user_id": [1, 2], "movie_id": ["a+1999", "b+1999"], "time": [AFTER, UNTIL]}
    ratings = pl.DataFrame(rows).with_columns(rating=4)
    watches = pl.DataFrame(rows).with_columns(minutes=9, first_time="time", last_time="time")
    conform(ratings, RATINGS).write_parquet(stages / "prepared" / "ratings.parquet")
    conform(watches, WATCHES).write_parquet(stages / "prepared" / "watches.parquet")
    write_model(stages / "model", 5)
    (tmp_path / "lines.log").write_text(f"{NEWEST},1,GET /data/m/a+1999/1.mpg\n")
    store = repository.settings.store_dir
    ingest_log_files([str(tmp_path / "lines.log")], store, RatingScale(1, 5))
    desk = repository.clone("desk")
    (desk.path / "dvc.yaml").write_text(STAGES)
    shutil.copy(ROOT / "params.yaml", desk.path)
    shutil.copy(ROOT / "data" / "window.json", desk.path / "data")
    desk.git("add", "--all")
    desk.git("commit", "--quiet", "-m", "Add stages, parameters and the data window")
    desk.git("push", "--quiet")
    tree = repository.tree
    environment = {**tree.environment, "STAGES": str(stages)}
    build = Build(repository, stages, Tree(tree.path, environment))
    build.write("data.json", REPORT)
    build.write("metrics.json", METRICS)
    return build


def test_a_version_is_built_and_committed(build: Build) -> None:
    built = build.builder().build()
    assert (built.number, built.metrics) == (5, METRICS)
    assert "not compared with the production model" in built.body
    assert f"Data  {5:064}" in built.body
    build.builder().commit(built)
    assert build.tree.git("log", "-1", "--format=%s") == "Data and Model version update: [5]"
    assert read_version(build.tree, "HEAD") == 5
    assert build.tree.git("status", "--porcelain") == ""


def test_a_model_that_fails_the_gate_leaves_the_clone_unchanged(build: Build) -> None:
    build.write("metrics.json", {**METRICS, "ndcg": 0.001})
    with pytest.raises(NoVersionError, match=r"ndcg is 0\.0010 and must be at least") as failure:
        build.builder().build()
    assert failure.value.status == "gate_failed"
    assert build.tree.git("status", "--porcelain") == ""
    assert read_version(build.tree) == 4


def test_a_rejected_batch_is_copied_and_excluded_from_the_next_window(build: Build) -> None:
    rejected = {**REPORT, "passed": False, "rejected": ["the distribution has drifted"]}
    build.write("data.json", rejected)
    with pytest.raises(NoVersionError, match="the distribution has drifted") as failure:
        build.builder().build()
    assert failure.value.status == "data_rejected"
    (copy,) = (build.repository.workspace.path / "rejected").iterdir()
    assert pl.read_parquet(copy / "ratings.parquet")["user_id"].to_list() == [2]

    build.write("data.json", REPORT)
    build.builder().build()
    (span,) = read_window(build.tree.path / "data" / "window.json").excluded
    assert (span.after, span.until) == (AFTER, UNTIL)
    assert span.reason == "the distribution has drifted"


def test_a_batch_that_is_too_small_is_not_excluded(build: Build) -> None:
    build.write("data.json", {**REPORT, "passed": False, "blocking": ["too few events"]})
    with pytest.raises(NoVersionError, match="too few events"):
        build.builder().build()
    assert not (build.repository.workspace.path / "rejected").exists()


def test_without_changes_no_version_is_built_unless_forced(build: Build) -> None:
    built = build.builder().build()
    build.builder().commit(built)
    build.tree.git("tag", "--annotate", "-m", "version 5", "version-5")
    build.tree.git("push", "--quiet", "origin", "main", "version-5")
    with pytest.raises(NoVersionError) as failure:
        build.builder().build()
    assert failure.value.status == "unchanged"
    write_model(build.stages / "model", 6)
    assert build.builder().build(force=True).number == 6
