"""10,000 generated requests, valid and not: an answer to each, and none of them a 5xx."""

import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator

from tests.integration.service.conftest import Server

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


def generated(seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    for _ in range(REQUESTS):
        if chance.random() < 0.5:
            yield b"GET /recommend/%d HTTP/1.1\r\nHost: x\r\n" % chance.randrange(2_000_000)
            continue
        path = b"/recommend/" if chance.random() < 0.7 else b"/"
        path += b"".join(chance.choices(_PIECES, k=chance.randint(0, 3)))
        version = chance.choice([b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/9.9", b""])
        head = chance.choice(_METHODS) + b" " + path + b" " + version + b"\r\nHost: x\r\n"
        yield head + chance.choice(_HEADERS)


def ask(port: int, request: bytes) -> bytes:
    """Send one request and read to the end; the server closes, or answers in 600 ms."""
    with socket.create_connection(("127.0.0.1", port), timeout=0.6) as connection:
        connection.sendall(request + b"Connection: close\r\n\r\nxxxxx")
        received = b""
        try:
            while piece := connection.recv(65536):
                received += piece
        except ConnectionResetError:  # bytes after the end of a refused request
            pass
        return received


def test_no_request_fails_or_hangs(
    server: Server, record_property: Callable[[str, object], None]
) -> None:
    statuses: Counter[bytes] = Counter()
    for request in generated(seed=20261123):
        answer = ask(server.port, request)
        status = answer.split(b" ", 2)[1] if answer.startswith(b"HTTP/1.") else b"closed"
        assert not status.startswith(b"5"), (request, answer[:200])
        statuses[status] += 1
    record_property(
        "statuses", {status.decode(): count for status, count in sorted(statuses.items())}
    )
    assert statuses.total() == REQUESTS
    assert statuses[b"200"] > REQUESTS / 2 - 500
    assert statuses[b"closed"] == 0
    assert server.get("/recommend/42").status_code == 200
