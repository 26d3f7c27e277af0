"""How fast `marquee collect` takes lines from a real broker to the store, and how far behind.

The broker is a container of its own; the lines are the real `stream.log`'s, repeated with other
users. First two million wait at the broker: the rate is from the first line taken to a commit that
holds nine tenths of them (the last ones wait for the clock). Then lines come at the real stream's
1,000 a second: the lag is what waits at the broker, the delay how long the oldest line of each
commit took from its producer to the store.

    python -m bench.stream [--json] [--quick]
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

from app.ingest.store_files import read_manifest
from bench.ingest_throughput import MARQUEE, ROOT, find_log, write_log
from tests.integration.service.conftest import free_port
from tests.support.kafka import Broker, running, why_not

TARGET = {"lines_per_second": 30_000}


def make_lines(folder: Path, count: int) -> Iterator[bytes]:
    """The real log's lines, again and again with other users."""
    copies = -(-count // 50_000)
    path = folder / "lines.log"
    with path.open("wb") as out:
        write_log(find_log(), out, copies)
    with path.open("rb") as lines:
        yield from islice((line.rstrip(b"\n") for line in lines), count)


class Collected:
    """A collector that runs, and what it says of itself."""

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

    def __enter__(self) -> "Collected":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def committed(self) -> int:
        """Lines in the store."""
        manifest = read_manifest(self._store)
        return sum(p["offset"] for p in manifest.offsets.values()) if manifest else 0

    def metric(self, name: str) -> float:
        """One of its metrics; 0 before it answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics") as answer:
                told = answer.read().decode()
        except OSError:
            return 0.0
        return next(
            (float(x.split()[1]) for x in told.splitlines() if x.startswith(f"{name} ")), 0.0
        )

    def taken(self) -> float:
        """Lines it has read."""
        return sum(
            self.metric(f'marquee_ingest_lines_total{{kind="{kind}"}}')
            for kind in ("watches", "ratings", "recommendations", "accounts", "rejected")
        )

    def usage(self) -> dict[str, float]:
        """Its processor seconds and peak memory so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
        ticks = os.sysconf("SC_CLK_TCK")
        return {
            "cpu_seconds": (int(fields[11]) + int(fields[12])) / ticks,
            "peak_mb": round(int(peak) / 1024, 1),
        }


def catch_up(broker: Broker, folder: Path, lines: int) -> dict[str, Any]:
    """All lines wait; the rate from the first taken to nine tenths committed."""
    broker.make_topic("waiting", partitions=1)
    started = time.perf_counter()
    broker.produce("waiting", make_lines(folder, lines))
    produced = time.perf_counter() - started
    with Collected(broker, "waiting", folder / "waiting") as collector:
        while not collector.taken():
            time.sleep(0.02)
        first, begun = collector.usage()["cpu_seconds"], time.perf_counter()
        already = collector.taken()
        while (done := collector.committed()) < 0.9 * lines:
            time.sleep(0.02)
        seconds = time.perf_counter() - begun
        usage = collector.usage()
    cpu = usage["cpu_seconds"] - first
    return {
        "lines": lines,
        "produced_per_second": round(lines / produced),
        "lines_per_second": round((done - already) / seconds),
        "lines_per_cpu_second": round((done - already) / cpu),
        "peak_mb": usage["peak_mb"],
    }


def keep_up(broker: Broker, folder: Path, rate: int, seconds: int) -> dict[str, Any]:
    """Lines come at a rate; how far behind the collector is, sampled twice a second."""
    broker.make_topic("coming", partitions=1)
    lags: list[float] = []
    delays: list[float] = []
    with Collected(broker, "coming", folder / "coming") as collector:
        while not collector.metric("marquee_kafka_connected"):
            time.sleep(0.1)
        first = collector.usage()["cpu_seconds"]
        deadline = time.monotonic()

        def paced() -> Iterator[bytes]:
            nonlocal deadline
            for number, line in enumerate(make_lines(folder, rate * seconds)):
                if number % (rate // 10) == 0:
                    deadline += 0.1
                    time.sleep(max(0.0, deadline - time.monotonic()))
                if number % (rate // 2) == 0 and number:
                    lags.append(number - collector.taken())
                    delays.append(collector.metric("marquee_ingest_delay_seconds"))
                yield line

        broker.produce("coming", paced())
        usage = collector.usage()
        while collector.committed() < rate * seconds:
            time.sleep(0.1)
    return {
        "lines_per_second": rate,
        "seconds": seconds,
        "lag_lines_median": statistics.median(lags),
        "lag_lines_largest": max(lags),
        "delay_seconds_largest": round(max(delays), 2),
        "cpu_share": round((usage["cpu_seconds"] - first) / seconds, 3),
        "peak_mb": usage["peak_mb"],
    }


def main() -> int:
    """Measure and print; exit status 1 when the target is missed."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser("python -m bench.stream", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="fewer lines, a shorter while")
    arguments = parser.parse_args()
    reason = why_not() or (None if find_log().is_file() else f"no {find_log()}")
    if reason:
        print(json.dumps({"skipped": reason}) if arguments.json else f"skipped: {reason}")
        return 0
    lines, seconds = (300_000, 20) if arguments.quick else (2_000_000, 60)
    with tempfile.TemporaryDirectory(prefix="marquee-bench-") as name:
        folder = Path(name)
        (folder / "broker").mkdir()
        folder.chmod(0o755)
        with running(folder / "broker") as broker:
            runs = {
                "catching up": catch_up(broker, folder, lines),
                "keeping up": keep_up(broker, folder, 1000, seconds),
            }
    passed = runs["catching up"]["lines_per_second"] >= TARGET["lines_per_second"]
    if arguments.json:
        print(json.dumps({"target": TARGET, "passed": passed, "runs": runs}))
        return 0 if passed else 1
    for name, figures in runs.items():
        print(name)
        for key, value in figures.items():
            print(f"  {key:<32} {value:>14,}")
    print(f"target {'met' if passed else 'MISSED'}: {TARGET['lines_per_second']:,} lines/s")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
