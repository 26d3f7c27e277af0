"""The information API: who users are and what movies are, one or up to 200 at a time."""

import json
import math
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from app import logs
from app.simulator.environment import World
from app.simulator.movie_metadata import describe
from app.simulator.rate_limit import RateLimit
from app.simulator.users import MOST

MOST_IDS = 200
_OK, _NOT_FOUND = 200, 404
_log = logs.get(__name__)


class InformationServer(ThreadingHTTPServer):
    """Answers for one world."""

    daemon_threads = True

    def __init__(self, bind: str, world: World, rate: float) -> None:
        """Listen at `host:port`; each client may ask `rate` times a second.

        Raises:
            OSError: the port is taken.
        """
        host, _, port = bind.rpartition(":")
        super().__init__((host, int(port)), _Handler)
        self.world = world
        self.limit = RateLimit(rate)
        self.registry = CollectorRegistry()
        self.answers = Counter(
            "marquee_metadata_api_responses_total",
            "Answers of the information API.",
            ["kind", "status"],
            registry=self.registry,
        )


class _Handler(BaseHTTPRequestHandler):
    server: InformationServer
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        kind, _, ids = path.removeprefix("/").partition("/")
        if path == "/metrics":
            self._send(200, CONTENT_TYPE_LATEST, generate_latest(self.server.registry))
        elif path == "/health":
            self._json(200, {"status": "alive"})
        elif kind in ("user", "movie"):
            status = self._tell(kind, unquote(ids))
            self.server.answers.labels(kind, str(status)).inc()
        else:
            self._problem(404, "Not Found", "ask for /user/<id> or /movie/<id>")

    def _tell(self, kind: str, ids: str) -> int:
        wait = self.server.limit.wait(self.client_address[0])
        if wait:
            again = {"Retry-After": str(math.ceil(wait))}
            return self._problem(429, "Too Many Requests", "ask less often", again)
        asked = ids.split(",")
        if len(asked) > MOST_IDS:
            return self._problem(400, "Bad Request", f"at most {MOST_IDS} ids at once")
        found = [about for one in asked if (about := self._about(kind, one))]
        if len(asked) > 1:
            return self._json(_OK, found)
        if not found:
            return self._problem(_NOT_FOUND, "Not Found", f"no such {kind}")
        return self._json(_OK, found[0])

    def _about(self, kind: str, one: str) -> dict[str, Any] | None:
        world = self.server.world
        if kind == "movie":
            number = world.movies.number.get(one)
            return None if number is None else describe(world, number)
        if not (one.isascii() and one.isdigit() and len(one) <= len(str(MOST))):
            return None
        user = int(one)
        return world.people.person(user)._asdict() if 1 <= user <= MOST else None

    def _json(self, status: int, content: object) -> int:
        return self._send(status, "application/json", json.dumps(content).encode())

    def _problem(
        self, status: int, title: str, detail: str, headers: dict[str, str] | None = None
    ) -> int:
        problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        body = json.dumps(problem).encode()
        return self._send(status, "application/problem+json", body, headers)

    def _send(
        self, status: int, content_type: str, body: bytes, headers: dict[str, str] | None = None
    ) -> int:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        return status

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        _log.debug("asked", line=format % args)
