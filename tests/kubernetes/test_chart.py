"""The Helm chart: rendered for several values files, valid for the API server, and restricted.

Needs neither a cluster nor the program helm; has an environment of its own: `make test-chart`.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

helm = pytest.importorskip("helm_python", reason="make test-chart has an environment with helm")
kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="make test-chart")

ROOT = Path(__file__).parents[2]
CHART = ROOT / "kubernetes"
VALUES = Path(__file__).parent / "values"
#: Values files by name; each with the images.
SETS = {
    "trial": [CHART / "values-trial.yaml"],
    "demo": [CHART / "values-trial.yaml", VALUES / "demo.yaml"],
    "production": [VALUES / "production.yaml"],
}
KUBERNETES = ("1.30", "1.34")
SLOTS = ("stable-1", "stable-2", "canary")
#: Kinds of the Prometheus operator, of which the API server has no schema.
CUSTOM = {"PrometheusRule", "ServiceMonitor"}
#: Networks of docker-compose.yml for published ports, the ways out, and Docker's socket.
WITHOUT_POLICY = {"ingress", "loopback", "docker", "egress"}
Object = dict[str, Any]


def merge(values: Object, other: Object) -> Object:
    """Values with those of another file in their place, as helm does."""
    merged = dict(values)
    for name, value in other.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = merge(merged[name], value) if both else value
    return merged


def read_values(name: str) -> Object:
    values: Object = {}
    for file in [VALUES / "images.yaml", *SETS[name]]:
        values = merge(values, yaml.safe_load(file.read_text()))
    return values


def render(values: Object) -> list[Object]:
    """Return all objects of the chart, and the slots, whose definitions stand in a ConfigMap."""
    with helm.Chart.load(str(CHART)) as chart:
        files = chart.render(values, name="marquee", namespace="movies")
    objects = [
        rendered
        for file, text in files.items()
        if file.endswith(".yaml")
        for rendered in yaml.safe_load_all(text)
        if rendered
    ]
    slots = find(objects, "ConfigMap", "marquee-slots")["data"]
    return objects + [json.loads(slots[slot]) for slot in SLOTS]


def find(objects: list[Object], kind: str, name: str) -> Object:
    [found] = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    return found


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Name and pod (metadata, spec) of each workload."""
    for item in objects:
        name = f"{item['kind']} {item['metadata']['name']}"
        if item["kind"] == "Pod":
            yield name, item
        elif "template" in item.get("spec", {}):
            yield name, item["spec"]["template"]


@pytest.fixture(scope="module", params=SETS)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return render(read_values(request.param))


@pytest.mark.parametrize("name", SETS)
def test_helm_lint_has_no_findings(name: str) -> None:
    report = helm.lint(str(CHART), read_values(name), strict=True, kube_version="1.34.0")
    findings = [m for m in report["messages"] if "icon is recommended" not in str(m)]
    assert not findings


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_object_is_valid_for_the_api_server(objects: list[Object], version: str) -> None:
    for item in objects:
        if item["kind"] not in CUSTOM:
            kubernetes_validate.validate(item, version, strict=True)


def test_names_are_unique_and_labels_are_the_standard_ones(objects: list[Object]) -> None:
    names = [(o["kind"], o["metadata"]["name"]) for o in objects]
    assert len(names) == len(set(names))
    for item in objects:
        labels = item["metadata"]["labels"]
        for name in ("name", "instance", "component"):
            assert f"app.kubernetes.io/{name}" in labels, item["metadata"]["name"]


def test_every_container_is_restricted(objects: list[Object]) -> None:
    for name, pod in pods(objects):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["enableServiceLinks"] is False, name
        assert spec["automountServiceAccountToken"] is name.endswith("marquee-release"), name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        for container in spec.get("initContainers", []) + spec["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"], name
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["capabilities"]["drop"] == ["ALL"], name
            # The kubelet makes directories of a node as root: their owner is set once.
            may_add = ["CHOWN"] if container["name"] == "directories" else None
            assert security["capabilities"].get("add") == may_add, name
            assert ("runAsUser" in security) == (container["name"] == "directories"), name
            for amounts in ("requests", "limits"):
                assert {"cpu", "memory"} <= container["resources"][amounts].keys(), name


def test_long_running_containers_have_probes(objects: list[Object]) -> None:
    for name, pod in pods(objects):
        if name.startswith(("Job ", "Pod ")):
            continue
        for container in pod["spec"]["containers"]:
            assert "readinessProbe" in container, name
            # Restarting the process of a release would interrupt it.
            assert ("livenessProbe" in container) != (container["name"] == "release"), name


def test_images_of_this_project_have_digests(objects: list[Object]) -> None:
    for name, pod in pods(objects):
        for container in pod["spec"]["containers"]:
            if "marquee/" in container["image"]:
                assert "@sha256:" in container["image"], name


