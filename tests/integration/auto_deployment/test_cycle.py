"""Whole cycles on a real repository and a real DVC remote: versions made, restored, traced."""

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
from tests.support.retraining import World, git

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def dvc(where: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=where, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def restored(world: World, clone: Path, *number: str) -> dict[str, Any]:
    done = world.marquee("restore", "--json", "--tree", clone, *number)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_from_a_stream_to_versions_that_can_be_brought_back(
    world: World, mailbox: Mailbox, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/hook").respond_with_data("ok")
    httpserver.expect_request("/version").respond_with_json({"version": 2})
    world.webhook = httpserver.url_for("/hook")
    first = world.retrain()
    assert (first["status"], first["version"]) == ("published", 2)
    assert world.retrain()["status"] == "unchanged"

    world.collect(5)
    world.settings["SERVICE_URLS"] = f"http://127.0.0.1:1,{httpserver.url_for('')}"
    second = world.retrain()
    assert (second["status"], second["version"]) == ("published", 3)
    assert "version 2's" in second["body"], "compared with the version in service"
    assert second["figures"]["events"] >= 500
    assert world.subjects() == [
        "Data and Model version update: [3]",
        "Data and Model version update: [2]",
        "Begin",
    ]
    assert "rmse" in git(world.origin, "log", "-1", "--format=%b", "main")
    told = [f"Version {n} trained and pushed, release starting" for n in (2, 3)]
    assert mailbox.subjects == told
    texts = [json.loads(r.get_data())["text"] for r, _ in httpserver.log if r.path == "/hook"]
    assert [text.splitlines()[0] for text in texts] == [f"*{subject}*" for subject in told]

    _restores_both(world)
    _metrics_and_plot(world)
    _tables_agree(world)


def _restores_both(world: World) -> None:
    clone = world.clone("elsewhere")
    newest = restored(world, clone)
    assert newest["version"] == 3
    for number, hashes in ((2, restored(world, clone, "2")), (3, restored(world, clone, "3"))):
        body = git(world.origin, "log", "-1", "--format=%b", f"--grep=\\[{number}\\]", "main")
        assert f"Model {hashes['model_hash']}" in body
        assert f"Data  {hashes['data_hash']}" in body
    assert restored(world, clone)["model_hash"] == newest["model_hash"]
    assert git(clone, "status", "--porcelain") == ""
    missing = world.marquee("restore", "--tree", clone, "9")
    assert (missing.returncode, "no commit here makes version 9" in missing.stderr) == (1, True)

    largest = max((clone / ".dvc/cache/files/md5").glob("??/*"), key=lambda p: p.stat().st_size)
    largest.chmod(0o644)
    largest.write_bytes(b"other content")
    git(clone, "clean", "-fdxq", "model", "data")
    assert restored(world, clone)["model_hash"] == newest["model_hash"], "fetched again"


def _metrics_and_plot(world: World) -> None:
    clone = world.place / "elsewhere"
    changes = json.loads(dvc(clone, "metrics", "diff", "--json", "HEAD~1", "HEAD"))
    assert {"old", "new", "diff"} <= set(changes["reports/metrics.json"]["rmse"])
    dvc(clone, "plots", "diff", "HEAD~1", "--out", str(world.place / "plots"))
    assert "quartile" in (world.place / "plots" / "index.html").read_text()


def _tables_agree(world: World) -> None:
    """The database knows both versions, before any slot has them."""
    engine = connect(Settings(database=f"sqlite:///{world.place}/provenance.db"))
    upgrade(engine)
    reader = SpoolReader(world.place / "spool")
    Shipper(reader, engine, ShipperMetrics(reader), 90).ship()
    for number in (2, 3):
        found = Lineage(engine).find_version(number)
        assert found is not None
        body = git(world.origin, "log", "-1", "--format=%b", f"--grep=\\[{number}\\]", "main")
        assert f"Model {found['model_hash']}" in body
        assert f"Data  {found['data_hash']}" in body
        assert f"rmse      {found['model_rmse']:.4f}" in body
        parent = git(world.origin, "log", "-1", "--format=%P", f"--grep=\\[{number}\\]", "main")
        assert found["trained_by_commit"] == parent
