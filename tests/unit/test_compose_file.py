"""What `docker-compose.yml` must keep, so that a merge and a deployment arrive in every service."""

from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT

SLOTS = {"stable-1", "stable-2", "canary"}
SERVICES: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.yml")["services"]


@pytest.mark.parametrize("service", SERVICES)
def test_files_of_the_repository_are_mounted_as_directories(service: str) -> None:
    sources = [volume.split(":")[0] for volume in SERVICES[service].get("volumes", [])]
    files = [ROOT / source for source in sources if source.startswith("./")]
    assert all(file.is_dir() for file in files), files


def test_only_nginx_and_the_simulated_users_depend_on_slots() -> None:
    """Any other service can be updated without them (scripts/release/stack.sh)."""

    def dependencies(service: str) -> set[str]:
        direct = set(SERVICES[service].get("depends_on", {}))
        return direct.union(*(dependencies(name) for name in direct))

    dependent = {service for service in SERVICES if dependencies(service) & SLOTS}
    assert dependent == {"nginx", "simulator"}


def test_slots_depend_on_no_other_service() -> None:
    assert not [slot for slot in SLOTS if "depends_on" in SERVICES[slot]]


def test_only_the_follower_writes_the_recent_activity() -> None:
    mounts = {
        name: [volume for volume in service.get("volumes", []) if volume.startswith("recent:")]
        for name, service in SERVICES.items()
    }
    assert {name: found for name, found in mounts.items() if found} == {
        "recent": ["recent:/recent"],
        **{slot: ["recent:/recent:ro"] for slot in SLOTS},
    }
