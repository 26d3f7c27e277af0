"""Requests a second through NGINX and three slots: ours beside the constant answer in their place.

The compose file as it is (NGINX and the slots alone), twice, as projects of their own on ports of
their own; asked in turn, so that the one that is not asked idles. Everything shares the machine's
cores, the load too. Needs a Docker engine and the images (`make images` where no registry
answers). NGINX lets 6,000 requests a second of one client through: a faster machine measures that.
Writes its part of docs/benchmarks-requests.md unless --quick.

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
from bench.requests.measure import DRAWN, Spread
from bench.requests.model import ROOT, make_model, some_users
from bench.requests.servers import free_port
from tests.support.stack import SLOTS, Stack, docker

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
PEERS = ("constant", "marquee")


@dataclass
class BenchStack(Stack):
    """NGINX and three slots of one peer, under this benchmark's names."""

    peer: str
    port: int

    @property
    def image(self) -> str:
        """The name before the slot's tag."""
        return f"{PROJECT}/{self.peer}"

    @property
    def environment(self) -> dict[str, str]:
        """As the suite's, with other names and another port."""
        return super().environment | {
            "COMPOSE_PROJECT_NAME": f"{PROJECT}-{self.peer}",
            "COMPOSE_FILE": "docker-compose.yml:bench/requests/stack.yml",
            "MARQUEE_IMAGE": self.image,
            "MARQUEE_BENCH_PORT": str(self.port),
        }

    def remove(self) -> None:
        """Take everything down, images too."""
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "5")
        for slot in SLOTS:
            if docker("images", "--quiet", f"{self.image}:{slot}"):
                docker("rmi", f"{self.image}:{slot}")


def build(stacks: list[BenchStack], model: Path) -> None:
    """Build both peers' images on top of the service's own."""
    base = f"{stacks[0].image}:stable-1"
    stacks[0].compose("build", "--quiet", "stable-1", timeout=1500)
    with tempfile.TemporaryDirectory(prefix="marquee-bench-") as folder:
        context = Path(folder)
        shutil.copytree(model, context / "model")
        (context / "bench" / "requests").mkdir(parents=True)
        for name in ("__init__.py", "constant.py", "model.py"):
            shutil.copy(ROOT / "bench" / "requests" / name, context / "bench" / "requests")
        (context / "Dockerfile").write_text(DOCKERFILE)
        docker("tag", base, f"{PROJECT}:base")
        for stack in stacks:
            docker(
                "build", "--quiet", f"--build-arg=BASE={PROJECT}:base", f"--target={stack.peer}",
                *(f"--tag={stack.image}:{slot}" for slot in SLOTS), folder,
            )  # fmt: skip
        docker("rmi", f"{PROJECT}:base")


@contextmanager
def running(model: Path) -> Iterator[list[BenchStack]]:
    """Both stacks, healthy; whatever was built and started is removed at the end."""
    stacks = [BenchStack(ROOT, peer, free_port()) for peer in PEERS]
    try:
        build(stacks, model)
        for stack in stacks:
            stack.compose("up", "-d", "--wait", *SLOTS, "nginx")
        yield stacks
    finally:
        for stack in stacks:
            stack.remove()


def measure(model: Path, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Requests a second of each peer in each round, in turns in the opposite order."""
    answered: dict[str, list[float]] = {peer: [] for peer in PEERS}
    with running(model) as stacks:
        for number in range(-2, rounds):  # the first two only warm up
            for stack in stacks[:: 1 - 2 * (number % 2)]:
                users = some_users(model, DRAWN, 1000 + number)
                figure = load.peak(f"http://127.0.0.1:{stack.port}", users, seconds)
                if number >= 0:
                    answered[stack.peer].append(figure)
    return answered


def why_not() -> str | None:
    """Why the stacks cannot run here; None where they can."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        return "no Docker engine answers"
    return load.why_not()


def main() -> int:
    """Measure and print; exit status 1 when the target is missed (not judged with `--quick`)."""
    arguments = _arguments()
    if reason := why_not():
        print(json.dumps({"skipped": reason}) if arguments.json else f"skipped: {reason}")
        return 0
    rounds, seconds = (2, 2.0) if arguments.quick else (arguments.rounds, arguments.seconds)
    result = _result(measure(make_model(USERS, MOVIES), rounds, seconds), seconds)
    if not arguments.quick:
        report.write_page("requests_stack", result)
    if arguments.json:
        print(json.dumps(result))
    else:
        print(f"{result['what']}\n")
        report.show(result)
    missed = not all(met for *_, met in report.targets(result["ratios"]))
    return 1 if missed and not arguments.quick else 0


def _result(answered: dict[str, list[float]], seconds: float) -> dict[str, Any]:
    pairs = zip(answered["marquee"], answered["constant"], strict=True)
    rounds = len(answered["marquee"])
    return {
        "what": f"NGINX and three slots of two workers, {USERS:,} users, {MOVIES:,} movies, "
        f"{rounds} rounds, {seconds:g} s of load for each figure; all on the same cores",
        "command": f"python -m bench.requests_stack --rounds {rounds} --seconds {seconds:g}",
        "machine": report.machine(),
        "ratios": {report.STACK: Spread.of(ours / theirs for ours, theirs in pairs).rounded()},
        "figures": {
            "peak": {peer: Spread.of(values).rounded() for peer, values in answered.items()}
        },
    }


def _arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="two rounds, no page; judges nothing")
    parser.add_argument("--rounds", type=int, default=15, help="rounds (15)")
    parser.add_argument("--seconds", type=float, default=3, help="of load for each figure (3)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
