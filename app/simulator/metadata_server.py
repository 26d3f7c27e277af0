"""The metadata API: user profiles and movie metadata, one or up to 200 at a time."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, jsonify, request
from prometheus_client import CollectorRegistry, Counter

from app.http_server import create_app
from app.problem_details import problem
from app.simulator.environment import Environment
from app.simulator.movie_metadata import movie_metadata
from app.simulator.users import MAX_USERS

MAX_IDS = 200
_MAX_CLIENTS = 10_000
_BAD_REQUEST, _NOT_FOUND, _TOO_MANY_REQUESTS = 400, 404, 429

#: Finds one item by its id in the request's path; None when there is none.
Lookup = Callable[[str], dict[str, Any] | None]


def create_metadata_app(environment: Environment, max_requests_per_second: float) -> Flask:
    """Create the application: `/user/<ids>` and `/movie/<ids>`, `/metrics` and `/health`.

    Args:
        environment: whose users and movies it serves.
        max_requests_per_second: limit for each client address; of more requests, status 429.
    """
    registry = CollectorRegistry()
    responses = Counter(
        "marquee_metadata_api_responses_total",
        "Responses of the metadata API.",
        ["kind", "status"],
        registry=registry,
    )
    limiter = RateLimiter(max_requests_per_second)
    app = create_app(registry, is_alive=lambda: True)

    def respond(kind: str, ids: str, lookup: Lookup) -> Response:
        wait_seconds = limiter.acquire(request.remote_addr or "")
        response = _too_many_requests(wait_seconds) if wait_seconds else _find(kind, ids, lookup)
        responses.labels(kind, str(response.status_code)).inc()
        return response

    @app.get("/user/<path:ids>")
    def user(ids: str) -> Response:
        return respond("user", ids, lambda user_id: _find_user(environment, user_id))

    @app.get("/movie/<path:ids>")
    def movie(ids: str) -> Response:
        return respond("movie", ids, lambda movie_id: _find_movie(environment, movie_id))

    return app


def _find(kind: str, ids: str, lookup: Lookup) -> Response:
    """Respond with one item, or with a list of those that exist where several ids are given."""
    wanted = ids.split(",")
    if len(wanted) > MAX_IDS:
        return problem(_BAD_REQUEST, "Bad Request", f"at most {MAX_IDS} ids at once")
    found = [item for item_id in wanted if (item := lookup(item_id))]
    if len(wanted) > 1:
        return jsonify(found)
    if not found:
        return problem(_NOT_FOUND, "Not Found", f"no such {kind}")
    return jsonify(found[0])


def _find_user(environment: Environment, user_id: str) -> dict[str, Any] | None:
    if not (user_id.isascii() and user_id.isdigit() and len(user_id) <= len(str(MAX_USERS))):
        return None
    number = int(user_id)
    return environment.users.profile(number)._asdict() if 1 <= number <= MAX_USERS else None


def _find_movie(environment: Environment, movie_id: str) -> dict[str, Any] | None:
    index = environment.movies.index.get(movie_id)
    return None if index is None else movie_metadata(environment, index)


def _too_many_requests(wait_seconds: float) -> Response:
    headers = {"Retry-After": str(math.ceil(wait_seconds))}
    return problem(_TOO_MANY_REQUESTS, "Too Many Requests", "rate limit exceeded", headers)


class RateLimiter:
    """A token bucket for each client, which holds the tokens of two seconds."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Allow `rate` requests a second; `clock` returns seconds."""
        self._rate = rate
        self._capacity = max(1.0, 2 * rate)
        self._clock = clock
        #: Client -> tokens and when they were counted; least recently used first.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def acquire(self, client: str) -> float:
        """Take a token: return 0, or in how many seconds there will be one."""
        with self._lock:
            now = self._clock()
            tokens, counted_at = self._buckets.pop(client, (self._capacity, now))
            tokens = min(self._capacity, tokens + (now - counted_at) * self._rate)
            allowed = tokens >= 1
            self._buckets[client] = (tokens - 1 if allowed else tokens, now)
            if len(self._buckets) > _MAX_CLIENTS:
                self._buckets.popitem(last=False)
            return 0.0 if allowed else (1 - tokens) / self._rate
