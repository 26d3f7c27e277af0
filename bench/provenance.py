"""What recording costs a request, and how the database does with many answers.

Cost: the same service twice, one worker on one core, recording and not, asked in turn. Database:
generated answers of 100,000 users over 30 days in SQLite and in a MariaDB container (256 MB of
buffer, as in the compose file): insert rate, bytes a million rows, and how long a trace takes. In
MariaDB all but the last million are made by the server itself, before the indexes beside the key:
the rate is that of inserting as the shipper does into a table that large, and what the indexes take
is what they take packed. SQLite is left out beyond ten million.

    python -m bench.provenance [--json] [--quick] [--only PART ...] [--rounds N] [--rows N ...]
    python -m bench.provenance --json --only mariadb --rows 100000000      # an hour; 40 GB of disk
"""

import argparse
import hashlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from app.provenance.database import connect, day_of, insert, upgrade, upkeep
from app.provenance.lineage import Tracer
from app.provenance.shipper import BATCH
from app.provenance.tables import reccom, tracking
from app.settings import Settings
from bench.requests import load
from bench.requests.measure import USERS_PER_RUN, Spread
from bench.requests.model import make_model, sample_users
from bench.requests.servers import Server, serving
from tests.support import mariadb

TARGET = 0.95
USERS, MOVIES = 100_000, 10_000
DAYS = 30
TRACES = 100
#: Rows inserted as the shipper does, by whose time the rate is told.
SHIPPED = 1_000_000
#: Rows of one statement where the server makes them: seconds, and bounded in its `/tmp`.
CHUNK = 500_000
#: No statement of ours takes longer, on a busy machine either: building an index of all rows.
PATIENCE = 7200
PARTS = ("cost", "sqlite", "mariadb")
SQLITE_ROWS = 10_000_000
_DAY = 86_400_000_000
_START = time.time_ns() // 1000 - DAYS * _DAY

_SAME = {
    "slot": "stable-1", "build_id": "7-0123456789ab", "source": "personal", "took": 80,
    "given_up": False, "asked_again": False,
}  # fmt: skip


def cost(rounds: int, seconds: float) -> dict[str, Any]:
    """Requests a second with recording over those without, in each round.

    Beside it the processor time of a request, which what else runs on the machine hardly touches.
    """
    model = make_model(USERS, MOVIES)
    rates: dict[str, list[float]] = {"true": [], "false": []}
    spent: dict[str, list[float]] = {"true": [], "false": []}
    with ExitStack() as stack:
        servers = {
            on: stack.enter_context(serving("marquee", model, MARQUEE_PROVENANCE_ENABLED=on))
            for on in rates
        }
        for number in range(-1, rounds):  # the first only warms up
            for on in sorted(rates, reverse=bool(number % 2)):
                users = sample_users(model, USERS_PER_RUN, 1000 + number)
                before = _processor_seconds(servers[on])
                rate = load.peak(servers[on].url, users, seconds)
                if number >= 0:
                    rates[on].append(rate)
                    used = _processor_seconds(servers[on]) - before
                    spent[on].append(used / (rate * seconds) * 1e6)
    return {
        "ratio": _ratio(rates["true"], rates["false"]),
        "with": Spread.of(rates["true"]).rounded(),
        "without": Spread.of(rates["false"]).rounded(),
        "processor_ratio": _ratio(spent["false"], spent["true"]),
        "processor_us_with": Spread.of(spent["true"]).rounded(),
        "processor_us_without": Spread.of(spent["false"]).rounded(),
    }


def _ratio(ones: list[float], others: list[float]) -> dict[str, float]:
    return Spread.of(one / other for one, other in zip(ones, others, strict=True)).rounded()


