"""Serve the application with a fault: FAULT is `slow:SECONDS`."""

import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

_KIND, _, _VALUE = os.environ["FAULT"].partition(":")


def wsgi() -> Callable[..., Iterable[bytes]]:
    """The application; each recommendation waits, inside what its metrics measure."""
    from app.service.application import wsgi as real

    app = real()
    assert _KIND == "slow"
    view = app.view_functions["recommend.recommend"]

    def slow(**arguments: Any) -> Any:
        time.sleep(float(_VALUE))
        return view(**arguments)

    app.view_functions["recommend.recommend"] = slow
    return app


if __name__ == "__main__":
    Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).mkdir(exist_ok=True)
    gunicorn = [sys.executable, "-m", "gunicorn", "--config", "python:app.service.gunicorn_conf"]
    os.execv(sys.executable, [*gunicorn, "faults:wsgi()"])
