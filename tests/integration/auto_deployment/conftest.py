"""A world to make versions in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mailbox import Mailbox
from tests.support.retraining import World, make_origin


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    box.start()
    yield box
    box.stop()


@pytest.fixture
def world(tmp_path: Path, mailbox: Mailbox) -> World:
    """Twenty days are collected, no version is made yet, mail goes to `mailbox`."""
    make_origin(tmp_path)
    world = World(tmp_path, mail_port=mailbox.port)
    world.collect(20)
    return world
