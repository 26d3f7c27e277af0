"""Random log lines of every kind, valid and corrupted."""

from random import Random

MOVIES = [
    "the+matrix+1999",
    "flesh++blood+1985",
    "mission%3a+impossible+1996",
    "bigger+stronger+faster*+2008",
    "endeavour+",
    "10.5-_+2004",
    "x" * 200,
    "x" * 201,
    "%zz+1999",
    "Up+2009",
    "up +2009",
    "",
]
#: Characters that `corrupt` inserts: those seen in corrupted lines of the log, and worse.
CHARACTERS = " \taZz09,/=.%+-:T\r\x00\x85\u2028é٣\U0001d7dc🎬"


def make_line(random: Random) -> str:
    """Return a line of any kind, in most cases well formed."""
    request = random.choices([_watch, _rate, _recommendation, _account], [80, 10, 8, 2])[0]
    return f"{_time(random)},{_user(random)},{request(random)}"


def corrupt(line: str, random: Random) -> str:
    """Insert, remove, replace, repeat or cut characters at one place."""
    at = random.randrange(len(line) + 1)
    character = random.choice(CHARACTERS)
    return random.choice(
        [
            line[:at] + character + line[at:],
            line[:at] + line[at + 1 :],
            line[:at] + character + line[at + 1 :],
            line[:at] + line[max(0, at - 4) :],
            line[:at],
            line[at:],
        ]
    )


def make_lines(random: Random, count: int, corruption_rate: float) -> list[str]:
    """Return lines, a share of them corrupted once or several times."""
    lines = []
    for _ in range(count):
        line = make_line(random)
        while random.random() < corruption_rate:
            line = corrupt(line, random)
        lines.append(line)
    return lines


def _time(random: Random) -> str:
    day = (
        f"{random.choice([2019, 2022, 2024])}-{random.randint(1, 12):02}-{random.randint(1, 31):02}"
    )
    second = random.choice(["", f":{random.randrange(60):02}", f":{random.randrange(60):02}"])
    digits = random.choice([0, 0, 0, random.randint(1, 10)]) if second else 0
    fraction = "." + "".join(random.choices("0123456789", k=digits)) if digits else ""
    return f"{day}T{random.randrange(24):02}:{random.randrange(60):02}{second}{fraction}"


def _user(random: Random) -> str:
    return str(random.choice([random.randrange(200), random.randrange(10**6), 10**18 - 1, 10**18]))


def _watch(random: Random) -> str:
    minute = random.choice([random.randrange(180), random.randrange(10**5)])
    return f"GET /data/m/{random.choice(MOVIES)}/{minute}.mpg"


def _rate(random: Random) -> str:
    return f"GET /rate/{random.choice(MOVIES)}={random.choice([1, 2, 3, 4, 5, 0, 6, 4.5])}"


def _recommendation(random: Random) -> str:
    status = random.choice([200, 200, 200, 0])
    result = "java.util.Timeout: after 800 ms"
    if status == 200:
        result = ", ".join(random.choices(MOVIES[:5], k=random.randint(1, 20)))
    response_ms = random.randrange(900)
    return f"recommendation request h:8082, status {status}, result: {result}, {response_ms} ms"


def _account(random: Random) -> str:
    return "GET /create_account"
