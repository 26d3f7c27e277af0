"""The long forms of the shell tests, which skip them during `make test`."""

import shutil
import subprocess

import pytest

from tests.conftest import ROOT
from tests.support.soak import soak_only

JOBS = 4  # they wait more than they compute
FILES = [
    path.name
    for path in sorted((ROOT / "tests" / "shell").glob("*.bats"))
    if "soak" in path.read_text()
]

pytestmark = pytest.mark.timeout(3000)


@soak_only  # in make test: shorter forms in the same files
@pytest.mark.parametrize("file", FILES)
def test_long_forms(file: str) -> None:
    if shutil.which("bats") is None or shutil.which("parallel") is None:
        pytest.skip("bats and parallel are not installed (make test SYSTEM=1 installs them)")
    done = subprocess.run(
        ["bats", "--jobs", str(JOBS), ROOT / "tests" / "shell" / file],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a long form" not in done.stdout
