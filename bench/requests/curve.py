"""Request time against the number of users and of movies: flat, as a request is a look-up.

Requests are calls of the WSGI application in one process, where nothing hides a difference: over
HTTP the server's own work is two thirds of the time. Run as `python -m bench.requests.curve
'[[users, movies], ...]'` it prints microseconds a request, first those of the constant answer.
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
from bench.requests.model import ROOT, make_model, some_users
from bench.requests.servers import cores

USERS = [(10**power, 27_000) for power in (3, 4, 5, 6)]
MOVIES = [(100_000, 10**power) for power in (3, 4, 5)]
#: Calls of one application in a row, and how often all take their turn.
_CALLS, _TURNS = 1000, 15
Application = Callable[..., Any]


def measure(sizes: list[tuple[int, int]]) -> list[float]:
    """Microseconds a request: of the constant answer, then of a model of each size."""
    command = [sys.executable, "-m", "bench.requests.curve", json.dumps(sizes)]
    with tempfile.TemporaryDirectory(prefix="marquee-bench-") as metrics:
        done = subprocess.run(
            ["taskset", "--cpu-list", str(cores()[0]), *command],
            cwd=ROOT,
            env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": metrics},
            check=True,
            stdout=subprocess.PIPE,
        )
    figures: list[float] = json.loads(done.stdout)
    return figures


def _measure_here(sizes: list[tuple[int, int]]) -> list[float]:
    models = [make_model(*size) for size in sizes]
    peers: list[Application] = [baseline_constant.wsgi()]
    logs.set_up(read_settings(log_level="warning"))
    peers += [create_app(read_settings(model_dir=model)) for model in models]
    times: list[list[float]] = [[] for _ in peers]
    gc.disable()
    for turn in range(-2, _TURNS):  # the first two only warm up
        for peer, model, figures in zip(peers, [models[0], *models], times, strict=True):
            seconds = _call(peer, some_users(model, _CALLS, 100 + turn).tolist())
            if turn >= 0:
                figures.append(seconds / _CALLS * 1e6)
        gc.collect()
    return [round(statistics.median(figures), 2) for figures in times]


def _call(application: Application, users: list[int]) -> float:
    """Processor seconds of asking for each user once."""
    requests = [_environment(user) for user in users]
    started = time.process_time()
    for request in requests:
        answer = application(request, lambda status, headers: None)
        b"".join(answer)
        answer.close()
    return time.process_time() - started


def _environment(user: int) -> dict[str, Any]:
    """What gunicorn hands over for one request."""
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


def draw(figures: dict[str, Any], path: Path) -> None:
    """The picture: one panel for users, one for movies."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    points = (*figures["users"], *figures["movies"])
    highest = max(figures["constant"], *(point["microseconds"] for point in points))
    for panel, axis, other in zip(panels, ("users", "movies"), ("movies", "users"), strict=True):
        points = figures[axis]
        panel.semilogx(
            [p[axis] for p in points], [p["microseconds"] for p in points], "o-", label="Marquee"
        )
        panel.axhline(figures["constant"], color="gray", linestyle="--", label="constant answer")
        panel.set(xlabel=f"{axis} ({points[0][other]:,} {other})", ylim=(0, 1.2 * highest))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("microseconds a request")
    panels[0].legend(loc="lower right")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def curve(users: list[tuple[int, int]], movies: list[tuple[int, int]]) -> dict[str, Any]:
    """Both lines of the picture and the constant answer's time, from one run."""
    constant, *times = measure([*users, *movies])
    points = [
        {"users": size[0], "movies": size[1], "microseconds": microseconds}
        for size, microseconds in zip([*users, *movies], times, strict=True)
    ]
    return {"constant": constant, "users": points[: len(users)], "movies": points[len(users) :]}


if __name__ == "__main__":
    print(json.dumps(_measure_here(json.loads(sys.argv[1]))))
