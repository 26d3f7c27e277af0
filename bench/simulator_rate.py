"""Throughput of the simulator on one core: offline, and in real time against a trivial server.

In real time it sends requests to a server on the other core that responds at once, at increasing
rates, with an hour of simulated time each second, so that as many watch sessions end as start. A
rate is sustained when at most one request in a thousand was sent more than 100 ms late or timed
out; each rate is tried up to three times, because other processes on the machine also take time.
Values for each second of processor time (start-up included) do not depend on them.

    python -m bench.simulator_rate [--json] [--quick]
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

MARQUEE = Path(sys.executable).with_name("marquee")
RATES = (250, 500, 750, 1000, 1500, 2000, 3000)
MAX_TRIES = 3
SPEED = 3600
OFFLINE_RATE = 0.5
MOVIES = ",".join(f"movie+number+{n}+1999" for n in range(20)).encode()
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Model-Version: 1\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(MOVIES), MOVIES)
)


class ConstantResponse(asyncio.Protocol):
    """Responds to every request with the same list."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Respond to each request in the received data."""
        self.transport.write(RESPONSE * data.count(b"\r\n\r\n"))


async def serve(port: int) -> None:
    """Serve until killed; print the port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(ConstantResponse, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def simulate(*options: object) -> dict[str, Any]:
    """Run `marquee simulate` on one core; return its summary, processor time and memory."""
    core = min(os.sched_getaffinity(0))
    process = subprocess.Popen(
        ["taskset", "--cpu-list", str(core), str(MARQUEE), "simulate", "--json"]
        + [str(option) for option in options],
        stdout=subprocess.PIPE,
        env=os.environ | {"MARQUEE_LOG_LEVEL": "error", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    summary: dict[str, Any] = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return summary | {
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss // 1024,
    }


def measure_offline(out: str, days: float) -> dict[str, Any]:
    """Simulate as fast as possible without sending requests."""
    summary = simulate("--days", days, "--rate", OFFLINE_RATE, "--out", out)
    return {
        "visits_per_second": round(OFFLINE_RATE * 86_400 * days / summary["seconds"]),
        "lines_per_second": round(summary["log"]["lines"] / summary["seconds"]),
        "lines_per_cpu_second": round(summary["log"]["lines"] / summary["cpu_seconds"]),
        "peak_mb": summary["peak_mb"],
    }


def measure_live(url: str, out: str, rate: int, seconds: float) -> dict[str, Any]:
    """Simulate in real time at one rate."""
    days = seconds * SPEED / 86_400
    summary = simulate(
        "--url",
        url,
        "--rate",
        rate,
        "--speed",
        SPEED,
        "--days",
        days,
        "--start",
        "2023-01-01",
        "--out",
        out,
    )
    requests, lines = summary["requests"], summary["log"]["lines"]
    return {
        "requests_per_second": round(requests["sent"] / seconds),
        "lines_per_second": round(lines / seconds),
        "max_send_delay_ms": requests["max_send_delay_ms"],
        "p99_ms": requests["p99_ms"],
        "availability": requests["availability"],
        "requests_per_cpu_second": round(requests["sent"] / summary["cpu_seconds"]),
        "lines_per_cpu_second": round(lines / summary["cpu_seconds"]),
        "sent_late": requests["sent_late"],
        "sustained": requests["sent_late"] + requests["timeout"] <= requests["sent"] / 1000,
    }


def measure(quick: bool) -> dict[str, Any]:
    """Measure offline, and in real time up to the first rate that is not sustained."""
    other_core = max(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "bench.simulator_rate", "--serve", "0"]
    with (
        tempfile.NamedTemporaryFile(prefix="marquee-bench-") as out,
        subprocess.Popen(
            ["taskset", "--cpu-list", str(other_core), *command], stdout=subprocess.PIPE, text=True
        ) as server,
    ):
        assert server.stdout is not None
        try:
            url = f"http://127.0.0.1:{int(server.stdout.readline())}"
            runs = []
            for rate in RATES[1::2] if quick else RATES:
                for _ in range(MAX_TRIES):
                    runs.append(measure_live(url, out.name, rate, 5 if quick else 15))
                    if runs[-1]["sustained"]:
                        break
                else:
                    break
        finally:
            server.kill()
        return {"offline": measure_offline(out.name, 0.3 if quick else 1), "live": runs}


def main() -> int:
    """Measure and print."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="few and short runs")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        asyncio.run(serve(arguments.serve))
    result = measure(arguments.quick)
    if arguments.json:
        print(json.dumps(result))
        return 0
    print("offline:", ", ".join(f"{value:,} {name}" for name, value in result["offline"].items()))
    for run in result["live"]:
        print("live:   ", ", ".join(f"{value:,} {name}" for name, value in run.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
