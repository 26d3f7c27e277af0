"""The lines of the log, in the form that the contract prescribes."""

from datetime import datetime

from app.simulator.rng import Purpose, make_rng

WATCH_REQUEST, RATE_REQUEST = "GET /data/m/", "GET /rate/"
ACCOUNT_REQUEST = "GET /create_account"
RECOMMENDATION_REQUEST = "recommendation request "
#: Digits of the fraction of a second, drawn by request number.
_FRACTION_DIGITS = (3, 3, 3, 6, 9)


class TimeFormatter:
    """Formats times as the log does: without seconds at second :00."""

    def __init__(self, seed: int, short_times: float) -> None:
        """`short_times` is the share of times at second :00 that omit the seconds."""
        self._seed = seed
        self._short_times = short_times

    def to_second(self, moment: datetime) -> str:
        """Format a time to the second."""
        text = moment.isoformat(timespec="seconds")
        if moment.second or self._short_times == 0:
            return text
        draw = make_rng(self._seed, Purpose.TIME_FORMAT, int(moment.timestamp())).random()
        return text[:-3] if draw < self._short_times else text

    @staticmethod
    def with_fraction(moment: datetime, number: int) -> str:
        """Format a time with 3, 6 or 9 digits of fraction, by the request's number."""
        digits = _FRACTION_DIGITS[number % len(_FRACTION_DIGITS)]
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{f'{moment.microsecond:06d}000'[:digits]}"


def format_account(time: str, user_id: int) -> str:
    """Format the line of a user who signed up."""
    return f"{time},{user_id},{ACCOUNT_REQUEST}"


def format_rating(time: str, user_id: int, movie_id: str, stars: int) -> str:
    """Format the line of a rating."""
    return f"{time},{user_id},{RATE_REQUEST}{movie_id}={stars}"


def format_watch_middle(user_id: int, movie_id: str) -> str:
    """Format what all lines of a watched movie have between the time and the minute."""
    return f",{user_id},{WATCH_REQUEST}{movie_id}/"


def format_recommendation(
    time: str, path_user: str, server: str, status: int, result: str, duration_ms: int
) -> str:
    """Format the line of a recommendation request and its response."""
    return (
        f"{time},{path_user},{RECOMMENDATION_REQUEST}{server}, status {status},"
        f" result: {result}, {duration_ms} ms"
    )
