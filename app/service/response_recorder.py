"""Hands each answer to the queue of provenance; nothing here waits or raises."""

import socket
import time
from time import perf_counter
from typing import TYPE_CHECKING

from prometheus_client import Counter

from app.model.recommendation_lists import Recommendation, RecommendationLists
from app.provenance.instance_info import about, head
from app.provenance.record_format import ASKED_AGAIN, GIVEN_UP, PERSONAL, answer_frame
from app.provenance.spool_writer import Recorder
from app.service.request_metrics import START
from app.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed.wsgi import WSGIEnvironment

#: The edge's ids begin with seconds since 1970, to the millisecond.
_SECONDS = slice(0, 14)


class Recording:
    """Records what one slot answers."""

    def __init__(self, settings: Settings, lists: RecommendationLists, lost: Counter) -> None:
        counts = {kind: lost.labels(kind) for kind in ("dropped", "failed")}
        directory: Path = settings.spool_dir
        self._recorder = Recorder(
            directory,
            head(settings, lists),
            about(settings, lists),
            settings.spool_max_mb << 20,
            lambda kind, records: counts[kind].inc(records),
        )
        self._recorder.tell()
        self._late = settings.edge_connect_seconds

    def __call__(
        self, environ: "WSGIEnvironment", request_id: str, user_id: int, answer: Recommendation
    ) -> None:
        """Append one answer to the queue."""
        took = int((perf_counter() - environ[START]) * 1e6)
        now = time.time()
        flags = PERSONAL if answer.source == "personal" else 0
        if "HTTP_X_MARQUEE_AGAIN" in environ:
            flags |= ASKED_AGAIN
        # Only a late answer can have been given up; to look costs a system call.
        if request_id[10:11] == "." and self._is_late(request_id, now) and edge_has_gone(environ):
            flags |= GIVEN_UP
        self._recorder.append(
            answer_frame(int(now * 1e6), user_id, took, flags, request_id, answer.movie_numbers)
        )

    def _is_late(self, request_id: str, now: float) -> bool:
        """Whether the edge, whose id begins with seconds since 1970, may have given this try up."""
        try:
            return now - float(request_id[_SECONDS]) >= self._late
        except ValueError:  # not an id of the edge
            return False


def edge_has_gone(environ: "WSGIEnvironment") -> bool:
    """Whether the other side has closed the connection, so that no client gets this answer."""
    connection = environ.get("gunicorn.socket")
    if not isinstance(connection, socket.socket):
        return False
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
