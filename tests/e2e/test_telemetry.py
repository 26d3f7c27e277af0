"""The containers that measure the quality, export answers and answer queries, each run once."""

import json
import subprocess
import time
from datetime import UTC, datetime, timedelta

import requests

from tests.support.shipper import wait_until_shipped
from tests.support.stack import URL, Stack
from tests.support.watching import collect

USER = 7_654_321_077
DAY_US = 86_400_000_000


def run(stack: Stack, *arguments: str) -> str:
    return stack.compose("run", "--rm", "-T", *arguments)


def copy_answers(stack: Stack) -> int:
    """Insert a copy of the user's answers two days ago: a day that is over; return the day."""
    columns = [row[0] for row in stack.sql("show columns from reccom")]
    moved = {"day": "day - 2", "answered_at_us": f"answered_at_us - {2 * DAY_US}"}
    values = ", ".join(moved.get(name, name) for name in columns)
    stack.sql(
        f"insert ignore into reccom ({', '.join(columns)})"
        f" select {values} from reccom where user_id = {USER}"
    )
    return int(stack.sql(f"select min(day) from reccom where user_id = {USER}")[0][0])


def test_answers_are_exported_and_queried(stack: Stack) -> None:
    for _ in range(5):
        assert requests.get(f"{URL}/recommend/{USER}", timeout=5).status_code == 200
    wait_until_shipped()
    movie = requests.get(f"{URL}/recommend/{USER}", timeout=5).text.split(",")[0]
    now = datetime.now(UTC)
    collect(stack, [f"{now:%Y-%m-%dT%H:%M:%S},{USER},GET /data/m/{movie}/0.mpg"])
    day = copy_answers(stack)
    result = json.loads(run(stack, "export", "--json"))
    assert (result["days"], result["rows"] >= 5) == (1, True), result
    of_user = f"FROM answers WHERE user_id = {USER}"
    rows = run(stack, "query", "--json", f"SELECT day, movies[1] AS first {of_user}").splitlines()
    assert len(rows) >= 5
    date = datetime(1970, 1, 1) + timedelta(days=day)
    assert json.loads(rows[0]) == {"day": f"{date:%Y-%m-%d}", "first": movie}
    watched = run(stack, "query", "--json", f"SELECT movie_id FROM watches WHERE user_id = {USER}")
    assert json.loads(watched) == {"movie_id": movie}
    assert json.loads(run(stack, "export", "--json"))["days"] == 0


def test_the_quality_of_one_version_is_explained(stack: Stack) -> None:
    start = time.gmtime(time.time() - 1)
    assert requests.get(f"{URL}/recommend/{USER}", timeout=5).status_code == 200
    wait_until_shipped()
    done = subprocess.run(
        ["docker", "compose", "run", "--rm", "-T", "quality",
         "--start", time.strftime("%Y-%m-%dT%H:%M:%S", start)],
        cwd=stack.clone, env=stack.environment, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "answers of two versions are needed" in done.stderr
