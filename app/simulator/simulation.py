"""The state of one simulation: requests become choices, choices become lines of the log."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.ingest.log_parser import RatingScale
from app.simulator import log_format
from app.simulator.arrivals import Arrival, ArrivalSettings, generate_arrivals
from app.simulator.choice_model import Choice, choose_movie
from app.simulator.corruption import CorruptionRates, LineCorruptor
from app.simulator.environment import Environment, EnvironmentSettings
from app.simulator.log_writer import LogWriter, Sink
from app.simulator.movies import DAY_SECONDS
from app.simulator.responses import RequestStats, Response
from app.simulator.sample_data import RATED_SHARE
from app.simulator.utility_metrics import UtilityMetrics
from app.simulator.watch_sessions import WatchSessions

#: Version under which choices without any recommendations are recorded.
NO_VERSION = "none"
_MAX_START_DELAY_SECONDS = 59
_MIN_STARS, _MAX_STARS = 1, 5


@dataclass(frozen=True)
class SimulationSettings:
    """Everything that a simulation is a function of, except the responses.

    Attributes:
        environment: of users and movies.
        arrivals: of requests.
        corruption: of log lines.
        rating_scale: of the ratings in the log.
        server: `host:port` that the log names as the server of recommendations.
    """

    environment: EnvironmentSettings
    arrivals: ArrivalSettings
    corruption: CorruptionRates
    rating_scale: RatingScale
    server: str = "localhost:8082"


class Simulation:
    """The state of a run.

    The driver announces each arrival, hands over its response (in any order), and advances
    `watch_sessions` with simulated time.
    """

    def __init__(self, settings: SimulationSettings, sinks: list[Sink]) -> None:
        seed = settings.environment.seed
        self.settings = settings
        self.environment = Environment(settings.environment)
        self.log_writer = LogWriter(LineCorruptor(seed, settings.corruption), sinks)
        self.request_stats = RequestStats()
        self.utility_metrics = UtilityMetrics()
        self._time_formatter = log_format.TimeFormatter(seed, settings.corruption.short_times)
        self.watch_sessions = WatchSessions(self.environment, self._time_formatter, self.log_writer)
        self._watched: dict[int, set[int]] = {}

    def arrivals(self, days: float | None) -> Iterator[Arrival]:
        """Yield the requests of so many simulated days, or without end."""
        for arrival in generate_arrivals(self.environment, self.settings.arrivals):
            if days is not None and arrival.time >= days * DAY_SECONDS:
                return
            yield arrival

    def announce(self, arrival: Arrival) -> None:
        """Log the sign-up of a new user, before the request is sent."""
        if arrival.is_new_user:
            time = self._time_formatter.to_second(self.environment.datetime_at(arrival.time))
            self.log_writer.write("accounts", [log_format.format_account(time, arrival.user_id)])

    def handle_response(self, arrival: Arrival, response: Response) -> None:
        """Record and log a response, then let the user choose a movie."""
        self.request_stats.record_response(arrival, response)
        self._log_response(arrival, response)
        if arrival.user_id:
            self._choose(arrival, self._movie_indices(arrival, response), response.version)

    def handle_visit(self, arrival: Arrival) -> None:
        """Let the user choose without any recommendations."""
        if arrival.user_id:
            self._choose(arrival, [], NO_VERSION)

    def summary(self) -> dict[str, Any]:
        """Return what `marquee simulate` prints at the end."""
        time = self.watch_sessions.now
        return {
            "seed": self.settings.environment.seed,
            "start": self.settings.environment.start.isoformat(),
            "days": round(time / DAY_SECONDS, 4),
            "users": len(self._watched),
            "movies": self.environment.movies.count_released(time),
            "requests": self.request_stats.summary(),
            "recommendations": dict(self.request_stats.versions),
            "log": self.log_writer.summary(),
            "versions": self.utility_metrics.by_version(),
            "cold_start": self.utility_metrics.cold_start(),
        }

    def _movie_indices(self, arrival: Arrival, response: Response) -> list[int]:
        """Return the recommended movies that are released, without duplicates."""
        released = self.environment.movies.count_released(arrival.time)
        index = self.environment.movies.index
        known = (index.get(movie, released) for movie in dict.fromkeys(response.movies))
        return [movie for movie in known if movie < released]

    def _log_response(self, arrival: Arrival, response: Response) -> None:
        moment = self.environment.datetime_at(arrival.time)
        moment += timedelta(seconds=response.duration_seconds)
        line = log_format.format_recommendation(
            self._time_formatter.with_fraction(moment, arrival.number),
            arrival.path_user,
            self.settings.server,
            *response.log_fields(),
        )
        if arrival.user_id:
            self.log_writer.write("recommendations", [line])
        else:
            self.log_writer.write_rejected("user", line)

    def _choose(self, arrival: Arrival, recommended: list[int], version: str) -> None:
        user = arrival.user_id
        watched = self._watched.get(user)
        if watched is None:
            watched = self._watched[user] = self.environment.watched_before_start(user)
        choice = choose_movie(self.environment, arrival, recommended, watched)
        self.utility_metrics.record(version, choice, self.environment.users.is_in_sample(user))
        if choice.movie is not None:
            watched.add(choice.movie)
            self._start_watching(arrival, choice, choice.movie)

    def _start_watching(self, arrival: Arrival, choice: Choice, movie: int) -> None:
        """Draw watched minutes and rating, as in the sample, and start the session."""
        rng, movies = arrival.rng, self.environment.movies
        watched_share = 1 / (1 + math.exp(-1.5 * choice.chosen - rng.normal(0.8, 0.8)))
        stars = min(max(round(2.7 + choice.chosen + rng.normal(0, 0.5)), _MIN_STARS), _MAX_STARS)
        is_rated = rng.random() < RATED_SHARE
        self.watch_sessions.start(
            delay=1 + int(rng.integers(_MAX_START_DELAY_SECONDS)),
            user_id=arrival.user_id,
            movie_id=movies.ids[movie],
            minutes=max(1, int(int(movies.runtimes[movie]) * watched_share)),
            stars=self._scale_rating(stars) if is_rated else None,
        )

    def _scale_rating(self, stars: int) -> int:
        scale = self.settings.rating_scale
        share = (stars - _MIN_STARS) / (_MAX_STARS - _MIN_STARS)
        return round(scale.min_rating + share * (scale.max_rating - scale.min_rating))
