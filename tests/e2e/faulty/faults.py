"""Serve the application with a fault, said by FAULT.

`slow:SECONDS` every recommendation waits; `tires:SECONDS` so does a worker's hundredth, and all
after it; `errors:N` every Nth user's fails; `absent:SLOT` the
process ends at once in that slot; `corrupt` nothing here (the image's model is damaged).
"""

import os
import sys
import time
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Any

_FRESH = 100
_KIND, _, _VALUE = os.environ["FAULT"].partition(":")


def wsgi() -> Callable[..., Iterable[bytes]]:
    """The application; the fault lies inside what its metrics measure."""
    from app.service.application import wsgi as real

    app = real()
    view = app.view_functions["recommend.recommend"]
    answers = count(1)

    def faulty(user_id: str) -> Any:
        if _KIND == "slow" or (_KIND == "tires" and next(answers) >= _FRESH):
            time.sleep(float(_VALUE))
        if (
            _KIND == "errors"
            and user_id.isdigit()
            and int(user_id) % int(_VALUE) == int(_VALUE) - 1
        ):
            raise RuntimeError("a fault")
        return view(user_id=user_id)

    app.view_functions["recommend.recommend"] = faulty
    return app


if __name__ == "__main__":
    assert _KIND in ("slow", "tires", "errors", "absent", "corrupt")
    if _KIND == "absent" and os.environ.get("MARQUEE_SLOT") == _VALUE:
        sys.exit("a fault: not in this slot")
    Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).mkdir(exist_ok=True)
    gunicorn = [sys.executable, "-m", "gunicorn", "--config", "python:app.service.gunicorn_conf"]
    os.execv(sys.executable, [*gunicorn, "faults:wsgi()"])
