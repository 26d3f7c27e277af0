"""An environment in which versions are built."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mailbox import Mailbox
from tests.support.retraining import RetrainingEnvironment, create_origin


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    mailbox = Mailbox()
    mailbox.start()
    yield mailbox
    mailbox.stop()


@pytest.fixture
def environment(tmp_path: Path, mailbox: Mailbox) -> RetrainingEnvironment:
    """Twenty days are collected, no version is built yet, mail is sent to `mailbox`."""
    create_origin(tmp_path)
    environment = RetrainingEnvironment(tmp_path, smtp_port=mailbox.port)
    environment.collect(20)
    return environment
