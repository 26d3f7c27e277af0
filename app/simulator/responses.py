"""What came of asking for recommendations, judged as the contract says."""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from app.ingest import patterns
from app.simulator.arrivals import Arrival

#: Clients give up then.
LIMIT_SECONDS = 0.6
_SENT_LATE_SECONDS = 0.1
_MOST_MOVIES = 20
_OK, _CLIENT_ERRORS = 200, range(400, 500)
_MOVIES = re.compile(rf"{patterns.MOVIE_ID}(?:,{patterns.MOVIE_ID}){{0,{_MOST_MOVIES - 1}}}")

Outcome = Literal["ok", "late", "unreachable", "status", "malformed"]
OUTCOMES: tuple[Outcome, ...] = ("ok", "late", "unreachable", "status", "malformed")


@dataclass(frozen=True)
class Answer:
    """One answer, or why there is none.

    Attributes:
        outcome: `ok` in time and in the contract's form; `late` or nothing within the limit;
            `unreachable` without a connection, or one that broke; another `status`; `malformed`.
        status: of HTTP; 0 without one.
        movies: recommended movie ids, best first.
        seconds: from sending until it was there, or until it was given up.
        version: of the model that answered.
        detail: what a failed answer said.
    """

    outcome: Outcome
    status: int
    seconds: float
    movies: tuple[str, ...] = ()
    version: str = "unknown"
    detail: str = ""

    def line_parts(self) -> tuple[int, str, int]:
        """Status, result and milliseconds as the stream has them: movies, or an exception."""
        took = round(self.seconds * 1000)
        if self.outcome == "ok":
            return self.status, ", ".join(self.movies), took
        if self.outcome == "status":
            return self.status, _one_line(self.detail), took
        failure = {
            "late": "java.util.concurrent.TimeoutException",
            "unreachable": "java.net.ConnectException",
            "malformed": "java.lang.IllegalArgumentException",
        }[self.outcome]
        return 0, _one_line(f"{failure}: {self.detail}"), took


def judge(status: int, body: str, seconds: float, version: str) -> Answer:
    """An answer that came."""
    if seconds > LIMIT_SECONDS:
        return Answer("late", status, seconds, version=version, detail="too late")
    if status != _OK:
        return Answer("status", status, seconds, version=version, detail=body)
    movies = tuple(body.split(","))
    if not _MOVIES.fullmatch(body) or max(map(len, movies)) > patterns.MAX_MOVIE_ID_LENGTH:
        return Answer("malformed", status, seconds, version=version, detail="no list of movie ids")
    return Answer("ok", status, seconds, movies, version)


@dataclass
class Availability:
    """Counts answers.

    Attributes:
        outcomes: of valid requests.
        versions: answers in time, by model version.
        refused: invalid requests that were refused, in time.
        invalid: all invalid requests.
        milliseconds: valid requests by how long they took.
        behind: most seconds that a request was sent later than it was due.
        sent_late: requests sent more than 100 ms later than they were due.
    """

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    invalid: int = 0
    milliseconds: Counter[int] = field(default_factory=Counter)
    behind: float = 0.0
    sent_late: int = 0

    def count(self, arrival: Arrival, answer: Answer) -> None:
        """Count one."""
        if not arrival.user_id:
            self.invalid += 1
            self.refused += answer.outcome == "status" and answer.status in _CLIENT_ERRORS
            return
        self.outcomes[answer.outcome] += 1
        self.milliseconds[round(answer.seconds * 1000)] += 1
        if answer.outcome == "ok":
            self.versions[answer.version] += 1

    def sent_behind(self, seconds: float) -> None:
        """A request was sent so much later than it was due: the simulator's fault."""
        self.behind = max(self.behind, seconds)
        self.sent_late += seconds > _SENT_LATE_SECONDS

    @property
    def ratio(self) -> float | None:
        """Valid requests answered well, of all."""
        total = self.outcomes.total()
        return self.outcomes["ok"] / total if total else None

    def summary(self) -> dict[str, Any]:
        """Everything, for people and programs."""
        return {
            "sent": self.outcomes.total() + self.invalid,
            **{outcome: self.outcomes[outcome] for outcome in OUTCOMES},
            "availability": None if self.ratio is None else round(self.ratio, 6),
            **{f"p{p}_ms": self._percentile(p / 100) for p in (50, 99)},
            "invalid": self.invalid,
            "invalid_refused": self.refused,
            "behind_ms": round(self.behind * 1000, 1),
            "sent_late": self.sent_late,
        }

    def _percentile(self, share: float) -> int | None:
        left = share * self.milliseconds.total()
        for took, count in sorted(self.milliseconds.items()):
            left -= count
            if left <= 0:
                return took
        return None


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() and c.isascii() else " " for c in text[:200])
