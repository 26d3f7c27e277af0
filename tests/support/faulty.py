"""Slots whose image has a fault."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.conftest import ROOT
from tests.support.docker import docker
from tests.support.stack import PROJECT, Stack

FAULTY = ROOT / "tests" / "e2e" / "faulty"


@contextmanager
def faulty_canary(stack: Stack, fault: str) -> Iterator[None]:
    """Deploy an image with a fault to the canary slot, by its tag as a release does."""
    original = docker("image", "inspect", "--format", "{{.Id}}", f"{PROJECT}:canary").strip()
    docker(
        "build", "--quiet", f"--build-arg=BASE={PROJECT}:stable-1", f"--build-arg=FAULT={fault}",
        f"--tag={PROJECT}:canary", str(FAULTY),
    )  # fmt: skip
    try:
        stack.recreate("canary")
        yield
    finally:
        docker("tag", original, f"{PROJECT}:canary")
        stack.recreate("canary")
