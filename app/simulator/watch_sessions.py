"""People in front of their screens: one line for every minute, and a rating at the end."""

from dataclasses import dataclass

from app.simulator import log_format
from app.simulator.environment import World
from app.simulator.log_format import Clock
from app.simulator.log_writer import Stream

_MINUTE = 60


@dataclass(slots=True)
class _Session:
    user_id: int
    movie_id: str
    watching: str
    minutes: int
    stars: int | None
    minute: int = 0


class Viewing:
    """A wheel of sixty slots, one for each second of a minute: who watches is in one of them."""

    def __init__(self, world: World, clock: Clock, stream: Stream) -> None:
        self._world = world
        self._clock = clock
        self._stream = stream
        self._slots: list[list[_Session]] = [[] for _ in range(_MINUTE)]
        self.now = 0
        self.watching = 0

    def start(
        self, delay: int, user_id: int, movie_id: str, minutes: int, stars: int | None
    ) -> None:
        """Someone begins to watch, in 1 to 59 seconds, for so many minutes, and may rate."""
        session = _Session(
            user_id, movie_id, log_format.watching(user_id, movie_id), minutes, stars
        )
        self._slots[(self.now + delay) % _MINUTE].append(session)
        self.watching += 1

    def advance(self, time: float) -> None:
        """Let the time pass up to a moment, in whole seconds since the start."""
        for second in range(self.now + 1, int(time) + 1):
            self.now = second
            if self._slots[second % _MINUTE]:
                self._second(second)

    def _second(self, second: int) -> None:
        slot = self._slots[second % _MINUTE]
        time = self._clock.second(self._world.moment(second))
        self._stream.write(
            "watches", [f"{time}{s.watching}{s.minute}.mpg" for s in slot if s.minute < s.minutes]
        )
        ended = [session for session in slot if session.minute == session.minutes]
        for session in slot:
            session.minute += 1
        if not ended:
            return
        rated = [
            log_format.rating(time, session.user_id, session.movie_id, session.stars)
            for session in ended
            if session.stars is not None
        ]
        self._stream.write("ratings", rated)
        self._slots[second % _MINUTE] = [s for s in slot if s.minute <= s.minutes]
        self.watching -= len(ended)