def _processor_seconds(server: Server) -> float:
    ticks = 0
    for pid in server.workers():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def answers(first: int, last: int, total: int) -> list[dict[str, Any]]:
    """Rows `first` to `last` of `total`, in the order of time; the same ones as `_MADE` makes."""
    rows = []
    for number in range(first, last):
        moment = _START + number * DAYS * _DAY // total
        digest = hashlib.md5(str(number).encode()).digest()
        name = f"{moment // 10**6}.{moment // 1000 % 1000:03d}-{digest.hex()}"
        row: dict[str, Any] = {"day": day_of(name, moment), "request_id": name, "time": moment}
        row |= {"version_number": number * 15 // total}
        row |= {"user_id": int.from_bytes(digest[:4]) % USERS, "movies": (digest * 3)[:40]}
        rows.append(_SAME | row)
    return rows


#: `answers` in MariaDB's SQL.
_MADE = """
SET unique_checks = 0, foreign_key_checks = 0;
INSERT INTO reccom (day, request_id, version_number, user_id, time, movies,
    slot, build_id, source, took, given_up, asked_again)
SELECT moment DIV 86400000000,
    CONCAT(moment DIV 1000000, '.', LPAD(moment DIV 1000 MOD 1000, 3, '0'), '-', hash),
    n * 15 DIV {total}, CONV(LEFT(hash, 8), 16, 10) MOD {users}, moment,
    UNHEX(LEFT(CONCAT(hash, hash, hash), 80)),
    'stable-1', '7-0123456789ab', 'personal', 80, FALSE, FALSE
FROM (SELECT seq AS n, MD5(seq) AS hash,
    CAST({start} + CAST(seq AS DECIMAL(40)) * {span} DIV {total} AS UNSIGNED) AS moment
    FROM seq_{first}_to_{last}) made
"""


def fill(engine: sa.Engine, rows: int, server: mariadb.Database | None) -> dict[str, float]:
    """Make `rows` answers; the rate counts the database's time alone, for those shipped."""
    for day in range(DAYS + 1):  # as the shipper would have, day by day
        upkeep(engine, _START + day * _DAY, keep_days=3650)
    made = 0
    if server is not None:
        made = max(0, rows - SHIPPED)
        if made:
            _make(server, made, rows)
    inserting = 0.0
    for first in range(made, rows, BATCH):
        batch = answers(first, min(rows, first + BATCH), rows)
        begun = time.perf_counter()
        with engine.begin() as connection:
            insert(connection, reccom, batch)
        inserting += time.perf_counter() - begun
    return {"rows": rows, "inserts_per_second": round((rows - made) / inserting)}


def _make(server: mariadb.Database, made: int, rows: int) -> None:
    """Let the server make the first rows; the indexes beside the key are made after them."""
    indexes = sorted((str(i.name), ", ".join(i.columns.keys())) for i in reccom.indexes)
    before = _definition(server)
    begun = time.monotonic()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - begun:7.0f} s: {what}", file=sys.stderr, flush=True)

    for name, _ in indexes:
        server.query(f"ALTER TABLE reccom DROP INDEX {name}")
    for first in range(0, made, CHUNK):
        last = min(made, first + CHUNK)
        numbers = {"first": first, "last": last - 1, "total": rows, "start": _START}
        server.query(_MADE.format(users=USERS, span=DAYS * _DAY, **numbers), PATIENCE)
        tell(f"{last:,} of {rows:,} rows")
    for name, columns in indexes:
        server.query(f"ALTER TABLE reccom ADD INDEX {name} ({columns})", PATIENCE)
        tell(f"index {name}")
    assert _definition(server) == before


def _definition(server: mariadb.Database) -> list[str]:
    """What the table is, line by line; a migration makes indexes in any order."""
    lines = server.query("SHOW CREATE TABLE reccom").split("\\n")
    return sorted(line.strip(" ,") for line in lines)


