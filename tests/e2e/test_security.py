"""Every running container is read and held to the design; exceptions stand here with reasons."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.stack import PROJECT, Stack, docker

SERVICES = (
    "init", "stable-1", "stable-2", "canary", "nginx", "nginx-exporter", "mysql", "prometheus",
    "alertmanager", "docker-proxy", "cadvisor", "migrate", "shipper", "collector", "scheduler",
    "archive",
)  # fmt: skip

#: Runs as root, and why. None of them is reachable from outside.
ROOT_USER = {
    "init": "gives each secret the owner that reads it; runs once, without a network",
    "docker-proxy": "Docker's socket belongs to root",
    "cadvisor": "reads every container's cgroup files",
}
ADDED_CAPABILITIES = {
    "init": {"CHOWN", "DAC_OVERRIDE"},  # writes files for other owners, reads an operator's own
}
#: More than a gigabyte, and why.
MEMORY = {"scheduler": 2 * 2**30}  # trains
PUBLISHED = {
    "nginx": {("0.0.0.0", "8082"), ("::", "8082")},
    "prometheus": {("127.0.0.1", "9090")},
    "alertmanager": {("127.0.0.1", "9093")},
    "shipper": {("127.0.0.1", "8083")},
}
#: Host paths that are mounted, all read-only.
HOST_PATHS = {
    "init": {"secrets", "monitoring/alertmanager"},
    "nginx": {"nginx/nginx.conf", "nginx/tls", "monitoring/release"},
    "mysql": {"scripts/database/start.sh"},
    "prometheus": {"monitoring/prometheus"},
    "alertmanager": {"monitoring/alertmanager/messages.tmpl"},
    "docker-proxy": {"/var/run/docker.sock"},  # lets GET through, and is the only one to hold it
    "cadvisor": {"/sys", "/proc", "/var/lib/docker/image"},  # cgroups, and whose they are
}


@pytest.fixture(scope="module")
def containers(stack: Stack) -> Iterator[dict[str, dict[str, Any]]]:
    stack.compose("up", "--no-start", "--no-deps", "archive")  # runs by hand alone
    yield {service: stack.inspect(service) for service in stack.services()}
    stack.compose("rm", "--force", "archive")


def test_every_service_is_looked_at(containers: dict[str, dict[str, Any]]) -> None:
    assert set(containers) == set(SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_it_is_contained(containers: dict[str, dict[str, Any]], service: str) -> None:
    found = containers[service]
    host, user = found["HostConfig"], found["Config"]["User"].split(":")[0]
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
def test_it_is_bounded(containers: dict[str, dict[str, Any]], service: str) -> None:
    host = containers[service]["HostConfig"]
    assert 0 < host["Memory"] <= MEMORY.get(service, 2**30)
    assert 0 < host["NanoCpus"] <= 10**9
    assert 0 < host["PidsLimit"] <= 256
    assert set(host["LogConfig"]["Config"]) == {"max-size", "max-file"}


@pytest.mark.parametrize("service", SERVICES)
def test_it_publishes_only_what_it_must(
    containers: dict[str, dict[str, Any]], service: str
) -> None:
    bindings = (containers[service]["NetworkSettings"]["Ports"] or {}).values()
    published = {(b["HostIp"], b["HostPort"]) for binding in bindings for b in binding or []}
    assert published <= PUBLISHED.get(service, set())
    assert bool(published) == (service in PUBLISHED)


@pytest.mark.parametrize("service", SERVICES)
def test_it_mounts_only_what_it_must(
    stack: Stack, containers: dict[str, dict[str, Any]], service: str
) -> None:
    mounts = containers[service]["Mounts"]
    binds = [m for m in mounts if m["Type"] == "bind"]
    paths = {m["Source"].removeprefix(f"{stack.clone}/") for m in binds}
    assert paths == HOST_PATHS.get(service, set())
    assert not any(m["RW"] for m in binds)


def test_slots_and_database_reach_nothing_outside(stack: Stack) -> None:
    networks = json.loads(
        docker("network", "inspect", f"{PROJECT}_application", f"{PROJECT}_database")
    )
    assert all(network["Internal"] for network in networks)
    slot = stack.inspect("stable-1")["NetworkSettings"]["Networks"]
    assert set(slot) == {f"{PROJECT}_application"}
    assert set(stack.inspect("mysql")["NetworkSettings"]["Networks"]) == {f"{PROJECT}_database"}


def test_docker_is_read_only_through_its_proxy(stack: Stack) -> None:
    proxy = "http://docker-proxy:2375"
    ask = f"from urllib.request import *; urlopen(Request('{proxy}/{{}}', method='{{}}'))"
    image = f"{PROJECT}:stable-1"
    network = f"--network={PROJECT}_docker"
    docker("run", "--rm", network, image, "python", "-c", ask.format("containers/json", "GET"))
    for path, method in (("containers/x/stop", "POST"), ("secrets", "GET"), ("swarm", "GET")):
        with pytest.raises(AssertionError, match="403"):
            docker("run", "--rm", network, image, "python", "-c", ask.format(path, method))


def test_no_secret_stands_where_it_could_be_read(
    stack: Stack, containers: dict[str, dict[str, Any]]
) -> None:
    read = (
        "for f in /kept/*; do cat $f; echo; done; grep -o \"BY '[^']*\" /init/init.sql | cut -c5-"
    )
    secrets = set(
        docker(
            "run", "--rm", "--user=0", f"--volume={PROJECT}_secrets:/kept:ro",
            f"--volume={PROJECT}_database-init:/init:ro", f"{PROJECT}:stable-1", "sh", "-c", read,
        ).split()
    )  # fmt: skip
    assert len(secrets) == 2
    assert all(len(secret) > 40 for secret in secrets)
    told = "".join(docker("inspect", stack.container(service)) for service in containers)
    for tag in ("stable-1", "stable-2", "canary", "init", "provenance", "deployment"):
        told += docker("history", "--no-trunc", f"{PROJECT}:{tag}")
        told += docker("inspect", f"{PROJECT}:{tag}")
    told += stack.compose("config") + stack.compose("logs", "--no-color")
    assert not [secret for secret in secrets if secret in told]


def test_the_database_user_may_only_what_it_must(stack: Stack) -> None:
    grants = stack.compose(
        "exec", "-T", "mysql", "mariadb", "--user=mysql", "--skip-column-names",
        "--socket=/run/mysqld/mysqld.sock", "--execute=SHOW GRANTS FOR 'marquee'@'%'",
    )  # fmt: skip
    assert "GRANT SELECT, INSERT, EXECUTE ON `marquee`.*" in grants
    assert grants.count("GRANT") == 2
    assert "GRANT USAGE ON *.*" in grants


def test_a_second_start_keeps_the_secrets(stack: Stack) -> None:
    show = ["run", "--rm", "--user=0", f"--volume={PROJECT}_secrets:/kept:ro",
            f"{PROJECT}:stable-1", "sha256sum", "/kept/database_password"]  # fmt: skip
    before = docker(*show)
    stack.compose("up", "-d", "--force-recreate", "--no-deps", "init")
    assert docker("wait", stack.container("init")).strip() == "0"
    assert docker(*show) == before
