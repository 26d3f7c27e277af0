"""What NGINX refuses itself is a problem document, as what the service refuses."""

import re
import subprocess
import sys
from pathlib import Path

import requests

from tests.support.docker import docker
from tests.support.edge import explain_error, find_wrong_errors
from tests.support.stack import SLOTS, URL, Stack

SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"


def test_the_errors_of_nginx_are_problem_documents(stack: Stack) -> None:
    assert find_wrong_errors(8082) == {}


def test_a_response_that_no_slot_gives_in_time_is_a_problem_document(stack: Stack) -> None:
    containers = [stack.container(slot) for slot in SLOTS]
    docker("pause", *containers)
    try:
        response = requests.get(f"{URL}/recommend/1", timeout=10)
    finally:
        docker("unpause", *containers)
    assert explain_error(response, 504) == ""


def test_a_path_without_a_user_id_is_not_redirected(stack: Stack) -> None:
    response = requests.get(f"{URL}/recommend", timeout=5, allow_redirects=False)
    assert (response.status_code, response.headers.get("Location")) == (404, None)


def test_the_edge_conforms_to_the_openapi_description(stack: Stack, tmp_path: Path) -> None:
    """Methods that are not described are 404 for the routes inside the stack, not 405."""
    result = subprocess.run(
        [SCHEMATHESIS, "run", f"{URL}/openapi.json", "--max-examples=100", "--checks=all",
         "--exclude-checks=unsupported_method", "--seed=1", "--no-color"],
        cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"\d{3,} generated, \d{3,} passed", result.stdout), result.stdout