def test_every_service_and_policy_selects_pods(objects: list[Object]) -> None:
    labels = [pod["metadata"]["labels"] for _, pod in pods(objects)]
    for item in objects:
        spec = item.get("spec", {})
        selector = {
            "Service": spec.get("selector"),
            "PodDisruptionBudget": spec.get("selector", {}).get("matchLabels"),
            "NetworkPolicy": spec.get("podSelector", {}).get("matchLabels"),
        }.get(item["kind"])
        if selector and "network.marquee/clients" not in selector:
            assert any(selector.items() <= found.items() for found in labels), item["metadata"]


def test_networks_are_those_of_the_compose_file(objects: list[Object]) -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    names = {"nginx": "edge", "stable-1": "slot", "shipper": "node", "recent": "node"}
    expected: dict[str, set[str]] = {}
    for service, definition in services.items():
        component = names.get(service, service)
        networks = set(definition.get("networks", [])) - WITHOUT_POLICY
        expected[component] = expected.get(component, set()) | networks
    # Prometheus reads the slots and the exporter of the edge in their own pods.
    for component in ("slot", "edge", "release"):
        expected[component] = expected.get(component, set()) | {"metrics"}
    for name, pod in pods(objects):
        labels = pod["metadata"]["labels"]
        component = labels["app.kubernetes.io/component"]
        prefix = "network.marquee/"
        networks = {n.removeprefix(prefix) for n in labels if n.startswith(prefix)}
        allowed = expected.get(component, set())
        assert networks - WITHOUT_POLICY - {"clients"} == allowed, name


def test_the_slots_have_no_password_of_the_database(objects: list[Object]) -> None:
    for slot in SLOTS:
        pod = find(objects, "Deployment", f"marquee-{slot}")["spec"]["template"]
        assert not any("secret" in volume for volume in pod["spec"]["volumes"])
        assert "DATABASE" not in json.dumps(pod)
        assert "network.marquee/database" not in pod["metadata"]["labels"]


def test_nginx_has_the_configuration_of_the_repository(objects: list[Object]) -> None:
    data = find(objects, "ConfigMap", "marquee-edge")["data"]
    assert data["nginx.conf"].strip() == (ROOT / "nginx" / "nginx.conf").read_text().strip()
    ours = [line.split() for line in data["slots.conf"].splitlines() if "server " in line]
    compose = (ROOT / "nginx" / "slots.conf").read_text()
    theirs = [line.split() for line in compose.splitlines() if "server " in line]
    assert [line[2:] for line in ours] == [line[2:] for line in theirs]
    assert [line[1] for line in ours] == [
        f"marquee-{slot}.movies.svc.cluster.local:8082" for slot in SLOTS
    ]
    assert "127.0.0.11" not in data["slots.conf"]


def test_a_slot_is_one_address(objects: list[Object]) -> None:
    for slot in SLOTS:
        spec = find(objects, "Service", f"marquee-{slot}")["spec"]
        assert spec.get("clusterIP") != "None"
        assert spec.get("type", "ClusterIP") == "ClusterIP"


def test_the_database_users_are_those_of_the_stack() -> None:
    objects = render(read_values("trial"))
    sql = find(objects, "Secret", "marquee-database-init")["stringData"]["init.sql"]
    source = (ROOT / "app" / "provisioning" / "database.py").read_text()
    template = re.search(r'_INIT_SQL = """\\\n(.*?)"""', source, re.DOTALL)
    assert template
    pattern = r"(?<=IDENTIFIED BY ').*?(?=')"
    assert re.sub(pattern, "", sql).split() == re.sub(pattern, "", template[1]).split()


def test_rules_are_those_of_the_repository() -> None:
    objects = render(read_values("production"))
    groups = find(objects, "PrometheusRule", "marquee-rules")["spec"]["groups"]
    directory = ROOT / "monitoring" / "prometheus" / "rules"
    for name in ("alerts", "recording"):
        [expected] = yaml.safe_load((directory / f"{name}.yml").read_text())["groups"]
        [found] = [group for group in groups if group["name"] == f"{expected['name']}-{name}"]
        assert found["rules"] == expected["rules"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slots": {"worker": 2}}, "worker"),
        ({"edge": {"service": {"type": "Ingress"}}}, "type"),
        ({"database": {"url": "mysql+mysqlconnector://user:password@host/db"}}, "url"),
        ({"images": {"service": "marquee@sha256:1"}}, "service"),
        ({"release": {"settings": {"WINDOW": "2h"}}}, "WINDOW"),
    ],
)
def test_the_schema_refuses_invalid_values(change: Object, message: str) -> None:
    values = merge(read_values("trial"), change)
    with helm.Chart.load(str(CHART)) as chart, pytest.raises(helm.HelmError, match=message):
        chart.render(values, name="marquee", namespace="movies")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("trial", {"images": {"release": ""}}, "images.release is required"),
        ("production", {"database": {"existingSecret": ""}}, "database.existingSecret is required"),
        ("production", {"prometheus": {"url": ""}}, "prometheus.url is required"),
    ],
)
def test_missing_values_are_named(name: str, change: Object, message: str) -> None:
    with pytest.raises(helm.HelmError, match=message):
        render(merge(read_values(name), change))
