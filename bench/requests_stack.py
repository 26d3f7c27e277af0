"""Requests a second through NGINX and three slots: ours beside the constant answer in their place.

The compose file as it is (NGINX and the slots alone), as a project of its own; the slots' images
are changed in turn, by their tags. Everything shares the machine's cores, the load too. Needs a
Docker engine, the images (`make standins` where no registry answers) and port 8082 free. NGINX
lets 6,000 requests a second of one client through: a machine that does more measures that.

    python -m bench.requests_stack [--json] [--quick] [--rounds N] [--seconds N] [--docs]
"""

import argparse
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.requests import load, report
from bench.requests.measure import DRAWN, Spread
from bench.requests.model import BUILD, ROOT, make_model, some_users
from tests.e2e.conftest import why_not
from tests.e2e.stack import SLOTS, URL, Stack, docker

PROJECT = "marquee-bench"
USERS, FILMS = 1_000_000, 27_000
DOCKERFILE = """ARG BASE
FROM $BASE AS marquee
COPY bench /opt/bench
COPY model /srv/marquee/model
ENV PYTHONPATH=/opt
FROM marquee AS constant
CMD ["python", "-m", "bench.requests.constant"]
"""
PEERS = ("constant", "marquee")


class BenchStack(Stack):
    """The stack under this benchmark's names."""

    @property
    def environment(self) -> dict[str, str]:
        """As the suite's, with other names."""
        return super().environment | {"COMPOSE_PROJECT_NAME": PROJECT, "MARQUEE_IMAGE": PROJECT}

    def put(self, peer: str) -> None:
        """Put one peer into all slots and wait until they are healthy."""
        for slot in SLOTS:
            docker("tag", f"{PROJECT}:{peer}", f"{PROJECT}:{slot}")
        self.compose("up", "-d", "--no-deps", "--force-recreate", "--wait", *SLOTS)
        self.compose("up", "-d", "--no-deps", "--wait", "nginx")


def build(stack: Stack, model: Path) -> None:
    """Build both peers' images on top of the service's own."""
    stack.compose("build", "--quiet", "stable-1", timeout=1500)
    context = BUILD / "stack"
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(model, context / "model")
    (context / "bench" / "requests").mkdir(parents=True)
    for name in ("__init__.py", "constant.py", "model.py"):
        shutil.copy(ROOT / "bench" / "requests" / name, context / "bench" / "requests")
    (context / "Dockerfile").write_text(DOCKERFILE)
    for peer in PEERS:
        docker(
            "build", "--quiet", f"--build-arg=BASE={PROJECT}:stable-1", f"--target={peer}",
            f"--tag={PROJECT}:{peer}", str(context),
        )  # fmt: skip
    shutil.rmtree(context)


@contextmanager
def running(model: Path) -> Iterator[BenchStack]:
    """The stack's images, built; whatever was started is removed at the end."""
    stack = BenchStack(ROOT)
    try:
        build(stack, model)
        yield stack
    finally:
        stack.compose("--profile", "*", "down", "--volumes", "--timeout", "5")
        for tag in (*PEERS, *SLOTS):
            if docker("images", "--quiet", f"{PROJECT}:{tag}"):
                docker("rmi", f"{PROJECT}:{tag}")


def measure(model: Path, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Requests a second of each peer in each round, in turns in the opposite order."""
    answered: dict[str, list[float]] = {peer: [] for peer in PEERS}
    with running(model) as stack:
        for number in range(rounds):
            for peer in PEERS[:: 1 - 2 * (number % 2)]:
                stack.put(peer)
                load.peak(URL, some_users(model, DRAWN, 1000 + number), 2)
                users = some_users(model, DRAWN, number)
                answered[peer].append(load.peak(URL, users, seconds))
    return answered


def main() -> int:
    """Measure and print; exit status 1 when the target is missed (not judged with `--quick`)."""
    arguments = _arguments()
    if reason := why_not() or load.why_not():
        print(json.dumps({"skipped": reason}) if arguments.json else f"skipped: {reason}")
        return 0
    rounds, seconds = (1, 2.0) if arguments.quick else (arguments.rounds, arguments.seconds)
    result = _result(measure(make_model(USERS, FILMS), rounds, seconds), seconds)
    if not arguments.quick:
        report.keep("requests_stack", result)
    if arguments.docs and not arguments.quick:
        report.write_page()
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
        "what": f"NGINX and three slots of two workers, {USERS:,} users, {FILMS:,} films, "
        f"{rounds} rounds, {seconds:g} s of load for each figure; all on the same cores",
        "command": f"python -m bench.requests_stack --rounds {rounds} --seconds {seconds:g} --docs",
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
    parser.add_argument("--quick", action="store_true", help="one round; judges nothing")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (5)")
    parser.add_argument("--seconds", type=float, default=5, help="of load for each figure (5)")
    parser.add_argument("--docs", action="store_true", help="write the page")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
