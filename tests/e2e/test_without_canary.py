"""The stack serves without a canary, also after a restart of the Docker daemon."""

import os
from collections.abc import Iterator

import pytest
import requests

from tests.support.docker import docker, restart_docker
from tests.support.load import assert_available, attack
from tests.support.soak import soak_only
from tests.support.stack import PROJECT, URL, Stack
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def stack_without_canary(stack: Stack) -> Iterator[Stack]:
    """NGINX and the stable slots, started while there is no canary image."""
    stack.compose("rm", "--stop", "--force", "canary", "nginx", "stable-1", "stable-2")
    docker("image", "rm", f"{PROJECT}:canary")
    stack.compose("up", "-d", "--no-build", "--wait", "nginx", "stable-1", "stable-2")
    yield stack
    stack.compose("up", "-d", "--wait")


def test_no_request_fails_without_a_canary_image(stack_without_canary: Stack) -> None:
    assert "canary" not in stack_without_canary.services()
    result = attack(URL, range(1000), rate=100, seconds=3)
    assert_available(result)
    assert set(result.slots) == {"stable-1", "stable-2"}


def test_the_stack_serves_again_when_nginx_starts_before_the_slots(
    stack_without_canary: Stack,
) -> None:
    """As after a restart of the machine: NGINX starts while no slot has an address."""
    services = ("nginx", "stable-1", "stable-2")
    containers = [stack_without_canary.container(service) for service in services]
    docker("stop", "--time=5", *containers)
    for container in containers:
        docker("start", container)
    check_serving(stack_without_canary)


@soak_only  # the stacks of other processes run in the same daemon
@pytest.mark.skipif(
    os.environ.get("SYSTEM") != "1", reason="restarts the machine's Docker daemon: SYSTEM=1"
)
def test_the_stack_serves_again_after_a_restart_of_docker(stack_without_canary: Stack) -> None:
    restart_docker()
    check_serving(stack_without_canary)


def check_serving(stack: Stack) -> None:
    """Check that both stable slots respond again."""

    def responds() -> bool:
        try:
            return requests.get(f"{URL}/recommend/42", timeout=0.6).ok
        except requests.RequestException:
            return False

    eventually(responds, 90, "a response after the restart")
    for slot in ("stable-1", "stable-2"):
        stack.wait_until_serving(slot)
    assert_available(attack(URL, range(100), 100, 2))
