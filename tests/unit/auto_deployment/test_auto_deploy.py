"""How a run ends that makes no version: what is recorded, and which messages are sent."""

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.auto_deployment.auto_deploy import RunResult, retrain
from app.auto_deployment.workspace import Workspace
from app.ingest.store_writer import open_writer
from app.notifications.channels import Channel
from app.notifications.errors import Cause, DeliveryError
from app.notifications.notifier import Notifier
from app.settings import Settings
from tests.conftest import ROOT

STORE = ROOT / "tests" / "formats" / "0.2.0" / "store"


@dataclass
class Runs:
    """Runs of retraining on a store with events, whose repository does not exist."""

    settings: Settings
    subjects: list[str] = field(default_factory=list)
    is_mail_accepted: bool = True

    @property
    def workspace(self) -> Path:
        return self.settings.workspace_dir

    def run(self) -> RunResult:
        channels = {"mail": Channel(("team",), self.send)}
        return retrain(self.settings, Notifier(self.settings.outbox_dir, channels))

    def send(self, _recipient: str, subject: str, body: str) -> None:
        if not self.is_mail_accepted:
            raise DeliveryError(Cause.UNAVAILABLE, "the server is down")
        self.subjects.append(subject)

    def state(self) -> dict[str, object]:
        content: dict[str, object] = json.loads((self.workspace / "state.json").read_bytes())
        return content

    def fill_disk(self, *names: str) -> None:
        """Make every write of these files fail as on a full disk: "No space left on device"."""
        for name in names:  # the name under which `write_file` writes first
            (self.workspace / f".{name}.{os.getpid()}").symlink_to("/dev/full")


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    shutil.copytree(STORE, tmp_path / "store")
    (tmp_path / "workspace").mkdir()
    return Runs(
        Settings(
            git_remote=str(tmp_path / "none.git"),
            workspace_dir=tmp_path / "workspace",
            outbox_dir=tmp_path / "workspace" / "outbox",
            store_dir=tmp_path / "store",
        )
    )


def test_a_run_that_cannot_save_how_it_ended_is_not_reported_as_killed(runs: Runs) -> None:
    runs.fill_disk("state.json")
    for _ in range(2):
        assert runs.run().status == "failed"
        assert not (runs.workspace / "run.json").exists()
    assert runs.subjects == ["Retraining failed (clone)"] * 2


def test_a_run_in_a_full_workspace_is_reported_with_its_reason(runs: Runs) -> None:
    runs.fill_disk("run.json", "state.json")
    runs.settings.outbox_dir.symlink_to("/dev/full")
    result = runs.run()
    assert "No space left on device" in result.body
    assert runs.subjects == ["Retraining failed (start)"]


def test_a_run_that_cannot_notify_is_recorded_and_not_reported_as_killed(runs: Runs) -> None:
    """Its outbox cannot be written, and the mail server accepts nothing."""
    runs.settings.outbox_dir.symlink_to("/dev/full")
    runs.is_mail_accepted = False
    assert runs.run().status == "failed"
    assert runs.state()["status"] == "failed"
    runs.is_mail_accepted = True
    runs.run()
    runs.run()
    assert runs.subjects == ["Retraining failed (clone)"], "once a day, from the first delivery on"


def test_a_killed_run_is_reported_once(runs: Runs) -> None:
    Workspace(runs.settings).start_step("train")
    runs.run()
    runs.run()
    assert runs.subjects == ["Retraining was killed (train)", "Retraining failed (clone)"]


@pytest.mark.parametrize("has_store", [True, False])
def test_a_run_without_events_waits_for_data(runs: Runs, has_store: bool) -> None:
    """The collector makes an empty store before it has received an event."""
    shutil.rmtree(runs.settings.store_dir)
    if has_store:
        with open_writer(runs.settings.store_dir):
            pass
    assert runs.run().status == "no_data"
    assert runs.subjects == []
    assert runs.state()["last_no_data_at"]
    assert runs.state()["last_success_at"] is None


def test_a_store_of_a_later_format_is_an_error_in_a_sentence(runs: Runs) -> None:
    (runs.settings.store_dir / "manifest.json").write_text('{"format": 2}')
    result = runs.run()
    assert (result.status, runs.subjects) == ("failed", ["Retraining failed (start)"])
    assert "a store of format 2; this program reads and writes format 1" in result.body
