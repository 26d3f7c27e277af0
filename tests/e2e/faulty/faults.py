"""Serve the application with the fault in the environment variable FAULT.

- `slow:SECONDS`: every recommendation request takes that long.
- `degrading:SECONDS`: so does each request of a worker from its hundredth on.
- `errors:N`: requests for every Nth user id fail.
- `client_errors:N`: requests for every Nth user id are answered with 400.
- `dies:N`: a worker ends at its Nth recommendation request, without an answer.
- `tail:SECONDS`: every twentieth request takes that long.
- `bursts`: a tenth of the requests fail in two seconds of every twenty, of all slots at a time.
- `crash:SLOT`: the process exits at once in that slot.
- `old_metrics`: requests are not counted when they start, as in builds before that counter.
- `corrupt`: the model in the image is damaged (see Dockerfile); the application is unchanged.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Any

from werkzeug.exceptions import BadRequest

_REQUESTS_BEFORE_DEGRADING = 100
_BURST_SECONDS = 2
_KINDS = (
    *("slow", "degrading", "errors", "client_errors", "dies", "tail", "bursts", "crash"),
    *("old_metrics", "corrupt"),
)
_KIND, _, _VALUE = os.environ["FAULT"].partition(":")


def _is_slow(number: int) -> bool:
    return (
        _KIND == "slow"
        or (_KIND == "degrading" and number >= _REQUESTS_BEFORE_DEGRADING)
        or (_KIND == "tail" and number % 20 == 0)
    )


def _is_nth_user(user_id: str) -> bool:
    return user_id.isdigit() and int(user_id) % int(_VALUE) == int(_VALUE) - 1


def _fails_in_burst(number: int) -> bool:
    return _KIND == "bursts" and time.time() % 20 < _BURST_SECONDS and number % 10 == 0


def wsgi() -> Callable[..., Iterable[bytes]]:
    """Return the application with the fault inside the duration that its metrics measure."""
    from app.service.application import wsgi as create_application

    app = create_application()
    view = app.view_functions["recommend.recommend"]
    requests = count(1)

    def faulty_view(user_id: str) -> Any:
        number = next(requests)
        if _is_slow(number):
            time.sleep(float(_VALUE))
        if _KIND == "dies" and number == int(_VALUE):
            os.kill(os.getpid(), signal.SIGKILL)
        if _KIND == "client_errors" and _is_nth_user(user_id):
            raise BadRequest("fault of this test image")
        if (_KIND == "errors" and _is_nth_user(user_id)) or _fails_in_burst(number):
            raise RuntimeError("fault of this test image")
        return view(user_id=user_id)

    app.view_functions["recommend.recommend"] = faulty_view
    if _KIND == "old_metrics":
        app.after_request(_remove_started)
    return app


def _remove_started(response: Any) -> Any:
    if b"marquee_requests_started_total" in response.get_data():
        lines = response.get_data().splitlines(keepends=True)
        response.set_data(b"".join(line for line in lines if b"requests_started" not in line))
    return response


if __name__ == "__main__":
    assert _KIND in _KINDS
    if _KIND == "crash" and os.environ.get("MARQUEE_SLOT") == _VALUE:
        sys.exit("fault of this test image: crash in this slot")
    Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).mkdir(exist_ok=True)
    gunicorn = [sys.executable, "-m", "gunicorn", "--config", "python:app.service.gunicorn_conf"]
    os.execv(sys.executable, [*gunicorn, "faults:wsgi()"])
