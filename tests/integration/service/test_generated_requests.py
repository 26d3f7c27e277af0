"""10,000 random requests, valid and invalid: each gets a response, and none of them a 5xx."""

import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator

from tests.support.service import Server

REQUESTS = 10_000
_PIECES = [
    b"/", b"//", b"..", b"%2e%2e", b"%00", b"%0a", b"%0d%0a", b"%ff", b"%", b"%zz", b"?", b"#",
    b"recommend", b"RECOMMEND", b"health", b"metrics?name[]=x", b"-1", b"0", b"42", b"1e9",
    b"9" * 18, b"9" * 19, b"9" * 3000, b"\xc3\xa9", b"\xff", b";", b"&", b"+", b"'", b'"', b"<x>",
    b"${x}", b"null", b"NaN", b"true", b"[]", b"{}", b"*", b"\\", b"|", b"@", b"http://x/",
]  # fmt: skip
_METHODS = [b"GET"] * 6 + [b"HEAD", b"POST", b"OPTIONS", b"PUT", b"BREW", b"get", b"G T", b""]
_HEADERS = [
    b"",
    b"X-Request-Id: " + b"x" * 100 + b"\r\n",
    b"X-Request-Id: a\x00b\r\n",
    b"Accept: nothing\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: -1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"broken header\r\n",
]


def generate_requests(seed: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    for _ in range(REQUESTS):
        if rng.random() < 0.5:
            yield b"GET /recommend/%d HTTP/1.1\r\nHost: x\r\n" % rng.randrange(2_000_000)
            continue
        path = b"/recommend/" if rng.random() < 0.7 else b"/"
        path += b"".join(rng.choices(_PIECES, k=rng.randint(0, 3)))
        version = rng.choice([b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/9.9", b""])
        head = rng.choice(_METHODS) + b" " + path + b" " + version + b"\r\nHost: x\r\n"
        yield head + rng.choice(_HEADERS)


def send(port: int, request: bytes) -> bytes:
    """Send one request and read until the server closes, each time at most 600 ms."""
    with socket.create_connection(("127.0.0.1", port), timeout=0.6) as connection:
        connection.sendall(request + b"Connection: close\r\n\r\nxxxxx")
        received = b""
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionResetError:  # bytes after the end of a refused request
            pass
        return received


def test_no_request_fails_or_hangs(
    server: Server, record_property: Callable[[str, object], None]
) -> None:
    statuses: Counter[bytes] = Counter()
    for request in generate_requests(seed=20261123):
        response = send(server.port, request)
        status = response.split(b" ", 2)[1] if response.startswith(b"HTTP/1.") else b"closed"
        assert not status.startswith(b"5"), (request, response[:200])
        statuses[status] += 1
    record_property(
        "statuses", {status.decode(): count for status, count in sorted(statuses.items())}
    )
    assert statuses.total() == REQUESTS
    assert statuses[b"200"] > REQUESTS / 2 - 500
    assert statuses[b"closed"] == 0
    assert server.get("/recommend/42").status_code == 200
