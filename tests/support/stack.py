"""The unchanged compose file as a project of its own, separate from any other on the machine."""

import itertools
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import requests

from app.settings import StackSettings
from tests.conftest import ROOT
from tests.support.docker import docker
from tests.support.waiting import eventually

#: Of the process: several run stacks side by side (pytest-xdist). 0 without.
NUMBER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PROJECT = f"marquee-e2e-{NUMBER}"
#: Settings of the stack's published ports.
PORTS: dict[str, int] = {
    f"MARQUEE_{name}".upper(): field.default + 10 * NUMBER
    for name, field in StackSettings.model_fields.items()
    if name.endswith("port")
}
URL = f"http://127.0.0.1:{PORTS['MARQUEE_PORT']}"
SHIPPER_URL = f"http://127.0.0.1:{PORTS['MARQUEE_SHIPPER_PORT']}"
PROMETHEUS = f"http://127.0.0.1:{PORTS['MARQUEE_PROMETHEUS_PORT']}"
ALERTMANAGER = f"http://127.0.0.1:{PORTS['MARQUEE_ALERTMANAGER_PORT']}"
CONSOLE = f"http://127.0.0.1:{PORTS['MARQUEE_CONSOLE_PORT']}"
MAILDEV = f"http://127.0.0.1:{PORTS['MARQUEE_MAILDEV_PORT']}"
#: With which containers send mail to maildev.
MAIL_SETTINGS = {
    "MARQUEE_SMTP_HOST": "maildev:1025",
    "MARQUEE_SMTP_TLS": "false",
    "MARQUEE_MAIL_FROM": "marquee@localhost",
    "MARQUEE_MAIL_TO": "team@localhost",
}
SLOTS = ("stable-1", "stable-2", "canary")
T = TypeVar("T")
#: How long the replacement of a container may take.
_REPLACEMENT_SECONDS = 120
#: Of `docker` and `docker compose`, and of `Stack.container`, while a container is being replaced.
_REPLACEMENT_ERRORS = ("No such container", "No such object", "is being replaced")


