"""Requests per second through NGINX and three slots, compared with the constant baseline.

Runs NGINX and the slots of the compose file twice, as separate projects on separate ports, and
loads them in turn. Containers and load generator share the machine's cores. Needs a Docker engine
and the images (`make images` without access to a registry). NGINX limits one client to 6,000
requests per second, which is what a faster machine would measure. Writes its part of
docs/benchmarks-requests.md unless --quick.

    python -m bench.requests_stack [--json] [--quick] [--rounds N] [--seconds N]
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.requests import load, report
from bench.requests.measure import USERS_PER_SECOND, Spread
from bench.requests.model import ROOT, make_model, sample_users
from bench.requests.servers import free_port
from tests.support.docker import docker
from tests.support.stack import SLOTS, Stack

PROJECT = "marquee-bench"
USERS, MOVIES = 1_000_000, 27_000
DOCKERFILE = """ARG BASE
FROM $BASE AS marquee
COPY bench /opt/bench
COPY model /srv/marquee/model
ENV PYTHONPATH=/opt
FROM marquee AS constant
CMD ["python", "-m", "bench.requests.baseline_constant"]
"""
SERVERS = ("constant", "marquee")


@dataclass
class BenchStack(Stack):
    """NGINX and three slots of one server, with project and image names of this benchmark."""

    server: str
    port: int

    @property
    def image(self) -> str:
        """Image name without the slot's tag."""
        return f"{PROJECT}/{self.server}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the test stack with other names and another port."""
        return super().environment | {
            "COMPOSE_PROJECT_NAME": f"{PROJECT}-{self.server}",
            "COMPOSE_FILE": "docker-compose.yml:bench/requests/stack.yml",
            "MARQUEE_IMAGE": self.image,
            "MARQUEE_BENCH_PORT": str(self.port),
        }

    def remove(self) -> None:
        """Remove containers, volumes and images."""
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "5")
        for slot in SLOTS:
            if docker("images", "--quiet", f"{self.image}:{slot}"):
                docker("rmi", f"{self.image}:{slot}")


def build(stacks: list[BenchStack], model: Path) -> None:
    """Build the images of both servers from the image of the service."""
    base = f"{stacks[0].image}:stable-1"
    stacks[0].compose("build", "--quiet", "stable-1", timeout=1500)
    with tempfile.TemporaryDirectory(prefix="marquee-bench-") as folder:
        context = Path(folder)
        shutil.copytree(model, context / "model")
        (context / "bench" / "requests").mkdir(parents=True)
        for name in ("__init__.py", "baseline_constant.py", "model.py"):
            shutil.copy(ROOT / "bench" / "requests" / name, context / "bench" / "requests")
        (context / "Dockerfile").write_text(DOCKERFILE)
        docker("tag", base, f"{PROJECT}:base")
        for stack in stacks:
            docker(
                "build", "--quiet", f"--build-arg=BASE={PROJECT}:base", f"--target={stack.server}",
                *(f"--tag={stack.image}:{slot}" for slot in SLOTS), folder,
            )  # fmt: skip
        docker("rmi", f"{PROJECT}:base")


@contextmanager
def running(model: Path) -> Iterator[list[BenchStack]]:
    """Run both stacks until the end of the block, then remove containers and images."""
    stacks = [BenchStack(ROOT, server, free_port()) for server in SERVERS]
    try:
        build(stacks, model)
        for stack in stacks:
            stack.compose("up", "-d", "--wait", *SLOTS, "nginx")
        yield stacks
    finally:
        for stack in stacks:
            stack.remove()


def measure(model: Path, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Requests per second of each server in each round; each round reverses the order."""
    rates: dict[str, list[float]] = {server: [] for server in SERVERS}
    with running(model) as stacks:
        for number in range(-2, rounds):  # two rounds of warm-up
            for stack in stacks[:: 1 - 2 * (number % 2)]:
                users = sample_users(model, round(USERS_PER_SECOND * seconds), 1000 + number)
                rate = load.peak(f"http://127.0.0.1:{stack.port}", users, seconds)
                if number >= 0:
                    rates[stack.server].append(rate)
    return rates


def skip_reason() -> str | None:
    """Why the stacks cannot run here; None if they can."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        return "no Docker engine is running"
    return load.skip_reason()


def main() -> int:
    """Measure and print; exit status 1 when the target is missed (not checked with `--quick`)."""
    arguments = _parse_arguments()
    if reason := skip_reason():
        print(json.dumps({"skipped": reason}) if arguments.json else f"skipped: {reason}")
        return 0
    rounds, seconds = (2, 2.0) if arguments.quick else (arguments.rounds, arguments.seconds)
    result = _result(measure(make_model(USERS, MOVIES), rounds, seconds), seconds)
    if not arguments.quick:
        report.write_page("requests_stack", result)
    if arguments.json:
        print(json.dumps(result))
    else:
        print(f"{result['setup']}\n")
        report.print_tables(result)
    missed = not all(met for *_, met in report.targets(result["ratios"]))
    return 1 if missed and not arguments.quick else 0


def _result(rates: dict[str, list[float]], seconds: float) -> dict[str, Any]:
    pairs = zip(rates["marquee"], rates["constant"], strict=True)
    rounds = len(rates["marquee"])
    return {
        "setup": f"NGINX and three slots of two workers, {USERS:,} users, {MOVIES:,} movies, "
        f"{rounds} rounds, {seconds:g} s of load for each measurement; all on the same cores",
        "command": f"python -m bench.requests_stack --rounds {rounds} --seconds {seconds:g}",
        "machine": report.machine(),
        "ratios": {report.STACK: Spread.of(value / base for value, base in pairs).rounded()},
        "measurements": {
            "peak_rps": {server: Spread.of(values).rounded() for server, values in rates.items()}
        },
    }


def _parse_arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--quick", action="store_true", help="two rounds, writes no page, checks no target"
    )
    parser.add_argument("--rounds", type=int, default=15, help="rounds (15)")
    parser.add_argument(
        "--seconds", type=float, default=3, help="seconds of load for each measurement (3)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
