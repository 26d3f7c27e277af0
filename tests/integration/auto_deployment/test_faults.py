"""What can go wrong does: what is left each time, who is told, and that the next run succeeds."""

import json
import os
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
from tests.support.retraining import World, git

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

#: `make soak` kills at every step, `make test` at every third.
SOAK = "MARQUEE_SOAK_SECONDS" in os.environ
#: In the order they are reached; from `push-data` on the version is committed.
STEPS = ("clone", "fetch", "snapshot", "check", "rehearse", "gate", "train", "commit",
         "push-data", "push-commit", "tracking", "tell", "tidy")  # fmt: skip
#: Over in milliseconds.
SHORT = ("gate", "commit", "tracking", "tell", "tidy")


def begin(world: World) -> subprocess.Popen[str]:
    """A run whose log can be read while it goes on."""
    return subprocess.Popen(
        [sys.executable, "-m", "app", "retrain"],
        cwd=ROOT, env={**world.environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def kill_at(world: World, step: str) -> str:
    """Start a run, and kill it and all it started when it says that it begins a step.

    Returns the step it was in: a short one may be over by then.
    """
    with begin(world) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if f'"step": "{step}"' in line and '"event": "step"' in line:
                break
        else:
            raise AssertionError(f"it ended before {step}")
        if step not in SHORT:
            time.sleep(0.05)  # into the step
        parent = psutil.Process(process.pid)
        parent.suspend()
        family = [parent, *parent.children(recursive=True)]
        for member in family:
            member.kill()
        assert process.wait(10) == -signal.SIGKILL
    return str(json.loads((world.workspace / "run.json").read_bytes())["step"])


def test_killed_at_every_step_the_next_run_succeeds(world: World, mailbox: Mailbox) -> None:
    killed = []
    for step in STEPS if SOAK else STEPS[::3]:
        number = STEPS.index(step)
        killed.append(kill_at(world, step))
        assert killed[-1] in STEPS[number : number + 3]
        agrees(world)
    assert world.version() == 2, "it was committed once, whatever was killed"
    last = world.retrain()
    assert last["status"] in ("published", "unchanged"), last
    assert world.subjects() == ["Data and Model version update: [2]", "Begin"]
    assert agrees(world) == 2
    told = "Version 2 trained and pushed, release starting"
    assert told in mailbox.subjects
    of_kills = [s for s in mailbox.subjects if s.startswith("Retraining was killed")]
    assert of_kills == [f"Retraining was killed ({step})" for step in killed]


def agrees(world: World) -> int:
    """Version, commit and DVC's remote say the same, whatever moment it is; the version."""
    number = world.version()
    assert world.subjects()[0] == (
        "Begin" if number == 1 else f"Data and Model version update: [{number}]"
    )
    if number > 1:
        clone = world.place / f"check-{time.time_ns()}"
        git(world.place, "clone", "--quiet", str(world.origin), str(clone))
        done = world.marquee("restore", "--json", "--tree", clone)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["version"] == number
    return number


def test_noise_for_ratings_does_not_pass_the_gate(world: World, mailbox: Mailbox) -> None:
    (world.place / "store" / "manifest.json").unlink()
    world.day = 0
    world.collect(20, noise=True)
    outcome = world.retrain()
    assert outcome["status"] == "gate"
    assert "RMSE is 1." in outcome["body"]
    assert (world.version(), world.subjects()) == (1, ["Begin"])
    assert git(world.workspace / "clone", "status", "--porcelain") == ""
    assert mailbox.subjects == ["New model did not pass the gate"]
    assert "RMSE is 1." in mailbox.mails[0].get_content()
    (world.place / "store" / "manifest.json").unlink()
    world.day = 0
    world.collect(20)
    assert world.retrain()["version"] == 2


def test_a_drifted_batch_stays_out(world: World, mailbox: Mailbox) -> None:
    assert world.retrain()["version"] == 2
    world.collect(5, high=True)
    outcome = world.retrain()
    assert outcome["status"] == "refused"
    assert "the distribution of ratings has drifted" in outcome["body"]
    assert world.version() == 2
    assert mailbox.subjects[-1] == "Collected data was refused"
    assert "the distribution of ratings has drifted" in mailbox.mails[-1].get_content()
    (aside,) = (world.workspace / "refused").iterdir()
    assert json.loads((aside / "report.json").read_bytes())["batch"]["ratings"] == 800
    assert world.retrain()["status"] == "unchanged", "nothing is left but what was there before"
    world.collect(5)
    assert world.retrain()["version"] == 3
    assert ratings_of(world) == 160 * 25
    assert world.retrain("--accept-data")["version"] == 4
    assert ratings_of(world) == 160 * 30


def ratings_of(world: World) -> int:
    """How many ratings the version that is pushed was made from."""
    report = json.loads(git(world.origin, "show", "main:reports/data.json"))
    return int(report["ratings"])


def test_remotes_that_are_away_are_caught_up_with(
    world: World, mailbox: Mailbox, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/hook").respond_with_data("ok")
    world.webhook = httpserver.url_for("/hook")
    mailbox.stop()
    world.remote.write_text("no directory")  # as a mount that is gone: nothing can be made there
    outcome = world.retrain()
    assert outcome["status"] == "failed"
    assert "version 2 is made and waits to be pushed" in outcome["body"]
    assert world.version() == 1, "no commit names what nobody can fetch"
    assert world.retrain()["status"] == "failed"
    world.remote.unlink()
    hidden = world.origin.rename(world.place / "hidden.git")
    assert world.retrain()["status"] == "failed", "now git's remote is away"
    hidden.rename(world.origin)

    theirs = world.clone("theirs")
    (theirs / "NEWS").write_text("pushed first\n")
    git(theirs, "add", "NEWS")
    git(theirs, "commit", "--quiet", "-m", "Others were quicker")
    git(theirs, "push", "--quiet")
    outcome = world.retrain()
    assert (outcome["status"], outcome["version"]) == ("published", 2)
    assert world.subjects() == [
        "Data and Model version update: [2]", "Others were quicker", "Begin",
    ]  # fmt: skip
    assert agrees(world) == 2

    texts = [json.loads(request.get_data())["text"] for request, _ in httpserver.log]
    assert [text.splitlines()[0] for text in texts] == [
        "*Retraining failed (push-data)*", "*Retraining failed (push-commit)*",
        "*Version 2 trained and pushed, release starting*",
    ]  # fmt: skip
    assert mailbox.mails == []
    mailbox.start()
    assert world.marquee("notify", "--flush").returncode == 0
    assert len(mailbox.mails) == 3, "mail was kept while its server was down"


def test_a_version_that_others_made_first_gives_way(world: World) -> None:
    kill_at(world, "push-data")
    theirs = world.clone("theirs")
    (theirs / "version.txt").write_text("2\n")
    git(theirs, "commit", "--quiet", "--all", "-m", "Data and Model version update: [2]")
    git(theirs, "push", "--quiet")
    outcome = world.retrain()
    assert outcome["version"] == 3, outcome
    assert agrees(world) == 3


def test_two_runs_do_not_overlap(world: World) -> None:
    with begin(world) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if '"step": "fetch"' in line)
        second = world.marquee("retrain")
        assert second.returncode == 1
        assert "a retraining is under way since" in second.stderr
        assert f"process {process.pid}" in second.stderr
        process.terminate()
        assert process.wait(20) == 143
    assert not (world.workspace / "run.json").exists()


def test_without_a_repository_it_is_idle(tmp_path: Path) -> None:
    world = World(tmp_path, settings={"GIT_REMOTE": ""})
    assert world.retrain()["status"] == "idle"
    world.settings["GIT_REMOTE"] = str(tmp_path / "none.git")
    assert world.retrain()["status"] == "waiting"
    assert list(tmp_path.glob("workspace/clone")) == []
