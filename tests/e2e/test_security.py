"""Hardening of every container; exceptions are listed here with their reasons."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.docker import docker
from tests.support.docker_api import ALLOWED, ID, REFUSED
from tests.support.stack import PORTS, PROJECT, Stack

SERVICES = (
    "init", "stable-1", "stable-2", "canary", "nginx", "nginx-exporter", "mysql", "prometheus",
    "alertmanager", "docker-proxy", "cadvisor", "migrate", "shipper", "collector", "recent",
    "scheduler", "console", "archive", "forget", "quality", "export", "query",
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
    "console": (("127.0.0.1",), "MARQUEE_CONSOLE_PORT"),
}
#: Mounted host paths, all read-only but `data/orders` for those that write it.
HOST_PATHS = {
    "init": {"secrets", "monitoring/alertmanager", "data/orders"},
    "nginx": {"nginx", "scripts/containers", "monitoring/release"},
    "mysql": {"scripts/database", "scripts/containers"},
    "prometheus": {"monitoring/prometheus"},
    "alertmanager": {"monitoring/alertmanager", "scripts/containers"},
    "console": {"data/release", "data/orders", "docs"},
    "scheduler": {"data/orders"},
    # No other service has the socket.
    "docker-proxy": {"/var/run/docker.sock", "monitoring/docker-proxy"},
    "cadvisor": {"/sys", "/proc", "/var/lib/docker/image"},  # cgroups and their containers
}


@pytest.fixture(scope="module")
def containers(stack: Stack) -> Iterator[dict[str, dict[str, Any]]]:
    by_hand = ("archive", "forget", "quality", "export", "query")
    stack.compose("up", "--no-start", "--no-deps", *by_hand)
    yield {service: stack.inspect(service) for service in stack.services()}
    stack.compose("rm", "--force", *by_hand)


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
    writable = {m["Destination"] for m in binds if m["RW"]}
    assert writable == ({"/orders"} if service in ("init", "console") else set())


@pytest.mark.parametrize("slot", ["stable-1", "stable-2", "canary"])
def test_slots_only_read_the_recent_activity(
    containers: dict[str, dict[str, Any]], slot: str
) -> None:
    mounts = {m["Destination"]: m["RW"] for m in containers[slot]["Mounts"]}
    assert mounts["/recent"] is False
    (written,) = [m for m in containers["recent"]["Mounts"] if m["Destination"] == "/recent"]
    assert written["RW"]
    store = next(m for m in containers["recent"]["Mounts"] if m["Destination"] == "/store")
    assert not store["RW"]


def test_networks_of_slots_and_database_are_internal(stack: Stack) -> None:
    networks = json.loads(
        docker("network", "inspect", f"{PROJECT}_application", f"{PROJECT}_database")
    )
    assert all(network["Internal"] for network in networks)
    slot = stack.inspect("stable-1")["NetworkSettings"]["Networks"]
    assert set(slot) == {f"{PROJECT}_application"}
    assert set(stack.inspect("mysql")["NetworkSettings"]["Networks"]) == {f"{PROJECT}_database"}


#: Services that mail, git, Kafka or another API is reached from.
EGRESS = {"alertmanager", "collector", "scheduler"}


def test_only_listed_services_have_a_route_outside(
    stack: Stack, containers: dict[str, dict[str, Any]]
) -> None:
    """A service has one if the network of its default route masquerades its packets."""
    for service, container in containers.items():
        networks = container["NetworkSettings"]["Networks"]
        described = json.loads(docker("network", "inspect", *networks)) if networks else []
        routed = {
            network["Name"]
            for network in described
            if not network["Internal"]
            and network["Options"].get("com.docker.network.bridge.enable_ip_masquerade") != "false"
            and network["Driver"] != "null"
        }
        assert routed == ({f"{PROJECT}_egress"} if service in EGRESS else set()), service


def test_a_container_of_the_internal_networks_reaches_no_other_host(stack: Stack) -> None:
    """The default route of `metrics` and of `loopback`: none, or one without an answer."""
    script = "import socket; socket.create_connection(('1.1.1.1', 443), 5)"
    for network in ("metrics", "loopback", "ingress", "kafka", "application", "database"):
        done = subprocess.run(
            ["docker", "run", "--rm", f"--network={PROJECT}_{network}", f"{PROJECT}:stable-1",
             "python", "-c", script], capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 1, network
        assert "OSError" in done.stderr or "TimeoutError" in done.stderr, done.stderr


def test_the_docker_proxy_passes_on_only_requests_of_cadvisor(stack: Stack) -> None:
    """Every other request, with the real ids of containers; the rules: test_docker_proxy.py."""
    container = stack.inspect("mysql")["Id"]
    script = """
