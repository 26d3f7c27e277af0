"""Long forms of tests: what `make soak` runs, in parts, and a summary of the parts of a commit."""

import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest

from tests.conftest import ROOT

#: Whether the long forms run; tests that have a short form choose by it.
IS_SOAK = "MARQUEE_SOAK_SECONDS" in os.environ
#: For tests of behaviour that a shorter test covers in `make test`.
soak_only = pytest.mark.skipif(not IS_SOAK, reason="a long form: make soak")

#: File of the results of all commits, as tab-separated values.
SUMMARY = ROOT / "build" / "soak-summary"
TIMEOUT_SECONDS = 3600
#: What pytest runs in each part.
PARTS: dict[str, tuple[str, ...]] = {
    "stack": (
        "tests/e2e/test_backup.py",
        "tests/e2e/test_recent_activity.py",
        "tests/e2e/test_recent_delay.py",
        "tests/e2e/test_recreate_under_load.py",
        "tests/e2e/test_stalls.py",
        "tests/e2e/test_without_canary.py",
    ),
    "alerts": ("tests/e2e/test_alerts_fire.py",),
    "slot-alerts": ("tests/e2e/test_alerts_of_slots.py",),
    "faults": ("tests/e2e/test_faults.py",),
    "full-disks": ("tests/e2e/test_full_disks.py",),
    "full-docker-disk": ("tests/e2e/test_full_docker_disk.py",),
    "provenance": (
        "tests/e2e/test_provenance.py",
        "tests/unit/provenance/test_remade_lists.py",
    ),
    "releases": (
        "tests/e2e/test_deployment.py",
        "tests/e2e/test_quality_release.py",
        "tests/e2e/test_release.py",
    ),
    "failing-releases": (
        "tests/e2e/test_bad_canaries.py",
        "tests/e2e/test_inconclusive_release.py",
        "tests/e2e/test_interrupted_release.py",
    ),
    "upgrade": ("tests/e2e/test_upgrade.py",),
    "shell": ("tests/integration/release/test_shell_long_forms.py",),
    "campaign": ("tests/e2e/test_campaign.py",),
    "simulated-days": ("tests/e2e/test_simulated_days.py",),
    "demo": ("tests/e2e/test_demo.py",),
    "pipeline": ("tests/e2e/test_pipeline.py",),
    "debian": ("tests/e2e/test_bare_debian.py",),
    "crash-recovery": (
        "tests/integration/auto_deployment",
        "tests/integration/ingest/kafka",
        "tests/integration/provenance",
        "tests/integration/recent_activity",
    ),
    "browser": (
        "tests/integration/console/test_browser.py",
        "tests/e2e/test_console.py",
        "tests/e2e/test_console_browser.py",
        "tests/e2e/test_console_readers.py",
    ),
    "spark": ("tests/integration/spark/test_spark.py",),
    "start-pages": ("tests/integration/test_start_pages.py",),
    "generated-input": ("tests/unit/ingest/test_generated_input.py",),
}
_USAGE = f"""\
USAGE
  make soak [PART=NAME]     run one part, or all one after the other
  make soak PART=list       list the parts
  make soak PART=summary    print the results for this commit

PARTS (each ends within {TIMEOUT_SECONDS // 60} minutes)
"""


@dataclass(frozen=True)
class PartResult:
    """The result of one run of a part.

    Attributes:
        commit: the commit that was checked out.
        modified: "yes" if there were uncommitted changes.
        result: passed, failed, timeout, or skipped: no test could run.
    """

    finished_at: str
    commit: str
    modified: str
    part: str
    result: str
    passed: int
    failed: int
    skipped: int
    seconds: int


