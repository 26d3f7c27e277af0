"""gunicorn still uses the attributes that `app/service/gunicorn_worker.py` replaces.

When one of these tests fails after an update of gunicorn, read its new source: either there is an
official way now, or the attribute has another name.
"""

import inspect
import socket

from gunicorn.config import Config
from gunicorn.http import get_parser, wsgi
from gunicorn.workers import gthread

from app.service.gunicorn_worker import OneSendResponse

CLIENT, SERVER = ("127.0.0.1", 40_000), ("127.0.0.1", 8082)


def test_gunicorn_creates_our_response_class() -> None:
    config = Config()
    server_side, client_side = socket.socketpair()
    with server_side, client_side:
        client_side.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        request = next(get_parser(config, server_side, CLIENT))
        response, _ = wsgi.create(request, server_side, CLIENT, SERVER, config)
    assert isinstance(response, OneSendResponse), (
        "`gunicorn.http.wsgi.create` no longer uses the module's `Response`: headers and body "
        "would be sent separately"
    )


def test_headers_and_body_are_sent_together() -> None:
    sent: list[bytes] = []

    class Socket:
        def sendall(self, data: bytes) -> None:
            sent.append(data)

    server_side, client_side = socket.socketpair()
    with server_side, client_side:
        client_side.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        request = next(get_parser(Config(), server_side, CLIENT))
    response = OneSendResponse(request, Socket(), Config())
    response.start_response("200 OK", [("Content-Length", "4")])
    response.write(b"a,")
    response.write(b"b\n")
    assert [part[-2:] for part in sent] == [b"a,", b"b\n"]
    assert sent[0].startswith(b"HTTP/1.1 200 OK\r\n")


def test_the_worker_reads_the_data_timeout_from_its_module() -> None:
    assert "wait_for_data(DEFAULT_WORKER_DATA_TIMEOUT)" in inspect.getsource(
        gthread.ThreadWorker.handle
    ), "a client that connects and sends nothing would block the worker for 5 s"


def test_the_worker_has_the_hook_that_closes_its_sockets() -> None:
    assert "self.set_accept_enabled(False)" in inspect.getsource(gthread.ThreadWorker.run), (
        "a stopping worker would accept connections that it never serves"
    )
