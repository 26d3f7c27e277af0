"""Every configuration file is valid for the program that reads it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from app.provisioning.alertmanager import provision_alertmanager
from app.settings import Settings
from tests.conftest import ROOT
from tests.support.images import TAGS
from tests.support.stack import Stack

PROMETHEUS = ROOT / "monitoring" / "prometheus"
HADOLINT = Path(sys.executable).parent / "hadolint"


def run_in(image: str, program: str, *arguments: str, mounts: dict[Path, str]) -> str:
    """Run a program of an image on files of the repository; return its output, or fail."""
    volumes = [f"--volume={source}:{target}:ro" for source, target in mounts.items()]
    process = subprocess.run(
        ["docker", "run", "--rm", "--network=none", "--tmpfs=/tmp", *volumes,
         f"--entrypoint={program}", image, *arguments],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout + process.stderr


def promtool(*arguments: str) -> str:
    return run_in(
        "prom/prometheus:v3.5.0",
        "/bin/promtool",
        *arguments,
        mounts={PROMETHEUS: "/etc/prometheus"},
    )


def test_the_configuration_of_prometheus_is_valid(stack: Stack) -> None:
    assert "SUCCESS" in promtool("check", "config", "/etc/prometheus/prometheus.yml")


@pytest.mark.parametrize("file", sorted(p.name for p in (PROMETHEUS / "tests").glob("*.yml")))
def test_rules_pass_their_unit_tests(stack: Stack, file: str) -> None:
    assert "SUCCESS" in promtool("test", "rules", f"/etc/prometheus/tests/{file}")


def test_every_alert_has_a_unit_test_and_a_runbook_section() -> None:
    rules = YAML(typ="safe").load(PROMETHEUS / "rules" / "alerts.yml")
    tests = "".join(p.read_text() for p in (PROMETHEUS / "tests").glob("*.yml"))
    runbook = (ROOT / "docs" / "operations.md").read_text()
    for rule in rules["groups"][0]["rules"]:
        assert f"alertname: {rule['alert']}" in tests, rule["alert"]
        assert f"### {rule['alert']}\n" in runbook, rule["alert"]
        anchor = f"docs/operations.md#{rule['alert'].lower()}"
        assert rule["annotations"]["runbook"] == anchor, rule["alert"]


def test_the_configuration_of_alertmanager_is_valid_with_and_without_receivers(
    stack: Stack, tmp_path: Path
) -> None:
    template = ROOT / "monitoring" / "alertmanager" / "alertmanager.yml"
    (tmp_path / "operator").mkdir()
    for name in ("none", "both"):
        target = tmp_path / name
        target.mkdir()
        target.chmod(0o755)
        settings = Settings()
        if name == "both":
            (tmp_path / "operator" / "slack_webhook").write_text("http://127.0.0.1:9/hook")
            settings = Settings(
                smtp_host="mail:1025", mail_from="marquee@localhost", mail_to="team@localhost"
            )
        provision_alertmanager(template, target, tmp_path / "operator", settings)
        for file in target.iterdir():
            file.chmod(0o644)
        output = run_in(
            "prom/alertmanager:v0.33.0", "/bin/amtool", "check-config",
            "/etc/alertmanager/alertmanager.yml",
            mounts={target: "/etc/alertmanager", template.parent: "/etc/marquee"},
        )  # fmt: skip
        assert "SUCCESS" in output
        assert ("email_configs" in (target / "alertmanager.yml").read_text()) == (name == "both")


def test_the_configuration_of_nginx_is_valid(stack: Stack) -> None:
    output = run_in(TAGS["nginx"], "nginx", "-t", mounts={ROOT / "nginx": "/etc/nginx"})
    assert "test is successful" in output


def test_the_compose_file_is_valid(stack: Stack) -> None:
    assert stack.compose("--profile", "*", "config", "--quiet") == ""


def test_hadolint_reports_no_problem_in_the_dockerfile() -> None:
    process = subprocess.run(
        [HADOLINT, str(ROOT / "app" / "Dockerfile")],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
