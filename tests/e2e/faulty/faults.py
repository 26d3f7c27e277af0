"""Serve the application with the fault in the environment variable FAULT.

- `slow:SECONDS`: every recommendation request takes that long.
- `degrading:SECONDS`: so does each request of a worker from its hundredth on.
- `errors:N`: requests for every Nth user id fail.
- `client_errors:N`: requests for every Nth user id are answered with 400.
- `dies:N`: a worker ends at its Nth recommendation request, without an answer.
- `tail:SECONDS`: in 5 % of the time, three seconds of each minute, every request takes that long.
- `bursts:SLOTS`: in 10 % of the time, two seconds of every twenty, a tenth of the requests of all
  slots (`all`) or of one slot fail.
- `crash:SLOT`: the process exits at once in that slot.
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
_TAIL_SECONDS, _BURST_SECONDS = 3, 2
_KINDS = ("slow", "degrading", "errors", "client_errors", "dies", "tail", "bursts", "crash")
_KIND, _, _VALUE = os.environ["FAULT"].partition(":")


def _is_slow(number: int) -> bool:
    return (
        _KIND == "slow"
        or (_KIND == "degrading" and number >= _REQUESTS_BEFORE_DEGRADING)
        or (_KIND == "tail" and time.time() % 60 < _TAIL_SECONDS)
    )


def _is_nth_user(user_id: str) -> bool:
    return user_id.isdigit() and int(user_id) % int(_VALUE) == int(_VALUE) - 1


def _fails_in_burst(number: int) -> bool:
    here = _VALUE in {"all", os.environ.get("MARQUEE_SLOT")}
    return _KIND == "bursts" and here and time.time() % 20 < _BURST_SECONDS and number % 10 == 0


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
    return app


if __name__ == "__main__":
    assert _KIND in (*_KINDS, "corrupt")
    if _KIND == "crash" and os.environ.get("MARQUEE_SLOT") == _VALUE:
        sys.exit("fault of this test image: crash in this slot")
    Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).mkdir(exist_ok=True)
    gunicorn = [sys.executable, "-m", "gunicorn", "--config", "python:app.service.gunicorn_conf"]
    os.execv(sys.executable, [*gunicorn, "faults:wsgi()"])
