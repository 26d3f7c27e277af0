"""gunicorn's threaded worker, mended in three places where a stall or a stop would cost answers."""

import contextlib
from typing import Any

from gunicorn.http import wsgi
from gunicorn.workers import gthread

# A client that connects and says nothing holds the one thread for this long (seconds, 5 by
# default) before its connection waits in the poller like an idle one.
gthread.DEFAULT_WORKER_DATA_TIMEOUT = 0.02


class _Gathered:
    """Stands in for the socket while headers and body are put together."""

    def __init__(self) -> None:
        self.data = b""

    def sendall(self, data: bytes) -> None:
        self.data += data


class OneSendResponse(wsgi.Response):  # type: ignore[misc]
    """Sends headers and the first part of the body at once.

    gunicorn sends them one after the other. A process that stalls between the two leaves NGINX
    with half an answer, which it cannot ask another slot for; and one system call is cheaper.
    """

    def write(self, arg: bytes) -> None:
        """Send a part of the body, before the first one the headers."""
        if self.headers_sent:
            super().write(arg)
            return
        gathered = _Gathered()
        self.sock: Any
        self.sock, sock = gathered, self.sock
        try:
            super().write(arg)
        finally:
            self.sock = sock
        sock.sendall(gathered.data)


# `wsgi.create` offers no other way to name the class of HTTP/1 responses.
wsgi.Response = OneSendResponse


class Worker(gthread.ThreadWorker):  # type: ignore[misc]
    """Refuses connections as soon as it stops.

    gunicorn's own keeps its listening socket open, without accepting, for as long as idle
    connections linger (2 s): the kernel still completes handshakes, and NGINX waits its whole
    250 ms for an answer that does not come instead of trying another slot at once.
    """

    def set_accept_enabled(self, enabled: bool) -> None:
        """Enable or disable accepting; when the worker stops, for good."""
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            for listener in self.sockets:
                with contextlib.suppress(OSError):
                    listener.close()
