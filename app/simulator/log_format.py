"""Lines of the stream, as the contract has them."""

from datetime import datetime

from app.simulator.rng import Purpose, chance

WATCH, RATE = "GET /data/m/", "GET /rate/"
ACCOUNT = "GET /create_account"
RECOMMENDATION = "recommendation request "
#: How many digits of a second's fraction a time may have.
_DIGITS = (3, 3, 3, 6, 9)


class Clock:
    """Writes times as the stream does: without seconds at second :00."""

    def __init__(self, seed: int, short: float) -> None:
        """`short` is the share of moments at second :00 that are written without seconds."""
        self._seed = seed
        self._short = short

    def second(self, moment: datetime) -> str:
        """A moment, to the second."""
        text = moment.isoformat(timespec="seconds")
        if moment.second or self._short == 0:
            return text
        drawn = chance(self._seed, Purpose.TIME, int(moment.timestamp())).random()
        return text[:-3] if drawn < self._short else text

    @staticmethod
    def fraction(moment: datetime, number: int) -> str:
        """A moment with 3, 6 or 9 digits of fraction."""
        digits = _DIGITS[number % len(_DIGITS)]
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{f'{moment.microsecond:06d}000'[:digits]}"


def account(time: str, user_id: int) -> str:
    """A user joined."""
    return f"{time},{user_id},{ACCOUNT}"


def rating(time: str, user_id: int, movie_id: str, stars: int) -> str:
    """A user rated a movie."""
    return f"{time},{user_id},{RATE}{movie_id}={stars}"


def watching(user_id: int, movie_id: str) -> str:
    """What is the same in all lines of a user watching a movie: between time and minute."""
    return f",{user_id},{WATCH}{movie_id}/"


def recommendation(time: str, asked_as: str, server: str, answer: tuple[int, str, int]) -> str:
    """A user asked; `answer` is status, what came, and how many milliseconds it took."""
    status, result, took = answer
    return (
        f"{time},{asked_as},{RECOMMENDATION}{server}, status {status}, result: {result}, {took} ms"
    )