def find_missing_engine() -> str | None:
    """Return why no containers can run on this machine; None where they can."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        return "no Docker engine responds (make test SYSTEM=1 installs and starts one)"
    return None


def find_used_port() -> str | None:
    """Return which port of the stack another program uses; None if all are free."""
    for port in PORTS.values():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return f"port {port} of 127.0.0.1 is in use"
    return None


@dataclass
class Stack:
    """A clone of the repository and the containers of its compose file."""

    clone: Path

    @property
    def environment(self) -> dict[str, str]:
        """Environment of `docker compose`: own names and ports, and this machine's certificates."""
        bundle = os.environ.get("SSL_CERT_FILE", "")
        return {
            # Not the settings of other tests, such as the database that isolated_provenance sets.
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith("MARQUEE_") or name.startswith("MARQUEE_BUILD_")
            },
            "COMPOSE_PROJECT_NAME": PROJECT,
            "MARQUEE_IMAGE": PROJECT,
            **{name: str(port) for name, port in PORTS.items()},
            **({"MARQUEE_BUILD_CA": bundle} if bundle else {}),
        }

    def compose(self, *arguments: str, timeout: float = 600, stdin: str | None = None) -> str:
        """Run `docker compose` in the clone; return its output, or fail with its errors."""
        process = subprocess.run(
            ["docker", "compose", *arguments],
            cwd=self.clone,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        output = process.stdout
        assert process.returncode == 0, f"docker compose {arguments}: {output}{process.stderr}"
        return output

    def sql(self, statement: str) -> list[list[str]]:
        """Run a statement with the database's own client; return the rows."""
        output = self.compose(
            "exec", "-T", "mysql", "mariadb", "--user=mysql", "--socket=/run/mysqld/mysqld.sock",
            "--skip-column-names", "--database=marquee", f"--execute={statement}",
        )  # fmt: skip
        return [line.split("\t") for line in output.splitlines()]

    def accepts_statements(self) -> bool:
        """Return whether the database is up."""
        try:
            return bool(self.sql("select 1"))
        except AssertionError:
            return False

    def read_store_statistics(self) -> dict[str, Any]:
        """Return what `marquee data stats` prints of the event store."""
        output = self.compose("exec", "-T", "collector", "marquee", "data", "stats", "--json")
        statistics: dict[str, Any] = json.loads(output)
        return statistics

    def write_settings(self, settings: Mapping[str, str]) -> None:
        """Write the clone's `.env`."""
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        (self.clone / ".env").write_text(text)

    def services(self) -> dict[str, dict[str, Any]]:
        """Return every container of the project by service, exited ones included."""
        output = repeat_during_replacement(lambda: self.compose("ps", "--all", "--format", "json"))
        return {row["Service"]: row for row in map(json.loads, output.splitlines())}

    def container(self, service: str) -> str:
        """Return the id of a service's container, "" without one; wait while it is replaced."""

        def find() -> str:
            containers = self.compose("ps", "--all", "--quiet", service).split()
            assert len(containers) <= 1, f"{service} is being replaced: {containers}"
            return "".join(containers)

        return repeat_during_replacement(find)

    def inspect(self, service: str) -> dict[str, Any]:
        """Return the `docker inspect` document of a service's container, which must exist."""
        document = repeat_during_replacement(lambda: docker("inspect", self.container(service)))
        documents: list[dict[str, Any]] = json.loads(document)
        return documents[0]

    def start_times(self) -> dict[str, tuple[str, str]]:
        """Return container and start of each service, except for those that end by themselves."""
        documents = {service: self.inspect(service) for service in self.services()}
        return {
            service: (document["Id"], document["State"]["StartedAt"])
            for service, document in documents.items()
            if service not in ("init", "migrate")
        }

    def recreate(self, slot: str) -> None:
        """Recreate the container of a slot and wait until it is ready, as a release does."""
        self.compose("up", "-d", "--no-deps", "--force-recreate", slot)
        self.wait_until_ready(slot)

    def wait_until_ready(self, slot: str) -> None:
        """Wait until a slot is healthy; Docker would check it ten seconds after its start."""
        check = ("exec", self.container(slot), "python", "-m", "app.service.healthcheck")
        eventually(lambda: is_successful("docker", *check), 60, f"{slot} is ready", 0.5)

    def wait_until_serving(self, slot: str) -> None:
        """Wait until a slot is healthy and clients get responses from it."""
        self.wait_until_ready(slot)
        user = itertools.count()

        def responds() -> bool:
            url = f"{URL}/recommend/{next(user)}"
            return requests.get(url, timeout=2).headers.get("X-Slot") == slot

        eventually(responds, 60, f"{slot} gets requests")

    def wait_for_scrape(self) -> None:
        """Wait until Prometheus has scraped every slot, from now on."""
        start = time.time()
        up = 'up{job="marquee"}'
        eventually(
            lambda: self.query_value(f"min(timestamp({up}))") > start
            and self.query_value(f"min({up})") == 1,
            60, "a scrape of every slot",
        )  # fmt: skip

    def has_new_samples(self) -> bool:
        """Return whether every slot was up at a scrape of the last 15 s; no without Prometheus."""
        try:
            up = self.query('up{job="marquee"} and timestamp(up{job="marquee"}) > time() - 15')
        except (requests.RequestException, AssertionError):
            return False
        return [row["value"][1] for row in up] == ["1"] * len(SLOTS)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Run an instant query; return the result vector of Prometheus."""
        response = requests.get(
            f"{PROMETHEUS}/api/v1/query", params={"query": expression}, timeout=5
        ).json()
        assert response["status"] == "success", response
        result: list[dict[str, Any]] = response["data"]["result"]
        return result

    def query_value(self, expression: str) -> float:
        """Run an instant query; return the first value, 0 without one."""
        result = self.query(expression)
        return float(result[0]["value"][1]) if result else 0.0

    def firing_alerts(self) -> set[str]:
        """Return the names of the alerts that fire; none while Prometheus does not respond."""
        try:
            found = requests.get(f"{PROMETHEUS}/api/v1/alerts", timeout=5).json()["data"]["alerts"]
        except requests.RequestException:
            return set()
        return {alert["labels"]["alertname"] for alert in found if alert["state"] == "firing"}

    def save_logs(self) -> None:
        """Save the containers' logs, to explain failures: build/<project>.log."""
        (ROOT / "build").mkdir(exist_ok=True)
        logs = self.compose("logs", "--no-color", "--timestamps")
        (ROOT / "build" / f"{PROJECT}.log").write_text(logs)

    def remove(self) -> None:
        """Remove containers, volumes, networks and images, also those of an earlier commit."""
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "5")
        label = f"label=com.docker.compose.project={PROJECT}"
        networks = docker("network", "ls", "--quiet", "--filter", label).split()
        if networks:  # that the compose file of this commit does not name
            docker("network", "rm", *networks)
        for name in (PROJECT, f"{PROJECT}-base", f"{PROJECT}-candidate"):
            images = docker("image", "ls", "--quiet", name).split()
            if images:
                docker("image", "rm", "--force", *images)


def repeat_during_replacement(call: Callable[[], T]) -> T:
    """Return the result of a function, called again while a container is being replaced.

    Raises:
        AssertionError: the function has failed for another reason, or for too long.
    """
    deadline = time.monotonic() + _REPLACEMENT_SECONDS
    while True:
        try:
            return call()
        except AssertionError as error:
            is_expected = any(text in str(error) for text in _REPLACEMENT_ERRORS)
            if not is_expected or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def is_successful(*command: str) -> bool:
    """Return whether a command's exit status is 0."""
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
