"""`make soak`: parts, results by commit, and the summary."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.soak import (
    PARTS,
    PartResult,
    append_result,
    count_results,
    format_summary,
    main,
    read_results,
)
from tests.support.waiting import eventually

REPORT = """<testsuites><testsuite>
<testcase name="a"/><testcase name="b"><failure/></testcase><testcase name="c"><error/></testcase>
<testcase name="d"><skipped/></testcase><testcase name="e"><properties/></testcase>
</testsuite></testsuites>"""


def add(
    path: Path, part: str, *, commit: str = "c1", modified: str = "no", passed: int = 3
) -> None:
    row = PartResult(
        "2026-01-01T00:00:00+00:00", commit, modified, part, "passed", passed, 0, 1, 60
    )
    append_result(path, row)


def test_results_of_a_junit_report_are_counted(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    assert count_results(report) == {"passed": 2, "failed": 2, "skipped": 1}


def test_the_summary_adds_up_the_newest_results_of_a_commit(tmp_path: Path) -> None:
    summary = tmp_path / "build" / "summary"
    add(summary, "demo", passed=1)
    add(summary, "demo", passed=4)
    add(summary, "releases", passed=10)
    add(summary, "pipeline", commit="c2")
    lines = format_summary(read_results(summary, "c1"), "c1").splitlines()
    assert [line.split()[0] for line in lines[2:-1]] == ["demo", "releases", "sum"]
    assert lines[-2].split() == ["sum", "2", "of", str(len(PARTS)), "passed", "14", "0", "2", "120"]
    assert "pipeline" in lines[-1]
    assert "demo" not in lines[-1]


def test_a_part_run_with_uncommitted_changes_is_marked_and_still_missing(tmp_path: Path) -> None:
    add(tmp_path / "summary", "demo", modified="yes")
    lines = format_summary(read_results(tmp_path / "summary", "c1"), "c1").splitlines()
    assert "uncommitted changes" in lines[2]
    assert lines[3].split()[1] == "0"
    assert "demo" in lines[4]


def test_an_unknown_part_is_refused_with_the_list_of_parts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["unknown"]) == 2
    assert "simulated-days" in capsys.readouterr().err


def test_every_file_with_a_long_form_belongs_to_one_part() -> None:
    marks = ("soak_only", "IS_SOAK", "MARQUEE_SOAK_SECONDS")
    for directory in ("tests/e2e", "tests/integration"):
        for path in (ROOT / directory).rglob("test_*.py"):
            if any(mark in path.read_text() for mark in marks):
                name = str(path.relative_to(ROOT))
                parts = [p for p, tests in PARTS.items() if any(name.startswith(t) for t in tests)]
                assert len(parts) == 1, (name, parts)


def test_every_part_names_existing_tests() -> None:
    assert all((ROOT / test).exists() for tests in PARTS.values() for test in tests)


INTERRUPTED_TEST = """\
import pathlib, time, pytest
HERE = pathlib.Path(__file__).parent
@pytest.fixture
def container():
    (HERE / "started").touch()
    yield
    time.sleep(1)
    (HERE / "removed").touch()
def test_of_long_duration(container):
    time.sleep(600)
"""


def test_an_interrupted_run_ends_after_its_fixtures(tmp_path: Path) -> None:
    (tmp_path / "test_long.py").write_text(INTERRUPTED_TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    code = "import sys; from tests.support.soak import run_pytest; run_pytest(*sys.argv[1:])"
    options = (f"--rootdir={tmp_path}", f"--config-file={tmp_path / 'pytest.ini'}")
    command = [sys.executable, "-c", code, *options, str(tmp_path / "test_long.py")]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        eventually((tmp_path / "started").exists, 60)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "KeyboardInterrupt" in process.stderr.read()
    assert process.returncode == -signal.SIGINT
    assert (tmp_path / "removed").exists()
