"""Users who are watching a movie: a log line for every minute, and a rating at the end."""

from collections.abc import Callable
from dataclasses import dataclass

from app.simulator import log_format
from app.simulator.environment import Environment
from app.simulator.log_format import TimeFormatter
from app.simulator.log_writer import LogWriter

_MINUTE_SECONDS = 60


@dataclass(slots=True)
class _Session:
    user_id: int
    movie_id: str
    line_middle: str
    minutes: int
    stars: int | None
    minute: int = 0


class WatchSessions:
    """A timing wheel of sixty slots: a session is in the slot of its second of the minute.

    Attributes:
        now: simulated seconds since the start.
        active: sessions that have not ended.
        on_event: called for each minute and rating with the user, the movie, the minutes watched so
            far, the rating if it is one, and the time in simulated seconds.
    """

    def __init__(
        self, environment: Environment, time_formatter: TimeFormatter, log_writer: LogWriter
    ) -> None:
        self._environment = environment
        self._time_formatter = time_formatter
        self._log_writer = log_writer
        self._slots: list[list[_Session]] = [[] for _ in range(_MINUTE_SECONDS)]
        self.now = 0
        self.active = 0
        self.on_event: Callable[[int, str, int, int | None, int], None] | None = None

    def start(
        self, delay: int, user_id: int, movie_id: str, minutes: int, stars: int | None
    ) -> None:
        """Start a session in 1 to 59 seconds; with `stars`, the user rates the movie at the end."""
        middle = log_format.format_watch_middle(user_id, movie_id)
        session = _Session(user_id, movie_id, middle, minutes, stars)
        self._slots[(self.now + delay) % _MINUTE_SECONDS].append(session)
        self.active += 1

    def advance(self, time: float) -> None:
        """Advance to a time, in whole simulated seconds, and write the lines up to it."""
        for second in range(self.now + 1, int(time) + 1):
            self.now = second
            if self._slots[second % _MINUTE_SECONDS]:
                self._process_slot(second)

    def _process_slot(self, second: int) -> None:
        slot = self._slots[second % _MINUTE_SECONDS]
        time = self._time_formatter.to_second(self._environment.datetime_at(second))
        self._log_writer.write(
            "watches",
            [f"{time}{s.line_middle}{s.minute}.mpg" for s in slot if s.minute < s.minutes],
        )
        ended = [session for session in slot if session.minute == session.minutes]
        for session in slot:
            session.minute += 1
            self._report(session, second)
        if not ended:
            return
        ratings = [
            log_format.format_rating(time, session.user_id, session.movie_id, session.stars)
            for session in ended
            if session.stars is not None
        ]
        self._log_writer.write("ratings", ratings)
        self._slots[second % _MINUTE_SECONDS] = [s for s in slot if s.minute <= s.minutes]
        self.active -= len(ended)

    def _report(self, session: _Session, second: int) -> None:
        minutes, is_ended = session.minutes, session.minute > session.minutes
        if self.on_event and (not is_ended or session.stars is not None):
            stars = session.stars if is_ended else None
            watched = min(session.minute, minutes)
            self.on_event(session.user_id, session.movie_id, watched, stars, second)
