"""What `docker-compose.yml` must keep, so that a merge and a deployment arrive in every service."""

import re
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT

SLOTS = {"stable-1", "stable-2", "canary"}
COMPOSE: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.yml")
SERVICES: dict[str, Any] = COMPOSE["services"]
NETWORKS: dict[str, Any] = COMPOSE["networks"]
#: Networks whose containers reach other hosts; those with published ports, whose do not.
EGRESS = {"egress"}
PUBLISHED = {"ingress", "loopback"}


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


def networks_of(service: str) -> set[str]:
    return set(SERVICES[service].get("networks", []))


def test_only_services_that_need_it_reach_other_hosts() -> None:
    assert {name for name in SERVICES if networks_of(name) & EGRESS} == {
        "alertmanager",  # mail and Slack
        "collector",  # a broker and a metadata API elsewhere
        "scheduler",  # git, DVC, mail and Slack
    }
    for name, network in NETWORKS.items():
        internal = str(network.get("internal", False))
        no_route = network.get("driver_opts") == {
            "com.docker.network.bridge.enable_ip_masquerade": "false"
        }
        assert (name in EGRESS) == (internal == "False" and not no_route), name
        assert (name in PUBLISHED) == no_route, name
    assert NETWORKS["database"] == {"internal": "${MARQUEE_DATABASE_INTERNAL:-true}"}
    assert NETWORKS["kafka"] == {"internal": "${MARQUEE_KAFKA_INTERNAL:-true}"}


def test_the_database_of_every_service_is_a_setting() -> None:
    """The networks let them reach a server elsewhere; no service may stay behind."""
    urls = {
        name: url
        for name, service in SERVICES.items()
        if (url := service.get("environment", {}).get("MARQUEE_DATABASE"))
    }
    assert {"migrate", "shipper", "archive", "forget", "quality", "console"} <= urls.keys()
    url = r"\$\{MARQUEE_DATABASE(_OWNER|_READER)?:-mysql\+mysqlconnector://\w+@mysql:3306/marquee\}"
    assert all(re.fullmatch(url, found) for found in urls.values()), urls


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_in_a_network_or_has_none(service: str) -> None:
    """A service without networks would be in Compose's default network, which has a route."""
    assert networks_of(service) or SERVICES[service].get("network_mode") == "none"
    assert len(networks_of(service) & (EGRESS | PUBLISHED)) <= 1, "the route would be undefined"
    has_ports = bool(SERVICES[service].get("ports"))
    assert not has_ports or networks_of(service) & (EGRESS | PUBLISHED)


#: What would share a namespace or a device of the host, or take a protection away.
FORBIDDEN_KEYS = {
    "privileged", "devices", "device_cgroup_rules", "pid", "ipc", "uts", "userns_mode", "cgroup",
    "cgroup_parent", "extra_hosts", "links", "external_links", "volumes_from",
}  # fmt: skip
#: Services without a check of their health.
NOT_CHECKED = {
    "init", "migrate", "archive", "forget", "quality", "export", "query",  # end by themselves
    "nginx-exporter",  # its image has one program only; Prometheus scrapes it
    "stable-1", "stable-2", "canary",  # their image has the check
}  # fmt: skip


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_shares_nothing_with_the_host(service: str) -> None:
    definition = SERVICES[service]
    assert not FORBIDDEN_KEYS & definition.keys()
    assert definition.get("network_mode", "none") == "none"
    assert definition["security_opt"] == ["no-new-privileges:true"]
    assert not [v for v in definition.get("volumes", []) if "shared" in str(v).rsplit(":")[-1]]


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_published_on_loopback_except_for_the_service(service: str) -> None:
    for port in SERVICES[service].get("ports", []):
        assert port.startswith("127.0.0.1:") or (service, port) == (
            "nginx", "${MARQUEE_PORT:-8082}:8082",
        )  # fmt: skip
        assert int(port.rsplit(":", 1)[-1]) > 1024


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_restarted_and_its_health_is_checked(service: str) -> None:
    definition = SERVICES[service]
    if service in ("init", "migrate", "archive", "forget", "quality", "export", "query"):
        assert definition["restart"] == "no"
    else:
        assert definition["restart"] == "unless-stopped"
    has_check = "test" in definition.get("healthcheck", {})
    assert has_check == (service not in NOT_CHECKED)


@pytest.mark.parametrize("service", SERVICES)
def test_images_have_a_tag_that_is_not_latest(service: str) -> None:
    image = SERVICES[service]["image"]
    assert ":" in image.rsplit("/", 1)[-1]
    assert not image.endswith(":latest")


def test_no_script_runs_commands_in_containers_with_more_rights() -> None:
    scripts = [*(ROOT / "scripts").rglob("*.sh"), ROOT / "Makefile"]
    for script in scripts:
        for line in script.read_text().splitlines():
            assert "--privileged" not in line, script
            assert not ("exec" in line and "--user" in line and "docker" in line), script


def test_only_the_follower_and_forget_write_the_recent_activity() -> None:
    mounts = {
        name: [volume for volume in service.get("volumes", []) if volume.startswith("recent:")]
        for name, service in SERVICES.items()
    }
    assert {name: found for name, found in mounts.items() if found} == {
        "recent": ["recent:/recent"],
        "forget": ["recent:/recent"],
        **{slot: ["recent:/recent:ro"] for slot in SLOTS},
    }
