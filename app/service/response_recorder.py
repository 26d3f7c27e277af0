"""Append a provenance record of each response to the spool; never waits and never raises."""

import socket
import time
from time import perf_counter
from typing import TYPE_CHECKING

from prometheus_client import Counter

from app.model.recommendation_lists import Recommendation, RecommendationLists
from app.provenance.instance_info import describe_instance, segment_header
from app.provenance.record_format import encode_record
from app.provenance.spool_writer import DROP_REASONS, SpoolWriter
from app.service.metrics import START
from app.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: NGINX's timeout to connect (`proxy_connect_timeout` in nginx/nginx.conf): the earliest moment
#: at which it can have abandoned a try.
EDGE_CONNECT_TIMEOUT_SECONDS = 0.1

#: NGINX's request ids begin with seconds since 1970, to the millisecond.
_EDGE_ID_TIME = slice(0, 14)


class ResponseRecorder:
    """Records the responses of one process."""

    def __init__(self, settings: Settings, lists: RecommendationLists, dropped: Counter) -> None:
        counters = {reason: dropped.labels(reason) for reason in DROP_REASONS}
        self._writer = SpoolWriter(
            settings.spool_dir,
            segment_header(settings, lists.manifest),
            describe_instance(settings, lists),
            settings.spool_max_mb << 20,
            lambda reason, records: counters[reason].inc(records),
        )
        self._writer.write_instance_info()

    def record(
        self,
        environ: "WSGIEnvironment",
        request_id: str,
        user_id: int,
        recommendation: Recommendation,
    ) -> None:
        """Append the record of one response."""
        duration_us = int((perf_counter() - environ[START]) * 1e6)
        now = time.time()
        # Only for a late response: the check is a system call.
        client_gone = is_late(request_id, now) and client_disconnected(environ)
        self._writer.append(
            encode_record(
                request_id,
                int(now * 1e6),
                user_id,
                recommendation.source,
                duration_us,
                client_gone,
                "HTTP_X_MARQUEE_RETRY" in environ,
                recommendation.movie_numbers,
                recommendation.recent_events,
            )
        )


def is_late(request_id: str, now: float) -> bool:
    """Whether NGINX may have abandoned the request, judged by the time in its request id.

    Args:
        request_id: of any form; only NGINX's ids contain a time.
        now: seconds since 1970.
    """
    if request_id[10:11] != ".":
        return False
    try:
        return now - float(request_id[_EDGE_ID_TIME]) >= EDGE_CONNECT_TIMEOUT_SECONDS
    except ValueError:
        return False


def client_disconnected(environ: "WSGIEnvironment") -> bool:
    """Whether the peer has closed the connection, so that the response does not arrive."""
    connection = environ.get("gunicorn.socket")
    if not isinstance(connection, socket.socket):
        return False
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