import json, sys
from http.client import HTTPConnection
statuses = []
for method, path in json.load(sys.stdin):
    connection = HTTPConnection("docker-proxy", 2375, timeout=20)
    connection.request(method, path)
    statuses.append(connection.getresponse().status)
print(json.dumps(statuses))
"""
    version = docker("version", "--format", "{{.Server.APIVersion}}").strip()
    pairs = [
        (method, path.replace(ID, container).replace("/v1.44", f"/v{version}"))
        for method, path in (*ALLOWED, *REFUSED)
    ]
    done = subprocess.run(
        ["docker", "run", "--rm", "--interactive", f"--network={PROJECT}_docker",
         f"{PROJECT}:stable-1", "python", "-c", script],
        input=json.dumps(pairs), capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    statuses = json.loads(done.stdout)
    assert statuses[: len(ALLOWED)] == [200] * len(ALLOWED)
    assert set(statuses[len(ALLOWED) :]) <= {400, 403}


@pytest.mark.parametrize("image", ["stable-1", "init", "provenance", "deployment"])
def test_no_program_of_our_images_is_setuid_or_setgid(stack: Stack, image: str) -> None:
    found = docker(
        "run", "--rm", "--user=0", "--entrypoint=find", f"{PROJECT}:{image}", "/", "-xdev",
        "-type", "f", "-perm", "/6000",
    )  # fmt: skip
    assert found == ""


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
    assert len(secrets) == 3
    assert all(len(secret) > 40 for secret in secrets)
    readable = "".join(docker("inspect", stack.container(service)) for service in containers)
    for tag in ("stable-1", "stable-2", "canary", "init", "provenance", "deployment"):
        readable += docker("history", "--no-trunc", f"{PROJECT}:{tag}")
        readable += docker("inspect", f"{PROJECT}:{tag}")
    readable += stack.compose("config") + stack.compose("logs", "--no-color")
    assert not [secret for secret in secrets if secret in readable]


@pytest.mark.parametrize(
    ("user", "rights"),
    [("marquee", "SELECT, INSERT, EXECUTE"), ("marquee_reader", "SELECT")],
)
def test_a_database_user_has_only_the_required_grants(stack: Stack, user: str, rights: str) -> None:
    grants = stack.compose(
        "exec", "-T", "mysql", "mariadb", "--user=mysql", "--skip-column-names",
        "--socket=/run/mysqld/mysqld.sock", f"--execute=SHOW GRANTS FOR '{user}'@'%'",
    )  # fmt: skip
    assert f"GRANT {rights} ON `marquee`.* TO" in grants
    assert grants.count("GRANT") == 2
    assert "GRANT USAGE ON *.*" in grants


def test_the_console_mounts_nothing_writable_but_its_counts_and_orders(stack: Stack) -> None:
    mounts = {m["Destination"]: m["RW"] for m in stack.inspect("console")["Mounts"]}
    assert {path for path, is_writable in mounts.items() if is_writable} == {"/console", "/orders"}


def test_secrets_do_not_change_when_init_runs_again(stack: Stack) -> None:
    show = ["run", "--rm", "--user=0", f"--volume={PROJECT}_secrets:/secrets:ro",
            f"{PROJECT}:stable-1", "sha256sum", "/secrets/database_password"]  # fmt: skip
    before = docker(*show)
    stack.compose("up", "-d", "--force-recreate", "--no-deps", "init")
    assert docker("wait", stack.container("init")).strip() == "0"
    assert docker(*show) == before
