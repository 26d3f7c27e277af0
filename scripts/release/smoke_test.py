"""Smoke test of an image, run inside a container of it that gets no traffic.

Requests recommendations and checks status, served version and format. Uses the standard library
only. Latency is not checked: the first requests of a process are not representative.

Usage: python - VERSION < smoke_test.py
"""

import re
import sys
import time
import urllib.error
import urllib.request
from http import HTTPStatus

URL = "http://127.0.0.1:8082"
MOVIE = r"[a-z0-9+_.*%-]+"
USERS = (0, 1, 42, 999_999, 10**12)
READINESS_TIMEOUT_SECONDS = 60


def get(path: str) -> tuple[int, str, str]:
    """Return status, body and served model version of a response."""
    try:
        with urllib.request.urlopen(URL + path, timeout=5) as response:  # noqa: S310 - our own URL
            return response.status, response.read().decode(), response.headers["X-Model-Version"]
    except urllib.error.HTTPError as error:
        return error.code, "", ""


def wait_until_ready() -> None:
    """Wait until the service responds.

    Raises:
        OSError: it does not within `READINESS_TIMEOUT_SECONDS`.
    """
    deadline = time.monotonic() + READINESS_TIMEOUT_SECONDS
    while True:
        try:
            get("/ready")
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def find_error(version: str) -> str | None:
    """Return the first error in the service's responses, or None."""
    wait_until_ready()
    for user in USERS:
        status, body, served = get(f"/recommend/{user}")
        if status != HTTPStatus.OK:
            return f"user {user}: status {status}"
        if served != version:
            return f"user {user}: served by version {served}, expected {version}"
        movies = body.split(",")
        if not re.fullmatch(rf"{MOVIE}(,{MOVIE}){{0,19}}", body) or len(set(movies)) != len(movies):
            return f"user {user}: not a list of up to 20 distinct movies: {body[:80]!r}"
    if get("/recommend/invalid")[0] != HTTPStatus.BAD_REQUEST:
        return "an invalid user id is not rejected with status 400"
    return None


if __name__ == "__main__":
    try:
        sys.exit(find_error(sys.argv[1]))
    except OSError as failure:
        sys.exit(f"no response: {failure}")
