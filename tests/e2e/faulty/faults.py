"""Serve the application with the fault in the environment variable FAULT.

- `slow:SECONDS`: every recommendation request takes that long.
- `degrading:SECONDS`: so does each request of a worker from its hundredth on.
- `errors:N`: requests for every Nth user id fail.
- `crash:SLOT`: the process exits at once in that slot.
- `corrupt`: the model in the image is damaged (see Dockerfile); the application is unchanged.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Any

_REQUESTS_BEFORE_DEGRADING = 100
_KIND, _, _VALUE = os.environ["FAULT"].partition(":")


def wsgi() -> Callable[..., Iterable[bytes]]:
    """Return the application with the fault inside the duration that its metrics measure."""
    from app.service.application import wsgi as create_application

    app = create_application()
    view = app.view_functions["recommend.recommend"]
    requests = count(1)

    def faulty_view(user_id: str) -> Any:
        if _KIND == "slow" or (
            _KIND == "degrading" and next(requests) >= _REQUESTS_BEFORE_DEGRADING
        ):
            time.sleep(float(_VALUE))
        if (
            _KIND == "errors"
            and user_id.isdigit()
            and int(user_id) % int(_VALUE) == int(_VALUE) - 1
        ):
            raise RuntimeError("fault of this test image")
        return view(user_id=user_id)

    app.view_functions["recommend.recommend"] = faulty_view
    return app


if __name__ == "__main__":
    assert _KIND in ("slow", "degrading", "errors", "crash", "corrupt")
    if _KIND == "crash" and os.environ.get("MARQUEE_SLOT") == _VALUE:
        sys.exit("fault of this test image: crash in this slot")
    Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).mkdir(exist_ok=True)
    gunicorn = [sys.executable, "-m", "gunicorn", "--config", "python:app.service.gunicorn_conf"]
    os.execv(sys.executable, [*gunicorn, "faults:wsgi()"])
