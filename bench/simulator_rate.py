"""What the simulator holds on one core: lines without a clock, requests with lines in real time.

In real time it asks a server that answers at once, on the other core, at higher and higher rates,
while an hour passes each second, so that as many movies are watched as are begun. A rate is held
when at most one request in a thousand was sent more than 100 ms late or answered late; each rate is
tried up to three times, since what else runs here takes its share. Figures for a second of
processor time, the start included, do not depend on that.

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
TRIES = 3
SPEED = 3600
MOVIES = ",".join(f"movie+number+{n}+1999" for n in range(20)).encode()
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Model-Version: 1\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(MOVIES), MOVIES)
)


class Answering(asyncio.Protocol):
    """Answers every request with the same list."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer as many requests as came."""
        self.transport.write(ANSWER * data.count(b"\r\n\r\n"))


async def answer(port: int) -> None:
    """Listen until killed."""
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def simulate(*options: object) -> dict[str, Any]:
    """The real command on one core; its summary and the process's own processor time."""
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
    return summary | {"cpu": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss // 1024}


def alone(out: str, days: float) -> dict[str, Any]:
    """As fast as it can, nobody asked."""
    done = simulate("--days", days, "--rate", 0.5, "--out", out)
    return {
        "visits_per_second": round(0.5 * 86_400 * days / done["seconds"]),
        "lines_per_second": round(done["stream"]["lines"] / done["seconds"]),
        "lines_per_cpu_second": round(done["stream"]["lines"] / done["cpu"]),
        "peak_mb": done["peak_mb"],
    }


def live(url: str, out: str, rate: int, seconds: float) -> dict[str, Any]:
    """In real time at one rate."""
    days = seconds * SPEED / 86_400
    done = simulate("--url", url, "--rate", rate, "--speed", SPEED, "--days", days, "--out", out)
    asked = done["requests"]
    return {
        "requests_per_second": round(asked["sent"] / seconds),
        "lines_per_second": round(done["stream"]["lines"] / seconds),
        "behind_ms": asked["behind_ms"],
        "p99_ms": asked["p99_ms"],
        "availability": asked["availability"],
        "requests_per_cpu_second": round(asked["sent"] / done["cpu"]),
        "lines_per_cpu_second": round(done["stream"]["lines"] / done["cpu"]),
        "sent_late": asked["sent_late"],
        "held": asked["sent_late"] + asked["late"] <= asked["sent"] / 1000,
    }


def measure(quick: bool) -> dict[str, Any]:
    """All runs."""
    other = max(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "bench.simulator_rate", "--serve", "0"]
    with (
        tempfile.NamedTemporaryFile(prefix="marquee-bench-") as out,
        subprocess.Popen(
            ["taskset", "--cpu-list", str(other), *command], stdout=subprocess.PIPE, text=True
        ) as server,
    ):
        assert server.stdout is not None
        try:
            url = f"http://127.0.0.1:{int(server.stdout.readline())}"
            runs = []
            for rate in RATES[1::2] if quick else RATES:
                for _ in range(TRIES):
                    runs.append(live(url, out.name, rate, 5 if quick else 15))
                    if runs[-1]["held"]:
                        break
                else:
                    break
        finally:
            server.kill()
        return {"alone": alone(out.name, 0.3 if quick else 1), "live": runs}


def main() -> int:
    """Measure and print."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="few and short runs")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        asyncio.run(answer(arguments.serve))
    result = measure(arguments.quick)
    if arguments.json:
        print(json.dumps(result))
        return 0
    print("alone:", ", ".join(f"{value:,} {name}" for name, value in result["alone"].items()))
    for run in result["live"]:
        print("live: ", ", ".join(f"{value:,} {name}" for name, value in run.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