def trace_times(engine: sa.Engine, rows: int) -> dict[str, float]:
    """Milliseconds of a trace, median and worst of a hundred, each of another user and request."""
    tracer, chance = Tracer(engine), random.Random(1)
    ids = [answers(n, n + 1, rows)[0] for n in chance.sample(range(rows), TRACES)]
    times: dict[str, list[float]] = {"user": [], "request": []}
    for known in ids:
        for kind, values in times.items():
            begun = time.perf_counter()
            if kind == "user":
                assert tracer.user(known["user_id"], last=20)
            else:
                assert tracer.request(known["request_id"])
            values.append((time.perf_counter() - begun) * 1000)
    return {
        f"trace_{kind}_ms_{name}": round(figure(values), 2)
        for kind, values in times.items()
        for name, figure in (("median", statistics.median), ("worst", max))
    }


def databases(
    folder: Path, parts: Sequence[str]
) -> Iterator[tuple[str, sa.Engine, mariadb.Database | None, Any]]:
    """Name, engine, server if it is one, and what tells the bytes of its tables."""
    if "sqlite" in parts:
        yield from _sqlite(folder)
    if "mariadb" in parts:
        yield from _mariadb(folder)


def _sqlite(folder: Path) -> Iterator[tuple[str, sa.Engine, None, Any]]:
    file = folder / "p.db"
    engine = connect(Settings(database=f"sqlite:///{file}"))
    upgrade(engine)
    yield "sqlite", engine, None, lambda: file.stat().st_size
    file.unlink()


def _mariadb(folder: Path) -> Iterator[tuple[str, sa.Engine, mariadb.Database, Any]]:
    if reason := mariadb.why_not():
        print(f"MariaDB skipped: {reason}", file=sys.stderr)
        return
    (folder / "mariadb").mkdir()
    (folder / "sorted").mkdir()
    with mariadb.running(
        folder / "mariadb", "--innodb-buffer-pool-size=256M", scratch=folder / "sorted"
    ) as server:
        used = ("exec", server.container, "sh", "-c", "du -cb /var/lib/mysql/marquee/reccom*")
        yield "mariadb", server.engine(), server, lambda: int(mariadb.docker(*used).split()[-2])


def scale(sizes: list[int], parts: Sequence[str]) -> list[dict[str, Any]]:
    """The database's figures at each size."""
    results = []
    for rows in sizes:
        with tempfile.TemporaryDirectory(prefix="marquee-bench-") as folder:
            for name, engine, server, size in databases(Path(folder), parts):
                if name == "sqlite" and rows > SQLITE_ROWS:
                    print(f"{rows:,} rows in SQLite skipped: take a server", file=sys.stderr)
                    continue
                with engine.begin() as connection:
                    insert(connection, tracking, [{"version_number": n} for n in range(15)])
                figures = fill(engine, rows, server)
                figures["mb_per_million_rows"] = round(size() / rows, 1)
                results.append({"database": name, **figures, **trace_times(engine, rows)})
                engine.dispose()
                print(results[-1], file=sys.stderr, flush=True)
    return results


def main() -> int:
    """Measure and print; exit status 1 when the target is missed (not judged with `--quick`)."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="small and short; judges nothing")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="these alone")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of the cost (9)")
    parser.add_argument("--seconds", type=float, default=3, help="of load for each figure (3)")
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000])
    arguments = parser.parse_args()
    os.environ.setdefault("MARQUEE_LOG_LEVEL", "error")
    rounds, seconds, sizes = (2, 1.0, [20_000]) if arguments.quick else (
        arguments.rounds, arguments.seconds, arguments.rows
    )  # fmt: skip
    result: dict[str, Any] = {"target": TARGET}
    if "cost" in arguments.only:
        result["cost"] = cost(rounds, seconds)
    result["databases"] = scale(sizes, arguments.only)
    print(json.dumps(result, indent=None if arguments.json else 1))
    missed = "cost" in result and result["cost"]["ratio"]["median"] < TARGET
    return 1 if missed and not arguments.quick else 0


if __name__ == "__main__":
    sys.exit(main())
