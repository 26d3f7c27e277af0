"""Responses to recommendation requests: their outcome by the contract, and counts of them."""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from app.ingest import patterns
from app.simulator.arrivals import Arrival

#: Clients cancel a request after this time.
REQUEST_TIMEOUT_SECONDS = 0.6
_LATE_SEND_SECONDS = 0.1
_MAX_MOVIES = 20
_OK, _CLIENT_ERRORS = 200, range(400, 500)
_MOVIE_LIST = re.compile(rf"{patterns.MOVIE_ID}(?:,{patterns.MOVIE_ID}){{0,{_MAX_MOVIES - 1}}}")

Outcome = Literal["ok", "timeout", "connection_error", "http_error", "malformed"]
OUTCOMES: tuple[Outcome, ...] = ("ok", "timeout", "connection_error", "http_error", "malformed")
_EXCEPTIONS: dict[Outcome, str] = {
    "timeout": "java.util.concurrent.TimeoutException",
    "connection_error": "java.net.ConnectException",
    "malformed": "java.lang.IllegalArgumentException",
}


class LogFields(NamedTuple):
    """What a log line has of a response."""

    status: int
    result: str
    duration_ms: int


@dataclass(frozen=True)
class Response:
    """One response, or why there is none.

    Attributes:
        outcome: `ok` (in time and well-formed), `timeout`, `connection_error`, `http_error`
            (another status than 200) or `malformed`.
        status: HTTP status; 0 without one.
        duration_seconds: from sending the request to the response, or to cancelling.
        movies: recommended movie ids, best first.
        version: version of the model that responded.
        detail: the body or message of a failure.
    """

    outcome: Outcome
    status: int
    duration_seconds: float
    movies: tuple[str, ...] = ()
    version: str = "unknown"
    detail: str = ""

    def log_fields(self) -> LogFields:
        """Return the fields of the log line; the result is the movies or an exception."""
        duration_ms = round(self.duration_seconds * 1000)
        if self.outcome == "ok":
            return LogFields(self.status, ", ".join(self.movies), duration_ms)
        if self.outcome == "http_error":
            return LogFields(self.status, _one_line(self.detail), duration_ms)
        exception = _EXCEPTIONS[self.outcome]
        return LogFields(0, _one_line(f"{exception}: {self.detail}"), duration_ms)


def classify_response(status: int, body: str, duration_seconds: float, version: str) -> Response:
    """Classify a complete HTTP response."""
    if duration_seconds > REQUEST_TIMEOUT_SECONDS:
        return Response("timeout", status, duration_seconds, version=version, detail="too late")
    if status != _OK:
        return Response("http_error", status, duration_seconds, version=version, detail=body)
    movies = tuple(body.split(","))
    if not _MOVIE_LIST.fullmatch(body) or max(map(len, movies)) > patterns.MAX_MOVIE_ID_LENGTH:
        detail = "no list of movie ids"
        return Response("malformed", status, duration_seconds, version=version, detail=detail)
    return Response("ok", status, duration_seconds, movies, version)


@dataclass
class RequestStats:
    """Counts requests and their responses.

    Attributes:
        outcomes: valid requests by outcome.
        versions: `ok` responses by model version.
        invalid: invalid requests.
        invalid_rejected: invalid requests that got a status of 400 to 499 in time.
        durations_ms: valid requests by duration, rounded to milliseconds.
        max_send_delay_seconds: longest time between a request's due time and sending it.
        sent_late: requests sent more than 100 ms after their due time.
    """

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    invalid: int = 0
    invalid_rejected: int = 0
    durations_ms: Counter[int] = field(default_factory=Counter)
    max_send_delay_seconds: float = 0.0
    sent_late: int = 0

    def record_response(self, arrival: Arrival, response: Response) -> None:
        """Count one request by its response."""
        if not arrival.user_id:
            self.invalid += 1
            rejected = response.outcome == "http_error" and response.status in _CLIENT_ERRORS
            self.invalid_rejected += rejected
            return
        self.outcomes[response.outcome] += 1
        self.durations_ms[round(response.duration_seconds * 1000)] += 1
        if response.outcome == "ok":
            self.versions[response.version] += 1

    def record_send_delay(self, seconds: float) -> None:
        """Record how much later than due the simulator sent a request."""
        self.max_send_delay_seconds = max(self.max_send_delay_seconds, seconds)
        self.sent_late += seconds > _LATE_SEND_SECONDS

    @property
    def availability(self) -> float | None:
        """Share of valid requests with outcome `ok`; None before the first."""
        total = self.outcomes.total()
        return self.outcomes["ok"] / total if total else None

    def summary(self) -> dict[str, Any]:
        """Return all counts, the availability and the percentiles of the duration."""
        availability = self.availability
        return {
            "sent": self.outcomes.total() + self.invalid,
            **{outcome: self.outcomes[outcome] for outcome in OUTCOMES},
            "availability": None if availability is None else round(availability, 6),
            **{f"p{p}_ms": self._percentile_ms(p / 100) for p in (50, 99)},
            "invalid": self.invalid,
            "invalid_rejected": self.invalid_rejected,
            "max_send_delay_ms": round(self.max_send_delay_seconds * 1000, 1),
            "sent_late": self.sent_late,
        }

    def _percentile_ms(self, share: float) -> int | None:
        left = share * self.durations_ms.total()
        for duration_ms, count in sorted(self.durations_ms.items()):
            left -= count
            if left <= 0:
                return duration_ms
        return None


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() and c.isascii() else " " for c in text[:200])
