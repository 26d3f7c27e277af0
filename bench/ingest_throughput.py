"""Measure the throughput of `marquee collect --file` on one core, and its peak memory.

The input is the real `stream.log` repeated, each time with other users, piped or in a temporary
file. `--growth` also ingests ten times the lines: once with the same users and once with ten times
the users, to show that memory follows the number of pairs in the store. (The first pass has all its
pairs only at its end, so ten passes are compared with two.)

    python -m bench.ingest_throughput [--json] [--repeat 100] [--growth]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[1]
MARQUEE = Path(sys.executable).with_name("marquee")
#: More than every user id in the log.
USER_ID_STEP = 1_000_000
TARGET = {"min_lines_per_second": 300_000, "max_peak_mb": 600}


def find_log() -> Path:
    """Return the path of the real log, which may be missing."""
    shared = os.environ.get("MARQUEE_SHARED_DATA", ROOT.parent / "shared" / "data")
    return Path(shared) / "movielog" / "stream.log"


def write_log(log: Path, out: IO[bytes], repeat: int, first: int = 0) -> None:
    """Write the log `repeat` times, each copy with its own users."""
    lines = [line.split(b",", 2) for line in log.read_bytes().splitlines(keepends=True)]
    for copy in range(first, first + repeat):
        out.write(b"".join(_shift_users(lines, copy * USER_ID_STEP)))


def _shift_users(lines: list[list[bytes]], shift: int) -> Iterator[bytes]:
    for parts in lines:
        if len(parts) == 3 and parts[1].isdigit():
            yield b"%s,%d,%s" % (parts[0], int(parts[1]) + shift, parts[2])
        else:
            yield b",".join(parts)


def collect(files: list[str], store: Path, stdin: IO[bytes] | None = None) -> dict[str, Any]:
    """Run the command on one core; return its counts with the process's time and memory."""
    core = min(os.sched_getaffinity(0))
    command = [str(MARQUEE), "collect", "--json", "--store", str(store)]
    for file in files:
        command += ["--file", file]
    started = time.perf_counter()
    process = subprocess.Popen(
        ["taskset", "--cpu-list", str(core), *command],
        stdin=stdin,
        stdout=subprocess.PIPE,
        env=os.environ | {"POLARS_MAX_THREADS": "1", "MARQUEE_LOG_LEVEL": "error"},
        cwd=ROOT,
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status != 0:
        raise SystemExit(f"marquee collect failed with status {status}")
    summary: dict[str, Any] = json.loads(output)
    return {
        "lines": summary["lines"],
        "pairs": summary["pairs"],
        "lines_per_second": round(summary["lines"] / seconds),
        "lines_per_second_without_startup": summary["lines_per_second"],
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss / 1024, 1),
        "store_mb": round(sum(f.stat().st_size for f in store.iterdir()) / 1e6, 1),
    }


def measure(log: Path, repeat: int, growth: bool) -> dict[str, dict[str, Any]]:
    """Return the measurements of all runs by name."""
    with tempfile.TemporaryDirectory(prefix="marquee-bench-") as folder:
        big = Path(folder) / "big.log"
        with big.open("wb") as out:
            subprocess.run(_generate_command(log, repeat), stdout=out, check=True, cwd=ROOT)
        runs = {f"x{repeat}": collect([str(big)], Path(folder) / "store")}
        if growth:
            for name, times in (("twice", 2), ("ten times", 10)):
                run = collect([str(big)] * times, Path(folder) / name)
                runs[f"x{repeat} {name}, same users"] = run
            with subprocess.Popen(
                _generate_command(log, repeat * 10), stdout=subprocess.PIPE, cwd=ROOT
            ) as generator:
                runs[f"x{repeat * 10}"] = collect(["-"], Path(folder) / "ten", generator.stdout)
    return runs


def _generate_command(log: Path, repeat: int) -> list[str]:
    # A separate process: memory of this one would count for the processes it starts.
    return [sys.executable, "-m", "bench.ingest_throughput", "--write", str(log), str(repeat)]


def main() -> int:
    """Measure and print; return exit status 1 where the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--repeat", type=int, default=100, help="copies of the log (100)")
    parser.add_argument("--growth", action="store_true", help="also ingest ten times the lines")
    parser.add_argument("--write", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        write_log(Path(arguments.write[0]), sys.stdout.buffer, int(arguments.write[1]))
        return 0
    log = find_log()
    if not log.is_file():
        print(json.dumps({"skipped": f"no {log}"}) if arguments.json else f"skipped: no {log}")
        return 0
    runs = measure(log, arguments.repeat, arguments.growth)
    first = next(iter(runs.values()))
    passed = (
        first["lines_per_second"] >= TARGET["min_lines_per_second"]
        and first["peak_mb"] < TARGET["max_peak_mb"]
    )
    if arguments.json:
        print(json.dumps({"target": TARGET, "passed": passed, "runs": runs}))
    else:
        _print_table(runs, passed)
    return 0 if passed else 1


def _print_table(runs: dict[str, dict[str, Any]], passed: bool) -> None:
    for name, metrics in runs.items():
        print(name)
        for key, value in metrics.items():
            print(f"  {key:<32} {value:>14,}")
    verdict = "met" if passed else "MISSED"
    lines, memory = TARGET["min_lines_per_second"], TARGET["max_peak_mb"]
    print(f"target {verdict}: {lines:,} lines/s, {memory} MB")


if __name__ == "__main__":
    sys.exit(main())
