"""Building a version, with stages that copy prepared files in place of training."""

import json
import re
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from pytest_httpserver import HTTPServer

from app.auto_deployment.auto_deploy import build_and_publish
from app.auto_deployment.build_version import BuiltVersion, VersionBuilder
from app.auto_deployment.errors import DeploymentError, NoVersionError
from app.auto_deployment.publish import Publisher
from app.auto_deployment.version_commits import read_version
from app.ingest.data_window import DataWindow, read_window
from app.ingest.ingest_files import ingest_log_files
from app.ingest.log_parser import RatingScale
from app.ingest.schemas import RATINGS, WATCHES, conform
from tests.conftest import MOVIES, ROOT, USERS
from tests.support.whole_models import write_whole_model
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
    cmd: >-
      cp "$STAGES/metrics.json" reports/ && mkdir -p build && rm -rf build/validation
      && cp -r "$STAGES/validation" build/validation
    deps: [reports/data.json]
    metrics: [{reports/metrics.json: {cache: false}}]
  train:
    cmd: rm -rf model && cp -r "$STAGES/model" model
    deps: [reports/metrics.json, version.txt]
    outs: [model]
"""
#: A comparison with the production model needs two newer events; `params.yaml` says 500.
MIN_COMPARED_EVENTS = 2
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
    write_tables(stages / "prepared", [1, 2], ["a+1999", "b+1999"], [AFTER, UNTIL])
    # The test events are movies that the models of `write_model` recommend first.
    write_tables(stages / "prepared" / "test", USERS[1:], MOVIES[1:4], [UNTIL] * 3)
    write_model(stages / "model", 5)
    write_model(stages / "validation", 0)
    times = [AFTER, UNTIL, UNTIL]
    lines = [f"{t.isoformat()},{n},GET /data/m/a+1999/1.mpg\n" for n, t in enumerate(times)]
    (tmp_path / "lines.log").write_text("".join(lines))
    store = repository.settings.store_dir
    ingest_log_files([str(tmp_path / "lines.log")], store, RatingScale(1, 5))
    desk = repository.clone("desk")
    (desk.path / "dvc.yaml").write_text(STAGES)
    limit, number = "min_compared_events: 500", f"min_compared_events: {MIN_COMPARED_EVENTS}"
    params = (ROOT / "params.yaml").read_text()
    assert limit in params
    (desk.path / "params.yaml").write_text(params.replace(limit, number))
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


def write_tables(
    directory: Path, users: list[int], movies: list[str], times: list[datetime]
) -> None:
    """Write a rating and a watch of each of these events."""
    directory.mkdir(parents=True)
    events = pl.DataFrame({"user_id": users, "movie_id": movies, "time": times})
    ratings = events.with_columns(rating=4)
    watches = events.with_columns(minutes=9, first_time="time", last_time="time")
    conform(ratings, RATINGS).write_parquet(directory / "ratings.parquet")
    conform(watches, WATCHES).write_parquet(directory / "watches.parquet")


@pytest.fixture
def in_production(build: Build, httpserver: HTTPServer) -> Build:
    """Version 4 is in production."""
    httpserver.expect_request("/version").respond_with_json({"version": 4})
    service = {"service_urls": httpserver.url_for("")}
    build.repository.settings = build.repository.settings.model_copy(update=service)
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


def test_a_good_model_is_built_after_one_that_failed_the_gate(build: Build) -> None:
    build.write("metrics.json", {**METRICS, "coverage": 0})
    with pytest.raises(NoVersionError, match="coverage is 0"):
        build.builder().build()
    build.write("metrics.json", METRICS)
    build.write("data.json", {**REPORT, "tables_hash": "newer"})
    assert build.builder().build().number == 5


def test_a_candidate_worse_than_the_model_in_production_is_refused(in_production: Build) -> None:
    write_model(in_production.stages / "validation", 0, first_movie=20)
    with pytest.raises(NoVersionError, match=r"ndcg is 0\.0000, worse than version 4's") as failure:
        in_production.builder().build()
    assert failure.value.status == "gate_failed"
    assert in_production.tree.git("status", "--porcelain") == ""
    assert read_version(in_production.tree) == 4


def test_a_candidate_that_serves_one_group_worse_is_refused(in_production: Build) -> None:
    women, men = range(1_000, 1_040), range(2_000, 3_000)
    users = [*women, *men]
    # Production knows none of them: they get its most popular movies, which they then watch.
    prepared = in_production.stages / "prepared"
    shutil.rmtree(prepared / "test")
    write_tables(prepared / "test", users, [MOVIES[59]] * len(users), [UNTIL] * len(users))
    gender = ["F"] * len(women) + ["M"] * len(men)
    table = pl.DataFrame({"user_id": users, "gender": gender})
    table.write_parquet(prepared / "users.parquet")
    validation = in_production.stages / "validation"
    shutil.rmtree(validation)
    unpopular, popular = list(range(20)), list(range(60))[::-1]
    write_whole_model(validation, MOVIES, dict.fromkeys(women, unpopular), popular=popular)
    with (in_production.repository.directory / "clones" / "desk" / "dvc.yaml").open("a") as file:
        file.write("  fairness: {cmd: 'true'}\n")
    desk = Tree(in_production.repository.directory / "clones" / "desk")
    desk.git("commit", "--quiet", "--all", "-m", "Add the stage of the report")
    desk.git("push", "--quiet")

    reason = r"nDCG of 40 users \(gender: F\) is 0\.0000, worse than version 4's 0\.9750 by more"
    with pytest.raises(NoVersionError, match=reason):
        in_production.builder().build()

    shutil.rmtree(validation)
    in_production.write("data.json", {**REPORT, "tables_hash": "newer"})
    shown = popular[:20]
    write_whole_model(validation, MOVIES, dict.fromkeys(women, shown), popular=popular)
    built = in_production.builder().build()
    assert "reports/groups.md: groups of users beside the model in production" in built.body
    groups = json.loads((in_production.tree.path / "reports" / "groups.json").read_text())
    assert not any(row["worse"] for row in groups["groups"])


def test_a_candidate_as_good_as_the_model_in_production_is_built(in_production: Build) -> None:
    body = in_production.builder().build().body
    ndcg = re.search(r"on 3 newer events: ndcg ([\d.]+), version 4's ([\d.]+);", body)
    assert ndcg is not None, body
    assert float(ndcg[1]) == float(ndcg[2]) > 0.1
    assert re.search(r"; replay ndcg 1\.0000, version 4's 1\.0000\n", body), body
    window = read_window(in_production.tree.path / "data" / "window.json")
    assert window.test_start == AFTER + timedelta(microseconds=1), "newer than production's data"


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


@pytest.mark.parametrize("zone", ["", "Asia/Tokyo"])
def test_an_excluded_span_ends_at_the_snapshot_and_later_events_count(
    build: Build, zone: str
) -> None:
    zone_setting = {"stream_time_zone": zone}
    build.repository.settings = build.repository.settings.model_copy(update=zone_setting)
    now = datetime.now(ZoneInfo(zone or "UTC")).replace(tzinfo=None)
    times = [AFTER, now - timedelta(hours=1), now + timedelta(hours=9)]
    shutil.rmtree(build.stages / "prepared")
    write_tables(build.stages / "prepared", [1, 2, 3], ["a+1999"] * 3, times)
    batch = {"after": AFTER.isoformat(), "until": times[2].isoformat(), "events": 2}
    rejected = {**REPORT, "passed": False, "rejected": ["too many events"], "batch": batch}
    build.write("data.json", rejected)
    with pytest.raises(NoVersionError, match="The 2 events after"):
        build.builder().build()

    excluded = build.repository.workspace.read("excluded.json")
    window = DataWindow.model_validate(excluded)
    good_event = now + timedelta(hours=2)
    events = pl.DataFrame({"time": [times[1], good_event]}).filter(window.row_filter("time"))
    assert events["time"].to_list() == [good_event]


def test_accepted_data_includes_the_rejected_batches(build: Build) -> None:
    build.write("data.json", {**REPORT, "passed": False, "rejected": ["too many events"]})
    with pytest.raises(NoVersionError, match="marquee retrain --accept-data"):
        build.builder().build()
    build.write("data.json", REPORT)
    built = build.builder().build(accept_data=True)
    window = read_window(build.tree.path / "data" / "window.json")
    assert (window.excluded, window.skip_checks) == ((), True)
    build.builder().commit(built)
    assert build.repository.workspace.read("excluded.json") == {}


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


def test_a_version_number_that_was_lowered_by_hand_is_an_error_in_a_sentence(
    build: Build,
) -> None:
    """A version with a number that has a tag could never be pushed."""
    other = build.repository.clone("other")
    (other.path / "version.txt").write_text("2\n")
    other.git("commit", "--quiet", "--all", "-m", "Lower the number")
    other.git("push", "--quiet")
    with pytest.raises(
        DeploymentError,
        match=r"version\.txt contains 2, but version 4 is published \(tag version-4\): write 4",
    ):
        build.builder().build()


def test_a_number_that_others_published_during_the_build_is_not_used(build: Build) -> None:
    repository, other = build.repository, build.repository.clone("other")

    class OvertakenBuilder(VersionBuilder):
        def commit(self, built: BuiltVersion) -> None:
            super().commit(built)
            if built.number == 5:
                write_model(build.stages / "model", 6)
                (other.path / "version.txt").write_text("5\n")
                other.git("commit", "--quiet", "--all", "-m", "Data and Model version update: [5]")
                other.git("tag", "--annotate", "-m", "Version 5", "version-5")
                other.git("push", "--quiet", "origin", "main", "version-5")

    publisher = Publisher(repository.settings, repository.workspace, repository.notifier)
    builder = OvertakenBuilder(repository.settings, repository.workspace, build.tree)
    assert build_and_publish(builder, publisher, repository.workspace).version == 6
    assert repository.origin.git("log", "-2", "--format=%an %s", "main").splitlines() == [
        "Developer Data and Model version update: [6]",
        "Another developer Data and Model version update: [5]",
    ]
    assert repository.messages == ["Version 6 trained and pushed, release starting"]
