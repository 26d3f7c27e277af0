"""`python -m app.service.healthcheck`: the container's health check; standard library only."""

import os
import socket
import sys


def is_ready(address: str) -> bool:
    """Whether `/ready` answers 200 at `HOST:PORT` within 2 seconds."""
    host, _, port = address.rpartition(":")
    host = "127.0.0.1" if host in ("", "0.0.0.0") else host  # noqa: S104 - any means this one
    try:
        with socket.create_connection((host, int(port)), timeout=2) as connection:
            connection.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(not is_ready(os.environ.get("MARQUEE_BIND", "0.0.0.0:8082")))