def read_commit() -> tuple[str, bool]:
    """Return the short hash of the commit, and whether there are uncommitted changes."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    return commit, bool(_git("status", "--porcelain"))


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def run_part(part: str) -> PartResult:
    """Run a part with pytest and append its result to the summary."""
    commit, is_modified = read_commit()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "junit.xml"
        result = run_pytest(*PARTS[part], f"--junitxml={report}")
        counts = count_results(report) if report.exists() else Counter()
    row = PartResult(
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit,
        modified="yes" if is_modified else "no",
        part=part,
        result="skipped" if result == "passed" and not counts["passed"] else result,
        passed=counts["passed"],
        failed=counts["failed"],
        skipped=counts["skipped"],
        seconds=round(time.monotonic() - start),
    )
    append_result(SUMMARY, row)
    return row


def run_pytest(*arguments: str) -> str:
    """Run pytest in soak mode; return passed, failed, or timeout.

    Raises:
        KeyboardInterrupt: interrupted by SIGINT; pytest has ended.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=ROOT,
        env={"MARQUEE_SOAK_SECONDS": "180", **os.environ},
        start_new_session=True,  # Ctrl-C reaches this process alone, which forwards it once
    )
    try:
        return "failed" if process.wait(TIMEOUT_SECONDS) else "passed"
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as error:
        _interrupt(process)
        if isinstance(error, KeyboardInterrupt):
            raise
        return "timeout"


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """End pytest with SIGINT and wait until its fixtures have removed their containers."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    process.send_signal(signal.SIGINT)
    process.wait()
    signal.signal(signal.SIGINT, previous)


def count_results(report: Path) -> Counter[str]:
    """Count passed, failed and skipped tests of a JUnit report."""
    counts: Counter[str] = Counter()
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        outcomes = {child.tag for child in case}
        if outcomes & {"failure", "error"}:
            counts["failed"] += 1
        else:
            counts["skipped" if "skipped" in outcomes else "passed"] += 1
    return counts


def append_result(path: Path, row: PartResult) -> None:
    """Append a row; write the names of the columns first if the file is new."""
    is_new = not path.exists()
    path.parent.mkdir(exist_ok=True)
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(row)], delimiter="\t")
        if is_new:
            writer.writeheader()
        writer.writerow(asdict(row))


def read_results(path: Path, commit: str) -> list[dict[str, str]]:
    """Return the rows of a commit, in the order in which they were written."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file, delimiter="\t") if row["commit"] == commit]


def format_summary(rows: list[dict[str, str]], commit: str) -> str:
    """Format the newest result of each part, their sum, and the parts that are missing.

    A part that ran with uncommitted changes is shown, and is still missing.
    """
    newest = {(row["part"], row["modified"]): row for row in rows}
    lines = [f"soak of {commit}", _format_columns("part", "result", _COUNTS, "seconds")]
    lines += [_format_row(row) for row in newest.values()]
    counted = [row for row in newest.values() if row["modified"] == "no"]
    totals = {name: str(sum(int(row[name]) for row in counted)) for name in (*_COUNTS, "seconds")}
    passed = {row["part"] for row in counted if row["result"] == "passed"}
    result = f"{len(passed)} of {len(PARTS)} passed"
    lines.append(_format_columns("sum", result, [totals[n] for n in _COUNTS], totals["seconds"]))
    run = {row["part"] for row in counted}
    if missing := [part for part in PARTS if part not in run]:
        lines.append(f"not run on this commit: {', '.join(missing)}")
    return "\n".join(lines)


_COUNTS = ("passed", "failed", "skipped")


def _format_row(row: dict[str, str]) -> str:
    changes = ", uncommitted changes" if row["modified"] == "yes" else ""
    counts = [row[name] for name in _COUNTS]
    return _format_columns(row["part"], row["result"] + changes, counts, row["seconds"])


def _format_columns(part: str, result: str, counts: Iterable[str], seconds: str) -> str:
    return f"{part:<15} {result:<29}" + "".join(f"{n:>8}" for n in counts) + f"{seconds:>9}"


def list_parts() -> str:
    """Return the usage with the name and the tests of each part."""
    return _USAGE + "\n".join(f"  {part:<15} {' '.join(tests)}" for part, tests in PARTS.items())


def main(arguments: list[str]) -> int:
    """Run the parts that are named; return the exit status."""
    commit, _ = read_commit()
    parts = arguments or list(PARTS)
    if parts == ["list"]:
        click.echo(list_parts())
        return 0
    if parts == ["summary"]:
        click.echo(format_summary(read_results(SUMMARY, commit), commit))
        return 0
    if not set(parts) <= PARTS.keys():
        click.echo(list_parts(), err=True)
        return 2
    results = []
    for part in parts:
        results.append(run_part(part).result)
        click.echo(format_summary(read_results(SUMMARY, commit), commit))
    return int(set(results) != {"passed"})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
