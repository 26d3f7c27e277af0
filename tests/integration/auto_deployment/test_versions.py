"""Complete retrainings on a real repository and DVC remote: versions built, restored, traced."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from app.provenance.database import connect, upgrade
from app.provenance.lineage import Lineage
from app.provenance.shipper import Shipper
from app.provenance.shipper_metrics import ShipperMetrics
from app.provenance.spool_reader import SpoolReader
from app.settings import Settings
from tests.support.mailbox import Mailbox
from tests.support.retraining import RetrainingEnvironment, git
from tests.support.soak import soak_only

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def dvc(directory: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=directory, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def restore(environment: RetrainingEnvironment, clone: Path, *version: str) -> dict[str, Any]:
    done = environment.run_marquee("restore", "--json", "--tree", clone, *version)
    assert done.returncode == 0, done.stderr
    restored: dict[str, Any] = json.loads(done.stdout)
    return restored


def commit_body(environment: RetrainingEnvironment, version: int) -> str:
    return git(environment.origin, "log", "-1", "--format=%b", f"version-{version}")


def test_versions_are_built_published_restored_and_traced(
    published: RetrainingEnvironment, mailbox: Mailbox, httpserver: HTTPServer
) -> None:
    environment = published
    httpserver.expect_request("/hook").respond_with_data("ok")
    httpserver.expect_request("/version").respond_with_json({"version": 2})
    environment.webhook = httpserver.url_for("/hook")
    environment.settings["SERVICE_URLS"] = f"http://127.0.0.1:1,{httpserver.url_for('')}"
    assert environment.retrain()["status"] == "unchanged"

    environment.collect(5)
    result = environment.retrain()
    assert (result["status"], result["version"]) == ("published", 3)
    assert "version 2's" in result["body"], "compared with the production model"
    assert result["metrics"]["events"] >= 500
    assert environment.subjects() == [
        "Data and Model version update: [3]",
        "Data and Model version update: [2]",
        "Begin",
    ]
    assert environment.tagged_versions() == [2, 3]
    assert "rmse" in commit_body(environment, 3)
    subject = "Version 3 trained and pushed, release starting"
    assert mailbox.subjects == [subject]
    (text,) = [json.loads(r.get_data())["text"] for r, _ in httpserver.log if r.path == "/hook"]
    assert text.splitlines()[0] == f"*{subject}*"

    _check_restore(environment)
    _check_dvc_metrics_and_plots(environment)
    _check_fairness(environment, result["body"])
    _check_tracking_rows(environment)


def _check_restore(environment: RetrainingEnvironment) -> None:
    """A fresh clone gets both versions from the DVC remote, as their commits name them."""
    clone = environment.clone("another")
    for version, arguments in ((3, ()), (2, ("2",))):
        restored = restore(environment, clone, *arguments)
        assert restored["version"] == version
        body = commit_body(environment, version)
        assert f"Model {restored['model_hash']}" in body
        assert f"Data  {restored['data_hash']}" in body


def _check_fairness(environment: RetrainingEnvironment, message: str) -> None:
    """The pages of a version are in its commit and linked in its message."""
    clone = environment.directory / "another"
    for name, title in (
        ("fairness", "# Whom this version serves how well"),
        ("groups", "# Groups of users beside the model in production"),
        ("ranking", "# How version 3 ranks movies"),
    ):
        assert f"git show version-3:reports/{name}.md" in message
        assert git(clone, "show", f"version-3:reports/{name}.md").startswith(title)
    assert "groups.md" not in git(clone, "ls-tree", "--name-only", "version-2", "reports/")
    done = environment.run_marquee("report", "--tree", clone, "--json")
    assert done.returncode == 0, done.stderr
    versions = json.loads(done.stdout)["versions"]
    assert [row["version"] for row in versions] == [2, 3]
    assert all(0 < row["gini"] < 1 and 0 < row["coverage"] <= 1 for row in versions)


def _check_dvc_metrics_and_plots(environment: RetrainingEnvironment) -> None:
    clone = environment.directory / "another"
    changes = json.loads(dvc(clone, "metrics", "diff", "--json", "version-2", "version-3"))
    assert {"old", "new", "diff"} <= set(changes["reports/metrics.json"]["rmse"])
    plots = environment.directory / "plots"
    dvc(clone, "plots", "diff", "version-2", "--out", str(plots))
    assert "quartile" in (plots / "index.html").read_text()


def _check_tracking_rows(environment: RetrainingEnvironment) -> None:
    """The database has both versions before any slot serves them."""
    engine = connect(Settings(database=f"sqlite:///{environment.directory}/provenance.db"))
    upgrade(engine)
    reader = SpoolReader(environment.directory / "spool")
    Shipper(reader, engine, ShipperMetrics(reader), 90).ship()
    for version in (2, 3):
        row = Lineage(engine).find_version(version)
        assert row is not None
        body = commit_body(environment, version)
        assert f"Model {row['model_hash']}" in body
        assert f"Data  {row['data_hash']}" in body
        assert f"rmse      {row['model_rmse']:.4f}" in body
        parent = git(environment.origin, "rev-parse", f"version-{version}^")
        assert row["trained_by_commit"] == parent


@soak_only  # in make test: tests/unit/auto_deployment/test_build_version.py
def test_a_model_worse_than_the_production_model_is_not_published(
    published: RetrainingEnvironment, mailbox: Mailbox, httpserver: HTTPServer
) -> None:
    environment = published
    desk = environment.clone("desk")
    params = (desk / "params.yaml").read_text()
    assert params.count("\n  als: 1.0\n  ease: 0.6\n") == 1
    worse = params.replace("\n  als: 1.0\n  ease: 0.6\n", "\n  als: 0\n  ease: 0\n")
    (desk / "params.yaml").write_text(worse)
    git(desk, "commit", "--quiet", "--all", "-m", "Rank by popularity")
    git(desk, "push", "--quiet")

    environment.collect(5)
    httpserver.expect_request("/version").respond_with_json({"version": 2})
    environment.settings["SERVICE_URLS"] = httpserver.url_for("")
    result = environment.retrain()
    assert result["status"] == "gate_failed", result
    assert "worse than version 2's" in result["body"]
    assert (environment.version(), environment.tagged_versions()) == (2, [2])
    assert mailbox.subjects[-1] == "New model did not pass the gate"
