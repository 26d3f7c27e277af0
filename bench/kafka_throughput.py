"""Measure the throughput and the lag of `marquee collect` with a Kafka broker.

The broker runs in a container; the lines are the real `stream.log`, repeated with other users. In
the run `catch_up` two million lines wait at the broker: the rate is measured from the first lines
read to a commit with nine tenths of all (the last commit waits for its interval). In the run
`real_time` lines are produced at the real rate of 1,000 per second: the lag is the number of lines
not read yet, the delay the time from producing the oldest line of a commit to that commit.

    python -m bench.kafka_throughput [--json] [--quick]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from app.ingest.batch_parser import LINE_KINDS
from app.ingest.store_files import read_manifest
from bench.ingest_throughput import MARQUEE, ROOT, find_log, write_log
from tests.support.kafka import Broker, run_broker, skip_reason
from tests.support.service import free_port

TARGET = {"min_lines_per_second": 30_000}
_LOG_LINES = 50_000
_COMMITTED_SHARE = 0.9
_REAL_LINES_PER_SECOND = 1000


def make_lines(directory: Path, count: int) -> Iterator[bytes]:
    """Yield lines of the real log, repeated with other users."""
    copies = -(-count // _LOG_LINES)
    path = directory / "lines.log"
    with path.open("wb") as out:
        write_log(find_log(), out, copies)
    with path.open("rb") as lines:
        yield from islice((line.rstrip(b"\n") for line in lines), count)


class CollectorProcess:
    """A running `marquee collect`; a context manager that stops it."""

    def __init__(self, broker: Broker, topic: str, store: Path) -> None:
        self._port = free_port()
        self._store = store
        self._process = subprocess.Popen(
            [str(MARQUEE), "collect", "--store", str(store)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            env=os.environ
            | {
                "MARQUEE_KAFKA_SERVERS": broker.servers,
                "MARQUEE_KAFKA_TOPIC": topic,
                "MARQUEE_COLLECTOR_BIND": f"127.0.0.1:{self._port}",
                "MARQUEE_LOG_LEVEL": "error",
                "POLARS_MAX_THREADS": "1",
            },
        )

    def __enter__(self) -> "CollectorProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def committed_lines(self) -> int:
        """Return the number of lines in the store."""
        manifest = read_manifest(self._store)
        return sum(p["offset"] for p in manifest.offsets.values()) if manifest else 0

    def metric(self, name: str) -> float:
        """Return one metric; 0 before the collector serves it."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics") as response:
                lines = response.read().decode().splitlines()
        except OSError:
            return 0.0
        return next((float(x.split()[1]) for x in lines if x.startswith(f"{name} ")), 0.0)

    def read_lines(self) -> float:
        """Return the number of lines read from the topic."""
        return sum(
            self.metric(f'marquee_ingest_lines_total{{kind="{kind}"}}') for kind in LINE_KINDS
        )

    def usage(self) -> dict[str, float]:
        """Return CPU seconds and peak memory in MiB so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
        ticks = os.sysconf("SC_CLK_TCK")
        return {
            "cpu_seconds": (int(fields[11]) + int(fields[12])) / ticks,
            "peak_mb": round(int(peak) / 1024, 1),
        }


def measure_catch_up(broker: Broker, directory: Path, lines: int) -> dict[str, Any]:
    """Measure the rate of a collector that starts when all lines wait at the broker."""
    broker.create_topic("backlog", partitions=1)
    started = time.perf_counter()
    broker.produce("backlog", make_lines(directory, lines))
    produce_seconds = time.perf_counter() - started
    with CollectorProcess(broker, "backlog", directory / "backlog") as collector:
        while not collector.read_lines():
            time.sleep(0.02)
        cpu_before, started = collector.usage()["cpu_seconds"], time.perf_counter()
        read_before = collector.read_lines()
        while (committed := collector.committed_lines()) < _COMMITTED_SHARE * lines:
            time.sleep(0.02)
        seconds = time.perf_counter() - started
        usage = collector.usage()
    measured = committed - read_before
    return {
        "lines": lines,
        "produced_per_second": round(lines / produce_seconds),
        "lines_per_second": round(measured / seconds),
        "lines_per_cpu_second": round(measured / (usage["cpu_seconds"] - cpu_before)),
        "peak_mb": usage["peak_mb"],
    }


def measure_real_time(broker: Broker, directory: Path, rate: int, seconds: int) -> dict[str, Any]:
    """Produce `rate` lines per second; sample the collector's lag and delay twice a second."""
    broker.create_topic("live", partitions=1)
    lags: list[float] = []
    delays: list[float] = []
    with CollectorProcess(broker, "live", directory / "live") as collector:
        while not collector.metric("marquee_kafka_connected"):
            time.sleep(0.1)
        cpu_before = collector.usage()["cpu_seconds"]

        def paced_lines() -> Iterator[bytes]:
            send_at = time.monotonic()
            for number, line in enumerate(make_lines(directory, rate * seconds)):
                if number % (rate // 10) == 0:
                    send_at += 0.1
                    time.sleep(max(0.0, send_at - time.monotonic()))
                if number % (rate // 2) == 0 and number:
                    lags.append(number - collector.read_lines())
                    delays.append(collector.metric("marquee_ingest_delay_seconds"))
                yield line

        broker.produce("live", paced_lines())
        usage = collector.usage()
        while collector.committed_lines() < rate * seconds:
            time.sleep(0.1)
    return {
        "lines_per_second": rate,
        "seconds": seconds,
        "median_lag_lines": statistics.median(lags),
        "max_lag_lines": max(lags),
        "max_delay_seconds": round(max(delays), 2),
        "cpu_share": round((usage["cpu_seconds"] - cpu_before) / seconds, 3),
        "peak_mb": usage["peak_mb"],
    }


def main() -> int:
    """Measure and print; return 1 when the target is missed."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        "python -m bench.kafka_throughput", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="fewer lines, shorter runs")
    arguments = parser.parse_args()
    reason = skip_reason() or (None if find_log().is_file() else f"no {find_log()}")
    if reason:
        print(json.dumps({"skipped": reason}) if arguments.json else f"skipped: {reason}")
        return 0
    # It commits every 250,000 events: the second commit has nine tenths of 560,000 lines.
    lines, seconds = (560_000, 20) if arguments.quick else (2_000_000, 60)
    with tempfile.TemporaryDirectory(prefix="marquee-bench-") as name:
        directory = Path(name)
        (directory / "broker").mkdir()
        directory.chmod(0o755)
        with run_broker(directory / "broker") as broker:
            runs = {
                "catch_up": measure_catch_up(broker, directory, lines),
                "real_time": measure_real_time(broker, directory, _REAL_LINES_PER_SECOND, seconds),
            }
    passed = runs["catch_up"]["lines_per_second"] >= TARGET["min_lines_per_second"]
    if arguments.json:
        print(json.dumps({"target": TARGET, "passed": passed, "runs": runs}))
        return 0 if passed else 1
    for name, results in runs.items():
        print(name)
        for key, value in results.items():
            print(f"  {key:<32} {value:>14,}")
    print(f"target {'met' if passed else 'MISSED'}: {TARGET['min_lines_per_second']:,} lines/s")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
