"""How fast `marquee collect` takes a log on one core, and how much memory it needs.

The log is the real `stream.log` repeated, each time with other users, and piped or written to a
temporary file, never into the project. `--growth` also takes ten times the lines: once of ten times
the users, once of the same users, to show that memory follows the pairs that are kept. (Those come
with the first pass; so it is the second that ten are compared with.)

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
#: Above every user id in the log.
SHIFT = 1_000_000
TARGET = {"lines_per_second": 300_000, "peak_mb": 600}


def find_log() -> Path:
    """Where the real log is, or would be."""
    shared = os.environ.get("MARQUEE_SHARED_DATA", ROOT.parent / "shared" / "data")
    return Path(shared) / "movielog" / "stream.log"


def write_log(log: Path, out: IO[bytes], repeat: int, first: int = 0) -> None:
    """Write the log `repeat` times, each copy with its own users."""
    lines = [line.split(b",", 2) for line in log.read_bytes().splitlines(keepends=True)]
    for copy in range(first, first + repeat):
        out.write(b"".join(_shifted(lines, copy * SHIFT)))


def _shifted(lines: list[list[bytes]], shift: int) -> Iterator[bytes]:
    for parts in lines:
        if len(parts) == 3 and parts[1].isdigit():
            yield b"%s,%d,%s" % (parts[0], int(parts[1]) + shift, parts[2])
        else:
            yield b",".join(parts)


def collect(files: list[str], store: Path, stdin: IO[bytes] | None = None) -> dict[str, Any]:
    """Run the real command on one core; its summary, with the process's own time and memory."""
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
        "lines_per_second_without_start": summary["lines_per_second"],
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss / 1024, 1),
        "store_mb": round(sum(f.stat().st_size for f in store.iterdir()) / 1e6, 1),
    }


def measure(log: Path, repeat: int, growth: bool) -> dict[str, dict[str, Any]]:
    """All runs, by name."""
    with tempfile.TemporaryDirectory(prefix="marquee-bench-") as folder:
        big = Path(folder) / "big.log"
        with big.open("wb") as out:
            subprocess.run(_generator(log, repeat), stdout=out, check=True, cwd=ROOT)
        runs = {f"x{repeat}": collect([str(big)], Path(folder) / "store")}
        if growth:
            for name, times in (("twice", 2), ("ten times", 10)):
                same = collect([str(big)] * times, Path(folder) / name)
                runs[f"x{repeat} {name}, same users"] = same
            with subprocess.Popen(
                _generator(log, repeat * 10), stdout=subprocess.PIPE, cwd=ROOT
            ) as generator:
                runs[f"x{repeat * 10}"] = collect(["-"], Path(folder) / "ten", generator.stdout)
    return runs


def _generator(log: Path, repeat: int) -> list[str]:
    # A process of its own: what this one holds would count as memory of those it starts.
    return [sys.executable, "-m", "bench.ingest_throughput", "--write", str(log), str(repeat)]


def main() -> int:
    """Measure and print; exit status 1 when the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--repeat", type=int, default=100, help="copies of the log (100)")
    parser.add_argument("--growth", action="store_true", help="ten times the lines, too")
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
        first["lines_per_second"] >= TARGET["lines_per_second"]
        and first["peak_mb"] < TARGET["peak_mb"]
    )
    if arguments.json:
        print(json.dumps({"target": TARGET, "passed": passed, "runs": runs}))
    else:
        _print_table(runs, passed)
    return 0 if passed else 1


def _print_table(runs: dict[str, dict[str, Any]], passed: bool) -> None:
    for name, figures in runs.items():
        print(name)
        for key, value in figures.items():
            print(f"  {key:<32} {value:>14,}")
    verdict = "met" if passed else "MISSED"
    print(f"target {verdict}: {TARGET['lines_per_second']:,} lines/s, {TARGET['peak_mb']} MB")


if __name__ == "__main__":
    sys.exit(main())
