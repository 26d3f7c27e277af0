"""Environments in which versions are built: prepared once for the session, copied for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mailbox import Mailbox
from tests.support.retraining import RetrainingEnvironment, create_origin

#: Days that are collected in each of them.
DAYS = 20


def copy_environment(
    template: RetrainingEnvironment, directory: Path, mailbox: Mailbox | None = None
) -> RetrainingEnvironment:
    shutil.copytree(template.directory, directory, symlinks=True)
    return RetrainingEnvironment(directory, mailbox.port if mailbox else 0, day=template.day)


@pytest.fixture(scope="session")
def collected_template(tmp_path_factory: pytest.TempPathFactory) -> RetrainingEnvironment:
    environment = RetrainingEnvironment(tmp_path_factory.mktemp("collected"))
    create_origin(environment.directory)
    environment.collect(DAYS)
    return environment


@pytest.fixture(scope="session")
def committed_template(
    collected_template: RetrainingEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> RetrainingEnvironment:
    environment = copy_environment(
        collected_template, tmp_path_factory.mktemp("committed") / "environment"
    )
    environment.dvc_remote.write_text("no directory")  # like a lost mount: nothing can be created
    result = environment.retrain()
    assert result["subject"] == "Retraining failed (push-data)", result
    assert "version 2 is committed and waits to be pushed" in result["body"]
    environment.dvc_remote.unlink()
    (environment.workspace / "state.json").unlink()  # no notification was sent of this failure
    return environment


@pytest.fixture(scope="session")
def published_template(
    committed_template: RetrainingEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> RetrainingEnvironment:
    environment = copy_environment(
        committed_template, tmp_path_factory.mktemp("published") / "environment"
    )
    result = environment.retrain()
    assert (result["status"], result["version"]) == ("published", 2), result
    return environment


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    mailbox = Mailbox()
    mailbox.start()
    yield mailbox
    mailbox.stop()


@pytest.fixture
def collected(
    collected_template: RetrainingEnvironment, tmp_path: Path, mailbox: Mailbox
) -> RetrainingEnvironment:
    """Twenty days are collected, no version is built yet, mail is sent to `mailbox`."""
    return copy_environment(collected_template, tmp_path / "environment", mailbox)


@pytest.fixture
def committed(
    committed_template: RetrainingEnvironment, tmp_path: Path, mailbox: Mailbox
) -> RetrainingEnvironment:
    """Version 2 is committed and waits to be pushed."""
    return copy_environment(committed_template, tmp_path / "environment", mailbox)


@pytest.fixture
def published(
    published_template: RetrainingEnvironment, tmp_path: Path, mailbox: Mailbox
) -> RetrainingEnvironment:
    """Version 2 is published."""
    return copy_environment(published_template, tmp_path / "environment", mailbox)
