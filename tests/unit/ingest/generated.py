"""Generated tables of ratings and log lines, with what a parser must make of each row."""

import gzip
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from random import Random

EPOCH = datetime(1970, 1, 1)
DELIMITERS = (",", "\t", ";", "::", "|")
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "latin-1", "gzip")
LINE_ENDS = ("\n", "\r\n", "\r")
NAMES = {
    "user": ("userId", "user_id", "CustomerID", "user_id:token", "reviewerID", "uid", "User ID"),
    "movie": ("movieId", "movie_id", "MovieID", "item_id:token", "asin", "item", "show id"),
    "rating": ("rating", "Rating", "rating:float", "stars", "overall", "score"),
    "time": ("timestamp", "time", "Date", "timestamp:float", "unixReviewTime", "datetime", "ts"),
}
EXTRA = ("title", "genres", "pages", "")
#: Orders that are documented for tables without a header, and others, which must be refused.
BARE_ORDERS = (
    ("user", "movie", "rating"),
    ("time", "user", "movie", "rating"),
    ("user", "movie", "rating", "time"),
)
OTHER_ORDERS = (
    ("movie", "user", "rating"),
    ("user", "rating", "movie"),
    ("rating", "user", "movie"),
    ("user", "movie", "time", "rating"),
    ("movie", "user", "rating", "time"),
    ("user", "time", "movie", "rating"),
    ("user", "movie", "time"),
)
Row = tuple[int, str, float, datetime | None]

_MOVIES = ("the+matrix+1999", "up+2009", "10.5-_+2004", "caf%c3%a9+2000", "endeavour+")
_RATINGS = tuple(half / 2 for half in range(1, 11))
_BAD = {
    "time": ("yesterday", "2926-01-01", "2023-02-30", "99999999999", "1e9", "12/31/2000", "1"),
    "user": ("N7", "-7", "7.5", "1" * 19, "1" * 5000, "", "\u0667", "1e3"),
    "movie": ("", "Toy Story (1995)", "x" * 201, "\u00c9T \u00c9T"),
    "rating": ("", "5.5", "0", "nan", "1e999", "4_0", "0x4", "5" * 5000, "four", "-4"),
}


@dataclass
class Table:
    """A generated table.

    Attributes:
        content: bytes of the file.
        truth: its valid rows.
        rows: number of its rows, damaged ones included.
        text: the text, for messages.
    """

    content: bytes
    truth: "Counter[Row]"
    rows: int
    text: str


@dataclass
class Lines:
    """Generated log lines, and what a parser must make of them."""

    lines: list[str] = field(default_factory=list)
    watches: Counter[tuple[int, str, int, datetime]] = field(default_factory=Counter)
    ratings: Counter[Row] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)


def make_table(
    random: Random, order: tuple[str, ...], delimiter: str, encoding: str, *, has_header: bool
) -> Table:
    """Return a table whose columns are in this order, with damaged rows among the others."""
    columns = [*order]
    if has_header:
        for name in random.sample(EXTRA, random.randrange(3)):
            columns.insert(random.randrange(len(columns) + 1), f"extra {name}")
    quote = has_header and len(delimiter) == 1 and random.random() < 0.3
    format_time = random.choice(_TIME_FORMATS)
    lines, truth = [], Counter[Row]()
    count = random.randint(0 if has_header else 3, 9)
    for number in range(count):
        row, fields = _make_row(random, format_time, may_lack_time=has_header)
        if "time" not in order:
            row = (*row[:3], None)
        # A table without header of which most rows are damaged would be refused as a whole.
        can_be_damaged = number > 2 and (has_header or 2 * (number - truth.total() + 1) <= number)
        damaged = random.choice(order) if can_be_damaged and random.random() < 0.3 else None
        if damaged is None:
            truth[row] += 1
        else:
            fields[damaged] = random.choice(_BAD[damaged])
        texts = [
            _extra(random, delimiter, quote) if column.startswith("extra") else fields[column]
            for column in columns
        ]
        lines.append(_join(texts, delimiter, quote=quote))
    if has_header:
        named = [
            column.removeprefix("extra ")
            if column.startswith("extra")
            else random.choice(NAMES[column])
            for column in columns
        ]
        lines.insert(0, _join(named, delimiter, quote=quote))
    lines[:0] = random.choice([[], [], [], ["# exported"], ["", "  "]])
    end = random.choice(LINE_ENDS)
    text = end.join(lines) + random.choice(["", end]) * bool(lines)
    return Table(encode(text, encoding), truth, count, text)


def make_lines(random: Random, count: int) -> Lines:
    """Return log lines of all kinds, a fifth of them damaged in a way that has one reason."""
    made = Lines()
    for _ in range(count):
        time, time_text = _log_time(random)
        user, movie = random.choice([random.randrange(10**6), 10**18 - 1]), random.choice(_MOVIES)
        bad = random.choice(["time", "user", "request", "movie", "minute", "rating", "fields"])
        if random.random() > 0.2:
            bad = ""
        if bad == "time":
            time_text = random.choice(
                ["2926-01-01T00:00", "1026-01-01T00:00", "2022-02-30T01:00", f"{time_text}Z", "x"]
            )
        user_text = str(user)
        if bad == "user":
            user_text = random.choice(["", "N7", "7 ", "1" * 19, "\u0667", "-1"])
        spelling = movie.replace("%c3%a9", "%C3%A9") if random.random() < 0.5 else movie
        if bad == "movie":
            spelling = random.choice(["", "Toy Story (1995)", "x" * 201])
        request = _make_request(random, made, (time, user, movie), spelling, bad)
        line = f"{time_text},{user_text},{request}"
        if bad == "fields":
            line = line.replace(",", " ")
        if bad:
            made.reasons[bad] += 1
        made.lines.append(line)
    return made


