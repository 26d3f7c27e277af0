"""Hardening of every container; exceptions are listed here with their reasons."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.docker import docker
from tests.support.stack import PORTS, PROJECT, Stack

SERVICES = (
    "init", "stable-1", "stable-2", "canary", "nginx", "nginx-exporter", "mysql", "prometheus",
    "alertmanager", "docker-proxy", "cadvisor", "migrate", "shipper", "collector", "scheduler",
    "archive",
)  # fmt: skip

#: Services that run as root, and why. None is reachable from outside.
ROOT_USER = {
    "init": "sets the owner of each secret; runs once, without a network",
    "docker-proxy": "the socket of Docker belongs to root",
    "cadvisor": "reads every container's cgroup files",
}
ADDED_CAPABILITIES = {
    "init": {"CHOWN", "DAC_OVERRIDE"},  # writes files for other users, reads those of the operator
}
#: Memory limits above 1 GiB.
MAX_MEMORY_BYTES = {"scheduler": 2 * 2**30}  # trains models
#: Addresses and setting of the port.
PUBLISHED = {
    "nginx": (("0.0.0.0", "::"), "MARQUEE_PORT"),
    "prometheus": (("127.0.0.1",), "MARQUEE_PROMETHEUS_PORT"),
    "alertmanager": (("127.0.0.1",), "MARQUEE_ALERTMANAGER_PORT"),
    "shipper": (("127.0.0.1",), "MARQUEE_SHIPPER_PORT"),
}
#: Mounted host paths, all read-only.
HOST_PATHS = {
    "init": {"secrets", "monitoring/alertmanager"},
    "nginx": {"nginx", "scripts/containers", "monitoring/release"},
    "mysql": {"scripts/database", "scripts/containers"},
    "prometheus": {"monitoring/prometheus"},
    "alertmanager": {"monitoring/alertmanager", "scripts/containers"},
    "docker-proxy": {"/var/run/docker.sock"},  # no other service has the socket
    "cadvisor": {"/sys", "/proc", "/var/lib/docker/image"},  # cgroups and their containers
}


@pytest.fixture(scope="module")
def containers(stack: Stack) -> Iterator[dict[str, dict[str, Any]]]:
    stack.compose("up", "--no-start", "--no-deps", "archive")  # is only run by hand
    yield {service: stack.inspect(service) for service in stack.services()}
    stack.compose("rm", "--force", "archive")


def test_every_service_is_covered_here(containers: dict[str, dict[str, Any]]) -> None:
    assert set(containers) == set(SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_has_no_privileges(containers: dict[str, dict[str, Any]], service: str) -> None:
    container = containers[service]
    host, user = container["HostConfig"], container["Config"]["User"].split(":")[0]
    assert (user in ("", "0", "root")) == (service in ROOT_USER), user
    assert host["ReadonlyRootfs"]
    assert not host["Privileged"]
    assert host["CapDrop"] == ["ALL"]
    added = {name.removeprefix("CAP_") for name in host["CapAdd"] or []}
    assert added == ADDED_CAPABILITIES.get(service, set())
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["PidMode"] == host["UTSMode"] == ""
    assert host["IpcMode"] in ("private", "")


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_has_resource_limits(
    containers: dict[str, dict[str, Any]], service: str
) -> None:
    host = containers[service]["HostConfig"]
    assert 0 < host["Memory"] <= MAX_MEMORY_BYTES.get(service, 2**30)
    assert 0 < host["NanoCpus"] <= 10**9
    assert 0 < host["PidsLimit"] <= 256
    assert set(host["LogConfig"]["Config"]) == {"max-size", "max-file"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_publishes_only_the_listed_ports(
    containers: dict[str, dict[str, Any]], service: str
) -> None:
    bindings = (containers[service]["NetworkSettings"]["Ports"] or {}).values()
    published = {(b["HostIp"], b["HostPort"]) for binding in bindings for b in binding or []}
    addresses, setting = PUBLISHED.get(service, ((), ""))
    assert published <= {(address, str(PORTS[setting])) for address in addresses}
    assert bool(published) == (service in PUBLISHED)


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_mounts_only_the_listed_host_paths(
    stack: Stack, containers: dict[str, dict[str, Any]], service: str
) -> None:
    mounts = containers[service]["Mounts"]
    binds = [m for m in mounts if m["Type"] == "bind"]
    paths = {m["Source"].removeprefix(f"{stack.clone}/") for m in binds}
    assert paths == HOST_PATHS.get(service, set())
    assert not any(m["RW"] for m in binds)


def test_networks_of_slots_and_database_are_internal(stack: Stack) -> None:
    networks = json.loads(
        docker("network", "inspect", f"{PROJECT}_application", f"{PROJECT}_database")
    )
    assert all(network["Internal"] for network in networks)
    slot = stack.inspect("stable-1")["NetworkSettings"]["Networks"]
    assert set(slot) == {f"{PROJECT}_application"}
    assert set(stack.inspect("mysql")["NetworkSettings"]["Networks"]) == {f"{PROJECT}_database"}


def test_the_docker_proxy_forwards_only_reading_requests(stack: Stack) -> None:
    proxy = "http://docker-proxy:2375"
    request = f"from urllib.request import *; urlopen(Request('{proxy}/{{}}', method='{{}}'))"
    image = f"{PROJECT}:stable-1"
    network = f"--network={PROJECT}_docker"
    docker("run", "--rm", network, image, "python", "-c", request.format("containers/json", "GET"))
    for path, method in (("containers/x/stop", "POST"), ("secrets", "GET"), ("swarm", "GET")):
        with pytest.raises(AssertionError, match="403"):
            docker("run", "--rm", network, image, "python", "-c", request.format(path, method))


def test_no_secret_is_in_images_containers_configuration_or_logs(
    stack: Stack, containers: dict[str, dict[str, Any]]
) -> None:
    read = (
        "for f in /secrets/*; do cat $f; echo; done;grep -o \"BY '[^']*\" /init/init.sql | cut -c5-"
    )
    secrets = set(
        docker(
            "run", "--rm", "--user=0", f"--volume={PROJECT}_secrets:/secrets:ro",
            f"--volume={PROJECT}_database-init:/init:ro", f"{PROJECT}:stable-1", "sh", "-c", read,
        ).split()
    )  # fmt: skip
    assert len(secrets) == 2
    assert all(len(secret) > 40 for secret in secrets)
    readable = "".join(docker("inspect", stack.container(service)) for service in containers)
    for tag in ("stable-1", "stable-2", "canary", "init", "provenance", "deployment"):
        readable += docker("history", "--no-trunc", f"{PROJECT}:{tag}")
        readable += docker("inspect", f"{PROJECT}:{tag}")
    readable += stack.compose("config") + stack.compose("logs", "--no-color")
    assert not [secret for secret in secrets if secret in readable]


def test_the_database_user_has_only_the_required_grants(stack: Stack) -> None:
    grants = stack.compose(
        "exec", "-T", "mysql", "mariadb", "--user=mysql", "--skip-column-names",
        "--socket=/run/mysqld/mysqld.sock", "--execute=SHOW GRANTS FOR 'marquee'@'%'",
    )  # fmt: skip
    assert "GRANT SELECT, INSERT, EXECUTE ON `marquee`.*" in grants
    assert grants.count("GRANT") == 2
    assert "GRANT USAGE ON *.*" in grants


def test_secrets_do_not_change_when_init_runs_again(stack: Stack) -> None:
    show = ["run", "--rm", "--user=0", f"--volume={PROJECT}_secrets:/secrets:ro",
            f"{PROJECT}:stable-1", "sha256sum", "/secrets/database_password"]  # fmt: skip
    before = docker(*show)
    stack.compose("up", "-d", "--force-recreate", "--no-deps", "init")
    assert docker("wait", stack.container("init")).strip() == "0"
    assert docker(*show) == before
