"""Run inside an image that takes no traffic yet: ask it, and hold its answers against the contract.

Standard library only; the one argument is the version that must answer. Latency is not judged
here: the first answers of a process say nothing of the rest.
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
PATIENCE = 60


def ask(path: str) -> tuple[int, str, str]:
    """Status, body and served version of an answer."""
    try:
        with urllib.request.urlopen(URL + path, timeout=5) as answer:  # noqa: S310 - our own URL
            return answer.status, answer.read().decode(), answer.headers["X-Model-Version"]
    except urllib.error.HTTPError as error:
        return error.code, "", ""


def wait() -> None:
    """Wait until the service is ready.

    Raises:
        OSError: it is not, after a minute.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            ask("/ready")
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def main(version: str) -> str | None:
    """What is wrong with the answers; None when nothing is."""
    wait()
    for user in USERS:
        status, body, served = ask(f"/recommend/{user}")
        if status != HTTPStatus.OK:
            return f"user {user}: status {status}"
        if served != version:
            return f"user {user}: answered by version {served}, not {version}"
        movies = body.split(",")
        if not re.fullmatch(rf"{MOVIE}(,{MOVIE}){{0,19}}", body) or len(set(movies)) != len(movies):
            return f"user {user}: not a line of up to 20 movies: {body[:80]!r}"
    if ask("/recommend/nobody")[0] != HTTPStatus.BAD_REQUEST:
        return "an invalid user id is not refused with 400"
    return None


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except OSError as failure:
        sys.exit(f"no answer: {failure}")
