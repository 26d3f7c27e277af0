"""Time of a request against the number of users and of movies.

Requests are calls of the WSGI application in one process: over HTTP two thirds of the time are
gunicorn's, which would hide differences. `python -m bench.requests.curve '[[users, movies], ...]'
ROUNDS` prints microseconds per request, first those of the constant baseline.
"""

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app import logs
from app.service.application import create_app
from app.settings import read_settings
from bench.requests import baseline_constant
from bench.requests.model import ROOT, make_model, sample_users
from bench.requests.servers import cores

USERS = [(10**power, 27_000) for power in (3, 4, 5, 6)]
MOVIES = [(100_000, 10**power) for power in (3, 4, 5)]
#: Calls per application and round.
_CALLS = 1000
Application = Callable[..., Any]


def measure(sizes: list[tuple[int, int]], rounds: int) -> list[float]:
    """Microseconds per request: of the constant baseline, then of a model of each size."""
    command = [sys.executable, "-m", "bench.requests.curve", json.dumps(sizes), str(rounds)]
    with tempfile.TemporaryDirectory(prefix="marquee-bench-") as metrics:
        process = subprocess.run(
            ["taskset", "--cpu-list", str(cores()[0]), *command],
            cwd=ROOT,
            env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": metrics},
            check=True,
            stdout=subprocess.PIPE,
        )
    times: list[float] = json.loads(process.stdout)
    return times


def _measure_in_process(sizes: list[tuple[int, int]], rounds: int) -> list[float]:
    models = [make_model(*size) for size in sizes]
    applications: list[Application] = [baseline_constant.wsgi()]
    logs.set_up(read_settings(log_level="warning"))
    applications += [
        create_app(read_settings(model_dir=model, recent_enabled=False)) for model in models
    ]
    times: list[list[float]] = [[] for _ in applications]
    gc.disable()
    for round_ in range(-2, rounds):  # two rounds of warm-up
        runs = zip(applications, [models[0], *models], times, strict=True)
        for application, model, microseconds in runs:
            seconds = _call(application, sample_users(model, _CALLS, 100 + round_).tolist())
            if round_ >= 0:
                microseconds.append(seconds / _CALLS * 1e6)
        gc.collect()
    return [round(statistics.median(microseconds), 2) for microseconds in times]


def _call(application: Application, users: list[int]) -> float:
    """Request each user once; return the CPU time in seconds."""
    requests = [_environment(user) for user in users]
    started = time.process_time()
    for request in requests:
        response = application(request, lambda status, headers: None)
        b"".join(response)
        response.close()
    return time.process_time() - started


def _environment(user: int) -> dict[str, Any]:
    """The WSGI environment of one request."""
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": f"/recommend/{user}",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8082",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1:8082",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": None,
        "wsgi.errors": sys.stderr,
    }


def plot(curve: dict[str, Any], path: Path) -> None:
    """Plot the curve: one panel for users, one for movies."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    points = (*curve["users"], *curve["movies"])
    highest = max(curve["constant"], *(point["microseconds"] for point in points))
    for panel, axis, other in zip(panels, ("users", "movies"), ("movies", "users"), strict=True):
        points = curve[axis]
        panel.semilogx(
            [p[axis] for p in points], [p["microseconds"] for p in points], "o-", label="Marquee"
        )
        panel.axhline(curve["constant"], color="gray", linestyle="--", label="constant response")
        panel.set(xlabel=f"{axis} ({points[0][other]:,} {other})", ylim=(0, 1.2 * highest))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("microseconds per request")
    panels[0].legend(loc="lower right")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def measure_curve(
    users: list[tuple[int, int]], movies: list[tuple[int, int]], rounds: int = 15
) -> dict[str, Any]:
    """Measure both curves and the constant baseline in one run."""
    constant, *times = measure([*users, *movies], rounds)
    points = [
        {"users": size[0], "movies": size[1], "microseconds": microseconds}
        for size, microseconds in zip([*users, *movies], times, strict=True)
    ]
    return {"constant": constant, "users": points[: len(users)], "movies": points[len(users) :]}


if __name__ == "__main__":
    print(json.dumps(_measure_in_process(json.loads(sys.argv[1]), int(sys.argv[2]))))
