"""A fresh clone comes up whole."""

import re
from collections.abc import Callable

import requests

from tests.support.stack import PROJECT, URL, Stack, docker

MOVIE = r"[a-z0-9+_.*%-]+"


def test_everything_is_healthy(stack: Stack) -> None:
    for service, row in stack.services().items():
        if service in ("init", "migrate"):
            assert (row["State"], row["ExitCode"]) == ("exited", 0)
        else:
            assert row["State"] == "running", (service, row)
            assert row["Health"] in ("healthy", ""), (service, row["Health"])


def test_what_is_not_configured_idles_and_says_so(stack: Stack) -> None:
    assert "idle: no broker is configured" in stack.compose("logs", "collector")


def test_it_answers_in_the_contracts_form(stack: Stack) -> None:
    answer = requests.get(f"{URL}/recommend/42", timeout=0.6)
    assert answer.status_code == 200
    assert re.fullmatch(rf"{MOVIE}(,{MOVIE}){{19}}", answer.text)
    assert answer.headers["X-Model-Version"] == "1"
    assert re.fullmatch(r"\d{10}\.\d{3}-[0-9a-f]{32}", answer.headers["X-Request-Id"])


def test_what_is_not_for_clients_is_not_reachable(stack: Stack) -> None:
    for path in ("/metrics", "/ready", "/version", "/status", "/recommend/../metrics", "/"):
        answer = requests.get(URL + path, timeout=0.6)
        assert answer.status_code == 404, path
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_invalid_requests_are_problems_at_the_edge_too(stack: Stack) -> None:
    answer = requests.get(f"{URL}/recommend/abc", timeout=0.6)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert requests.post(f"{URL}/recommend/42", data="x" * 2000, timeout=0.6).status_code == 413


def test_a_clients_request_id_is_not_believed(stack: Stack) -> None:
    answer = requests.get(f"{URL}/recommend/42", headers={"X-Request-Id": "mine"}, timeout=0.6)
    assert answer.headers["X-Request-Id"] != "mine"


def test_the_images_are_small(stack: Stack, figures: Callable[[str], None]) -> None:
    rows = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}} {{.Size}}", PROJECT)
    for row in sorted(rows.split("\n")):
        if row:
            figures(f"image {row}")
    held = stack.compose("exec", "-T", "stable-1", "ls", "/opt/venv/lib/python3.13/site-packages")
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
        assert f"\n{library}\n" not in held


def test_no_compiler_is_left(stack: Stack) -> None:
    found = stack.compose(
        "exec", "-T", "stable-1", "sh", "-c", "command -v gcc cc g++ make uv || true"
    )
    assert found.strip() == ""


def test_gunicorn_is_process_1(stack: Stack) -> None:
    command = stack.compose("exec", "-T", "stable-1", "cat", "/proc/1/cmdline").split("\0")
    assert command[1:] == ["/opt/venv/bin/marquee", "serve", ""]
    children = stack.compose("exec", "-T", "stable-1", "cat", "/proc/1/task/1/children")
    assert len(children.split()) == 2  # gunicorn's workers, nothing in between
