"""The running service conforms to `/openapi.json`."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support.service import Server

SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"


def test_the_service_conforms_to_its_openapi_description(server: Server, tmp_path: Path) -> None:
    options = ["--max-examples=300", "--checks=all", "--seed=1", "--no-color"]
    result = subprocess.run(
        [SCHEMATHESIS, "run", server.url + "/openapi.json", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"\d{3,} generated, \d{3,} passed", result.stdout), result.stdout
