"""Failures: what each leaves behind, which notification is sent, and that the next run succeeds."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from pytest_httpserver import HTTPServer

from tests.conftest import ROOT
from tests.support.mailbox import Mailbox
from tests.support.retraining import RetrainingEnvironment, git
from tests.support.soak import IS_SOAK, soak_only

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

#: Steps in their order; from push-data on the version is committed.
STEPS = (
    "clone", "fetch", "snapshot", "check-data", "validate", "gate", "train", "commit",
    "push-data", "push-commit", "tracking", "notify", "prune",
)  # fmt: skip
#: Steps that run DVC for seconds.
LONG_STEPS = ("check-data", "validate", "train", "push-data", "prune")


def start_retrain(environment: RetrainingEnvironment) -> subprocess.Popen[str]:
    """Start a run whose log is on standard error."""
    return subprocess.Popen(
        [sys.executable, "-m", "app", "retrain"], cwd=ROOT, env=environment.variables,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def kill_in_step(environment: RetrainingEnvironment, step: str) -> str:
    """Start a run, and kill it and its child processes when it logs that a step begins.

    A long step is killed when its first child process runs. Returns the step in which the run was
    killed: a short one may be over by then.
    """
    with start_retrain(environment) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if f'"step": "{step}"' in line and '"event": "step"' in line:
                break
        else:
            raise AssertionError(f"it ended before {step}")
        parent = psutil.Process(process.pid)
        while step in LONG_STEPS and not parent.children():
            time.sleep(0.01)
        parent.suspend()
        family = [parent, *parent.children(recursive=True)]
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):  # a child that had just ended
                member.kill()
        assert process.wait(60) == -signal.SIGKILL
    killed = str(json.loads((environment.workspace / "run.json").read_bytes())["step"])
    assert killed in STEPS[STEPS.index(step) :]
    return killed


def check_consistency(environment: RetrainingEnvironment) -> int:
    """Check that version, commit, tag and DVC remote agree, and return the version."""
    version = environment.version()
    assert environment.subjects()[0] == (
        "Begin" if version == 1 else f"Data and Model version update: [{version}]"
    )
    if version > 1:
        commit = git(environment.origin, "rev-parse", f"version-{version}^{{commit}}")
        assert commit == git(environment.origin, "rev-parse", "main")
        clone = environment.clone(f"check-{time.time_ns()}")
        done = environment.run_marquee("restore", "--json", "--tree", clone)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["version"] == version
    return version


def test_the_next_run_succeeds_after_kills_before_and_after_the_commit(
    collected: RetrainingEnvironment, mailbox: Mailbox
) -> None:
    """Kill a run in each step; then check that the next one publishes version 2, and no other."""
    killed = []
    for step in STEPS if IS_SOAK else ("train", "push-commit"):
        killed.append(kill_in_step(collected, step))
        check_consistency(collected)
    last = collected.retrain()
    assert last["status"] in ("published", "unchanged"), last
    assert collected.subjects() == ["Data and Model version update: [2]", "Begin"]
    assert check_consistency(collected) == 2
    assert "Version 2 trained and pushed, release starting" in mailbox.subjects
    notified = [s for s in mailbox.subjects if s.startswith("Retraining was killed")]
    assert notified == [f"Retraining was killed ({step})" for step in killed]


@soak_only  # in make test: tests/unit/auto_deployment/test_build_version.py
def test_a_model_of_random_ratings_does_not_pass_the_gate(
    collected: RetrainingEnvironment, mailbox: Mailbox
) -> None:
    collected.clear_store()
    collected.collect(20, noise=True)
    result = collected.retrain()
    assert result["status"] == "gate_failed"
    assert "RMSE is 1." in result["body"]
    assert (collected.version(), collected.subjects()) == (1, ["Begin"])
    assert git(collected.workspace / "clone", "status", "--porcelain") == ""
    assert mailbox.subjects == ["New model did not pass the gate"]
    assert "RMSE is 1." in mailbox.mails[0].get_content()


@soak_only  # in make test: tests/unit/auto_deployment/test_build_version.py
def test_a_drifted_batch_is_excluded_until_it_is_accepted(
    published: RetrainingEnvironment, mailbox: Mailbox
) -> None:
    published.collect(5, high=True)
    result = published.retrain()
    assert result["status"] == "data_rejected"
    assert "the distribution of ratings has drifted" in result["body"]
    assert published.version() == 2
    assert mailbox.subjects == ["Collected data was rejected"]
    assert "the distribution of ratings has drifted" in mailbox.mails[0].get_content()
    (rejected,) = (published.workspace / "rejected").iterdir()
    assert json.loads((rejected / "report.json").read_bytes())["batch"]["ratings"] == 800
    assert published.retrain()["status"] == "unchanged", "only the earlier data is left"
    published.collect(5)
    if IS_SOAK:
        assert published.retrain()["version"] == 3
        assert count_ratings(published) == 160 * 25
    assert published.retrain("--accept-data")["status"] == "published"
    assert count_ratings(published) == 160 * published.day


def count_ratings(environment: RetrainingEnvironment) -> int:
    """Return the number of ratings in the data of the published version."""
    report = json.loads(git(environment.origin, "show", "main:reports/data.json"))
    return int(report["ratings"])


@soak_only  # in make test: tests/unit/auto_deployment/test_publish.py
def test_a_version_is_published_once_the_remotes_are_back(
    committed: RetrainingEnvironment, mailbox: Mailbox, httpserver: HTTPServer
) -> None:
    environment = committed
    httpserver.expect_request("/hook").respond_with_data("ok")
    environment.webhook = httpserver.url_for("/hook")
    mailbox.stop()
    environment.dvc_remote.write_text("no directory")
    for _ in range(2):
        assert environment.retrain()["status"] == "failed"
        assert environment.version() == 1, "no commit names data that cannot be fetched"
    environment.dvc_remote.unlink()
    hidden = environment.origin.rename(environment.directory / "hidden.git")
    assert environment.retrain()["status"] == "failed", "the git remote is away"
    hidden.rename(environment.origin)

    desk = environment.clone("desk")
    (desk / "NEWS").write_text("pushed first\n")
    git(desk, "add", "NEWS")
    git(desk, "commit", "--quiet", "-m", "Push before the version")
    git(desk, "push", "--quiet")
    result = environment.retrain()
    assert (result["status"], result["version"]) == ("published", 2)
    assert environment.subjects() == [
        "Data and Model version update: [2]", "Push before the version", "Begin",
    ]  # fmt: skip
    assert check_consistency(environment) == 2

    texts = [json.loads(request.get_data())["text"] for request, _ in httpserver.log]
    assert [text.splitlines()[0] for text in texts] == [
        "*Retraining failed (push-data)*", "*Retraining failed (push-commit)*",
        "*Version 2 trained and pushed, release starting*",
    ]  # fmt: skip
    assert mailbox.mails == []
    mailbox.start()
    assert environment.run_marquee("notify", "--flush").returncode == 0
    assert len(mailbox.mails) == 3, "mail was kept while its server was down"


@soak_only  # in make test: tests/unit/auto_deployment/test_publish.py
def test_a_version_number_that_others_published_is_not_used(
    committed: RetrainingEnvironment,
) -> None:
    desk = committed.clone("desk")
    (desk / "version.txt").write_text("2\n")
    git(desk, "commit", "--quiet", "--all", "-m", "Data and Model version update: [2]")
    git(desk, "tag", "--annotate", "-m", "Version 2", "version-2")
    git(desk, "push", "--quiet", "origin", "main", "version-2")
    result = committed.retrain()
    assert result["version"] == 3, result
    assert committed.tagged_versions() == [2, 3]
    assert check_consistency(committed) == 3


def test_two_runs_do_not_overlap(collected: RetrainingEnvironment) -> None:
    with start_retrain(collected) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if '"step": "fetch"' in line)
        second = collected.run_marquee("retrain")
        assert second.returncode == 1
        assert f"another retraining is running: process {process.pid} since" in second.stderr
        process.terminate()
        assert process.wait(60) == 143
    assert not (collected.workspace / "run.json").exists()


def test_without_a_repository_or_data_no_run_starts(tmp_path: Path) -> None:
    environment = RetrainingEnvironment(tmp_path, settings={"GIT_REMOTE": ""})
    assert environment.retrain()["status"] == "disabled"
    environment.settings["GIT_REMOTE"] = str(tmp_path / "none.git")
    assert environment.retrain()["status"] == "no_data"
    assert list(tmp_path.glob("workspace/clone")) == []
