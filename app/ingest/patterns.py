"""The contract's patterns, once: the line parser and the vectorised readers both use these.

They use what Python's `re` and Polars' Rust engine have in common (`[0-9]`, because the shorthand
means any script's digits in both) and hold no anchors: whoever uses them adds `^`
and `$`, or `fullmatch`.
"""

#: Longest movie id that is taken; the longest real one seen has 109 characters.
MOVIE_LENGTH = 200

_DAY = r"([12][0-9]{3}-[0-9]{2}-[0-9]{2})"  # the calendar decides whether there is such a day
_CLOCK = r"((?:[01][0-9]|2[0-3]):[0-5][0-9])(?::([0-5][0-9])(?:\.([0-9]{1,9}))?)?"
#: Groups: day, hour and minute, second, fraction. At second :00 the log leaves the seconds out.
TIME = f"{_DAY}T{_CLOCK}"
USER = r"[0-9]{1,18}"  # always fits 64 bits
MOVIE = r"(?:[a-z0-9+_.*-]|%[0-9a-f]{2})+"
MINUTE = r"[0-9]{1,4}"
RATING = r"[0-9]{1,3}"
WATCH_PREFIX = "GET /data/m/"
RATE_PREFIX = "GET /rate/"
ACCOUNT_REQUEST = "GET /create_account"
RECOMMENDATION = (
    r"recommendation request ([^ ,]+), status ([0-9]{1,3}), result: (.*), ([0-9]{1,9}) ms"
)

WATCH_LINE = rf"^{TIME},({USER}),{WATCH_PREFIX}({MOVIE})/({MINUTE})\.mpg$"

# Tables of ratings are made by people and programs, and so are freer than the log.
TABLE_TIME = f"{_DAY}[T ]{_CLOCK}"
TABLE_EPOCH = r"([0-9]{1,11})(?:\.([0-9]{1,9}))?"  # seconds since 1970, and a fraction
TABLE_RATING = r"-?[0-9]{1,3}(?:\.[0-9]{1,9})?"
