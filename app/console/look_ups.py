"""What the page Find looks up: it is the only page that waits for the database."""

from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Any

from app.console.exposure import Exposure
from app.console.records import Records
from app.console.sources import SourceError
from app.provenance.lineage import explain_events

#: At a time, so that the other pages are served while the database is away (of 8 threads).
MAX_LOOK_UPS = 3
#: How long a page waits for one. The time-outs of the database do not cover the resolution of its
#: name, which takes half a minute while its container is stopped.
LOOK_UP_SECONDS = 5.0
_MAX_USER_ID = 2**63 - 1


class LookUps:
    """Looks up in threads of its own.

    Args:
        records: answers to users and requests.
        movies: counts of recommended movies.
    """

    def __init__(self, records: Records, movies: Exposure) -> None:
        self._records, self._movies = records, movies
        self._free = BoundedSemaphore(MAX_LOOK_UPS)
        self._threads = ThreadPoolExecutor(MAX_LOOK_UPS, thread_name_prefix="look-up")

    def find(self, user: str, request_id: str, movie: str) -> dict[str, Any]:
        """Find by the first text that is not empty.

        Returns:
            What the template shows: `records`, `exposure`, or an `error` in one sentence.
        """
        if not self._free.acquire(blocking=False):
            return {"error": "Too many look-ups at a time: try again in some seconds."}
        try:
            future = self._threads.submit(self._look_up_and_release, user, request_id, movie)
            return future.result(LOOK_UP_SECONDS)
        except SourceError as error:
            return {"error": str(error)}
        except TimeoutError:
            return {"error": "the database does not respond in time"}

    def _look_up_and_release(self, user: str, request_id: str, movie: str) -> dict[str, Any]:
        """Look up; a page that waits no longer leaves its place only when this has ended."""
        try:
            return self._look_up(user, request_id, movie)
        finally:
            self._free.release()

    def _look_up(self, user: str, request_id: str, movie: str) -> dict[str, Any]:
        if user:
            if not (user.isascii() and user.isdigit()) or int(user) > _MAX_USER_ID:
                return {"error": "A user id is a whole number, such as 42."}
            return {"records": [explain_events(one) for one in self._records.find_user(int(user))]}
        if request_id:
            records = self._records.find_request(request_id)
            return {"records": [explain_events(record) for record in records]}
        return {"exposure": self._movies.find_movie(movie)}
