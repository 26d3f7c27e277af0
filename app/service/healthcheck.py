"""`python -m app.service.healthcheck`: the container's health check.

Imports little, because it runs every ten seconds.
"""

import os
import socket
import sys
from pathlib import Path

from app.addresses import loopback_of, parse_address
from app.text_files import decode_text

_TIMEOUT_SECONDS = 2


def read_address() -> str:
    """Return the address of the service, from the setting `bind` as the service reads it."""
    if file := os.environ.get("MARQUEE_BIND_FILE"):
        return decode_text(Path(file).read_bytes()).strip()
    return os.environ.get("MARQUEE_BIND", "0.0.0.0:8082")


def is_ready(address: str) -> bool:
    """Return whether `/ready` of the service that listens at `address` has status 200 in time."""
    try:
        host, port = parse_address(address)
        target = (loopback_of(host), port)
        with socket.create_connection(target, timeout=_TIMEOUT_SECONDS) as connection:
            connection.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except (OSError, ValueError):
        return False


if __name__ == "__main__":
    sys.exit(not is_ready(read_address()))
