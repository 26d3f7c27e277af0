"""Changed settings, secrets and files arrive in the services that use them, and in no others."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.releases import git
from tests.support.shipper import wait_until_shipped
from tests.support.stack import ALERTMANAGER, URL, Stack
from tests.support.waiting import eventually

CHANGED_FILES = (
    "nginx/nginx.conf",
    "monitoring/alertmanager/messages.tmpl",
    "scripts/database/start.sh",
)
#: What the processes log when they read changed files.
RESTARTING, CHANGED = "a setting has changed in its file", "watch_files.sh: files have changed"


@pytest.fixture
def clone(stack: Stack) -> Iterator[Path]:
    """The stack's clone; its tracked files and its settings are restored, and in force again."""
    env_file = stack.clone / ".env"
    settings = env_file.read_text() if env_file.exists() else None
    yield stack.clone
    for secret in stack.clone.joinpath("secrets").iterdir():
        if secret.name != "README.md":
            secret.unlink()
    if settings is None:
        env_file.unlink(missing_ok=True)
    else:
        env_file.write_text(settings)
    server = stack.start_times()["mysql"]
    restarts = bool(git(stack.clone, "diff", "--name-only", "--", CHANGED_FILES[-1]))
    git(stack.clone, "checkout", "--quiet", "--", *CHANGED_FILES)
    if restarts:  # Docker calls a container that ends unhealthy, and Compose gives up
        eventually(
            lambda: stack.start_times()["mysql"] != server, 60, "MariaDB has restarted again", 1
        )
    stack.compose("up", "-d", "--wait")


def replace(path: Path, text: str) -> None:
    """Replace a file by another one, as git does."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.chmod(path.stat().st_mode if path.exists() else 0o644)
    new.replace(path)


def count_in_logs(stack: Stack, text: str, *services: str) -> int:
    return stack.compose("logs", "--no-color", *services).count(text)


def test_up_without_a_change_restarts_nothing_also_during_a_retraining(stack: Stack) -> None:
    in_scheduler = ("exec", "-T", "scheduler", "sh", "-c")
    stack.compose("exec", "-d", "scheduler", "flock", "/workspace/lock", "sleep", "1000")
    before = stack.start_times()
    changes = count_in_logs(stack, RESTARTING) + count_in_logs(stack, CHANGED)
    stack.compose("up", "-d", "--wait")
    stack.wait_for_scrape()  # longer than the interval in which files are compared
    assert stack.start_times() == before
    assert count_in_logs(stack, RESTARTING) + count_in_logs(stack, CHANGED) == changes
    # The run holds its lock until here.
    stack.compose(*in_scheduler, "! flock --nonblock /workspace/lock true")
    stack.compose(*in_scheduler, "kill $(grep -l '^sleep' /proc/[0-9]*/cmdline | cut -d/ -f3)")


def test_changed_secrets_reach_running_processes_and_a_setting_replaces_its_container(
    stack: Stack, clone: Path
) -> None:
    before = stack.start_times()
    with (clone / ".env").open("a") as file:
        file.write("MARQUEE_METRICS_DAYS=14\n")
    services = ("shipper", "scheduler", "collector", "recent")
    restarts = {service: count_in_logs(stack, RESTARTING, service) for service in services}
    for name in ("database_password", "database_owner_password"):
        (clone / "secrets" / name).write_text(secrets.token_urlsafe(40))
    (clone / "secrets" / "slack_webhook").write_text("http://127.0.0.1:9/hook")
    stack.compose("up", "-d", "--wait")

    def alertmanager_uses_slack() -> bool:
        status = requests.get(f"{ALERTMANAGER}/api/v2/status", timeout=5).json()
        return "slack_configs" in status["config"]["original"]

    eventually(alertmanager_uses_slack, 60, "Alertmanager has reloaded")
    expected = {
        **restarts,
        "shipper": restarts["shipper"] + 1,
        "scheduler": restarts["scheduler"] + 1,
    }

    def count_restarts() -> dict[str, int]:
        return {service: count_in_logs(stack, RESTARTING, service) for service in restarts}

    eventually(lambda: count_restarts() == expected, 60, count_restarts, 0.5)
    assert requests.get(f"{URL}/recommend/42", timeout=2).status_code == 200
    wait_until_shipped()  # with the new password
    password = (clone / "secrets" / "database_password").read_text()
    for attempt, is_valid in ((password, True), ("another", False)):
        code = (
            "import mysql.connector as c;"
            f"c.connect(host='mysql', user='marquee', password='{attempt}')"
        )
        try:
            stack.compose("exec", "-T", "shipper", "python", "-c", code)
        except AssertionError as error:
            assert "Access denied" in str(error), error
            assert not is_valid
        else:
            assert is_valid
    stack.compose("up", "migrate")  # the owner's password
    assert stack.services()["migrate"]["ExitCode"] == 0
    after = stack.start_times()
    assert {service for service in before if before[service] != after[service]} == {"prometheus"}


def test_changed_files_reach_running_processes(stack: Stack, clone: Path) -> None:
    before = stack.start_times()
    nginx, template, start = (clone / name for name in CHANGED_FILES)
    header = "add_header X-Request-Id $marquee_request_id always;"
    replace(nginx, nginx.read_text().replace(header, f"{header} add_header X-Test new always;", 1))
    rule = "groups: [{name: test, rules: [{record: 'test:one', expr: vector(1)}]}]\n"
    replace(clone / "monitoring" / "prometheus" / "rules" / "test.yml", rule)
    loaded = count_in_logs(stack, "Completed loading of configuration file", "alertmanager")
    replace(template, template.read_text() + "{{/* changed */}}\n")
    replace(start, start.read_text() + "# changed\n")

    def header_is_sent() -> bool:
        return requests.get(f"{URL}/recommend/1", timeout=2).headers.get("X-Test") == "new"

    try:
        eventually(header_is_sent, 60, "NGINX has reloaded")
        eventually(lambda: stack.query_value("test:one") == 1, 90, "Prometheus has the rule", 1)
        eventually(
            lambda: (
                count_in_logs(stack, "Completed loading of configuration file", "alertmanager")
                > loaded
            ),
            60, "Alertmanager has reloaded", 1,
        )  # fmt: skip
        eventually(
            lambda: stack.start_times()["mysql"] != before["mysql"], 60, "MariaDB has restarted", 1
        )
        stack.compose("up", "-d", "--wait", "mysql")
    finally:
        (clone / "monitoring" / "prometheus" / "rules" / "test.yml").unlink()
    after = stack.start_times()
    assert {service for service in before if before[service] != after[service]} == {"mysql"}