def _make_request(
    random: Random, made: Lines, event: tuple[datetime, int, str], spelling: str, bad: str
) -> str:
    time, user, movie = event
    kind = random.choice(["watch"] * 8 + ["rate", "rate", "account", "recommendation"])
    if bad in ("movie", "minute"):
        kind = "watch"
    if bad == "rating":
        kind = "rate"
    if bad == "request":
        return random.choice(["PUT /data/m/x/1.mpg", "", "GET /create_accounts", "get /rate/x=4"])
    if kind == "watch":
        minute = random.randrange(10_000)
        made.watches[user, movie, minute, time] += not bad
        text = random.choice(["", "12345", "-1", "1.5"]) if bad == "minute" else f"{minute}"
        return f"GET /data/m/{spelling}/{text}.mpg"
    if kind == "rate":
        rating = random.randint(1, 5)
        made.ratings[user, movie, float(rating), time] += not bad
        text = random.choice(["", "0", "6", "4.5", "1" * 5000]) if bad == "rating" else f"{rating}"
        return f"GET /rate/{spelling}={text}"
    made.others[kind] += not bad
    if kind == "account":
        return "GET /create_account"
    return f"recommendation request h:8082, status 200, result: {spelling}, up+2009, 9 ms"


def _log_time(random: Random) -> tuple[datetime, str]:
    time = _random_time(random)
    second, digits = time.second, random.choice([0, 0, 3, 6, 9])
    if second == 0 and random.random() < 0.9:
        return time.replace(microsecond=0), f"{time:%Y-%m-%dT%H:%M}"
    fraction = f"{time.microsecond:06}123"[:digits]
    time = time.replace(microsecond=int(f"{fraction:0<6.6}" if digits else "0"))
    return time, f"{time:%Y-%m-%dT%H:%M:%S}" + (f".{fraction}" if digits else "")


def _random_time(random: Random) -> datetime:
    start, end = datetime(1995, 1, 1), datetime(2025, 12, 31)
    seconds = random.randrange(int((end - start).total_seconds()))
    time = start + timedelta(seconds=seconds, microseconds=random.randrange(10**6))
    return time.replace(second=0) if random.random() < 0.1 else time


def _make_row(
    random: Random, format_time: Callable[[datetime], tuple[datetime, str]], *, may_lack_time: bool
) -> tuple[Row, dict[str, str]]:
    user, movie, rating = random.randrange(10**6), random.choice(_MOVIES), random.choice(_RATINGS)
    time, time_text = format_time(_random_time(random))
    known: datetime | None = time
    if may_lack_time and random.random() < 0.1:
        known, time_text = None, ""
    return (user, movie, rating, known), {
        "user": random.choice([f"{user}", f"{user}", f"{user}.0"]),
        "movie": movie.replace("%c3%a9", random.choice(["%c3%a9", "%C3%A9"])),
        "rating": _format_rating(random, rating),
        "time": time_text,
    }


def _format_rating(random: Random, rating: float) -> str:
    forms = [f"{rating}", f"{rating:g}", f"+{rating}", f"{rating:.12f}", f"{rating:e}"]
    forms += [f"{rating * 10:.0f}E-1", f"{rating}".lstrip("0"), f"{rating}".removesuffix("0")]
    return random.choice(forms)


def _zoned(time: datetime, minutes: int, form: str) -> tuple[datetime, str]:
    time = time.replace(microsecond=0)
    local = time.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=minutes)))
    return time, local.isoformat(form)


def _epoch(time: datetime, per_second: int, suffix: str = "") -> tuple[datetime, str]:
    microseconds = (time - EPOCH) // timedelta(microseconds=1)
    count = microseconds * per_second // 10**6
    return EPOCH + timedelta(microseconds=count * 10**6 // per_second), f"{count}{suffix}"


_TIME_FORMATS: tuple[Callable[[datetime], tuple[datetime, str]], ...] = (
    lambda time: (time, f"{time:%Y-%m-%dT%H:%M:%S.%f}"),
    lambda time: (time, f"{time:%Y-%m-%d %H:%M:%S.%f}123"),
    lambda time: (time.replace(second=0, microsecond=0), f"{time:%Y-%m-%d %H:%M}"),
    lambda time: (datetime(time.year, time.month, time.day), f"{time:%Y-%m-%d}"),
    lambda time: (time.replace(microsecond=0), f"{time:%Y-%m-%dT%H:%M:%S}Z"),
    lambda time: _zoned(time, 330, "T"),
    lambda time: _zoned(time, -480, " "),
    lambda time: _epoch(time, 1),
    lambda time: _epoch(time, 1, "."),
    lambda time: _epoch(time, 1, ".0"),
    lambda time: _epoch(time, 1_000),
    lambda time: _epoch(time, 1_000_000),
    lambda time: (time, _epoch(time, 1_000_000_000)[1]),
)


def _extra(random: Random, delimiter: str, quote: bool) -> str:
    """Return a text of a column that is not read, with other delimiters, or this one in quotes."""
    text = random.choice(["Caf\u00e9", "Comedy|Drama", "a, b", "12", "1999", "x; y", "5'", "::"])
    return text if quote or delimiter not in text else "Drama"


def _join(texts: list[str], delimiter: str, *, quote: bool) -> str:
    return delimiter.join(f'"{text}"' if quote else text for text in texts)


def encode(text: str, encoding: str) -> bytes:
    """Return the bytes of a file with this text."""
    if encoding == "gzip":
        return gzip.compress(text.encode(), 1)
    if encoding == "latin-1":
        return text.encode("latin-1", errors="replace")
    return text.encode(encoding)
