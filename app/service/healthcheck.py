"""`python -m app.service.healthcheck`: the container's health check.

Imports nothing but the standard library, because it runs every ten seconds.
"""

import os
import socket
import sys

_TIMEOUT_SECONDS = 2


def is_ready(address: str) -> bool:
    """Whether `/ready` at `HOST:PORT` returns status 200 in time."""
    host, _, port = address.rpartition(":")
    host = "127.0.0.1" if host in ("", "0.0.0.0") else host  # noqa: S104 - all interfaces
    try:
        with socket.create_connection((host, int(port)), timeout=_TIMEOUT_SECONDS) as connection:
            connection.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(not is_ready(os.environ.get("MARQUEE_BIND", "0.0.0.0:8082")))
