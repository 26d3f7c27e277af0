"""After `docker compose up` every service is healthy and the API follows the contract."""

import re
from collections.abc import Callable

import requests

from tests.support.docker import docker
from tests.support.stack import PROJECT, URL, Stack
from tests.support.waiting import eventually

MOVIE_ID = r"[a-z0-9+_.*%-]+"


def test_every_service_is_healthy(stack: Stack) -> None:
    # Docker checks a container that an earlier test has recreated after ten seconds.
    eventually(
        lambda: all(row["Health"] != "starting" for row in stack.services().values()),
        120, "the first health check of every service", 1,
    )  # fmt: skip
    for service, row in stack.services().items():
        if service in ("init", "migrate"):
            assert (row["State"], row["ExitCode"]) == ("exited", 0)
        else:
            assert row["State"] == "running", (service, row)
            assert row["Health"] in ("healthy", ""), (service, row["Health"])


def test_the_follower_idles_without_a_broker_and_slots_answer(stack: Stack) -> None:
    assert "idle: no broker is configured" in stack.compose("logs", "recent")
    assert stack.query_value("max(marquee_recent_configured)") == 0


def test_the_collector_idles_without_a_broker(stack: Stack) -> None:
    assert "idle: no broker is configured" in stack.compose("logs", "collector")


def test_a_response_has_the_form_of_the_contract(stack: Stack) -> None:
    response = requests.get(f"{URL}/recommend/42", timeout=0.6)
    assert response.status_code == 200
    assert re.fullmatch(rf"{MOVIE_ID}(,{MOVIE_ID}){{19}}", response.text)
    assert response.headers["X-Model-Version"] == "1"
    assert re.fullmatch(r"\d{10}\.\d{3}-[0-9a-f]{32}", response.headers["X-Request-Id"])


def test_internal_paths_are_not_reachable_by_clients(stack: Stack) -> None:
    for path in ("/metrics", "/ready", "/version", "/status", "/recommend/../metrics", "/"):
        response = requests.get(URL + path, timeout=0.6)
        assert response.status_code == 404, path
        assert response.headers["Content-Type"] == "application/problem+json"


def test_invalid_requests_are_rejected_with_problem_details(stack: Stack) -> None:
    response = requests.get(f"{URL}/recommend/abc", timeout=0.6)
    assert response.status_code == 400
    assert response.headers["Content-Type"] == "application/problem+json"
    assert requests.post(f"{URL}/recommend/42", data="x" * 2000, timeout=0.6).status_code == 413


def test_the_request_id_of_a_client_is_replaced(stack: Stack) -> None:
    response = requests.get(f"{URL}/recommend/42", headers={"X-Request-Id": "mine"}, timeout=0.6)
    assert response.headers["X-Request-Id"] != "mine"


def test_the_image_of_a_slot_has_no_training_libraries(
    stack: Stack, record_measurement: Callable[[str], None]
) -> None:
    rows = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}} {{.Size}}", PROJECT)
    for row in sorted(rows.split("\n")):
        if row:
            record_measurement(f"image {row}")
    packages = "/opt/venv/lib/python3.13/site-packages"
    installed = stack.compose("exec", "-T", "stable-1", "ls", packages)
    for library in (
        "surprise",
        "implicit",
        "polars",
        "pandas",
        "scipy",
        "pyarrow",
        "pip",
        "sqlalchemy",
    ):
        assert f"\n{library}\n" not in installed


def test_the_image_of_a_slot_has_no_compiler(stack: Stack) -> None:
    found = stack.compose(
        "exec", "-T", "stable-1", "sh", "-c", "command -v gcc cc g++ make uv || true"
    )
    assert found.strip() == ""


def test_gunicorn_is_process_1(stack: Stack) -> None:
    command = stack.compose("exec", "-T", "stable-1", "cat", "/proc/1/cmdline").split("\0")
    assert command[1:] == ["/opt/venv/bin/marquee", "serve", ""]
    children = stack.compose("exec", "-T", "stable-1", "cat", "/proc/1/task/1/children")
    assert len(children.split()) == 2  # the workers of gunicorn, without a shell in between
