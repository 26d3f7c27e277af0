"""Damage of the recent activity, and kills, under load: no request fails, and no foreign movies."""

import json
import subprocess
import time
from collections.abc import Callable

import pytest
import requests

from tests.support.load import assert_available, attack
from tests.support.shipper import wait_until_shipped
from tests.support.soak import IS_SOAK
from tests.support.stack import SLOTS, URL, Stack
from tests.support.stream import RECENT_DAY
from tests.support.waiting import eventually

RATE = 100
ROUNDS = 10 if IS_SOAK else 1
MAX_SECONDS = 1200 if IS_SOAK else 240

pytestmark = pytest.mark.timeout(MAX_SECONDS + 120)

#: Users whom neither the model nor another test knows; each watches one movie.
USERS = range(800_000_000, 800_000_200)
DAMAGE = {
    "truncated": "import os; os.truncate('/recent/activity.table', 70_000)",
    "overwritten": (
        "import os, random; f = open('/recent/activity.table', 'r+b'); n = f.seek(0, 2) // 4096;"
        "[(f.seek(random.randrange(16, n) * 4096), f.write(os.urandom(4096))) for _ in range(n)]"
    ),
    "removed": "import os; os.unlink('/recent/activity.table')",
}


def watch(stack: Stack, movies: list[str]) -> None:
    """Let each user watch a movie, by log lines: the stack has no broker."""
    lines = [
        f"{RECENT_DAY}T12:00:01,{user},GET /data/m/{movies[user % len(movies)]}/60.mpg"
        for user in USERS
    ]
    subprocess.run(
        ["docker", "compose", "exec", "-T", "recent", "marquee", "follow", "--file", "-"],
        cwd=stack.clone, env=stack.environment, input="\n".join(lines).encode(), timeout=120,
        check=True, capture_output=True,
    )  # fmt: skip


def ask(user: int) -> requests.Response:
    return requests.get(f"{URL}/recommend/{user}", timeout=2)


def wait_until_used() -> None:
    """Wait until every slot uses the recent activity."""

    def slots() -> set[str]:
        answers = [ask(user) for user in USERS[:30]]
        if any(answer.headers["X-Recommendation-Source"] != "recent" for answer in answers):
            return set()
        return {answer.headers["X-Slot"] for answer in answers}

    eventually(lambda: slots() == set(SLOTS), 60, "all slots use the recent activity", 0.5)


def test_no_request_fails_while_the_file_is_damaged_and_processes_are_killed(
    stack: Stack, record_measurement: Callable[[str], None]
) -> None:
    movies = ask(USERS[0]).text.split(",")
    watch(stack, movies)
    wait_until_used()

    def during() -> None:
        for _ in range(ROUNDS):
            for code in DAMAGE.values():
                stack.compose("exec", "-T", "recent", "python", "-c", code)
                time.sleep(2)  # a slot looks at the file every second
                watch(stack, movies)
                wait_until_used()
            stack.compose("kill", "--signal=SIGKILL", "recent")
            stack.compose("up", "-d", "--no-deps", "--wait", "recent")
            for slot in SLOTS:
                stack.compose("kill", "--signal=SIGKILL", slot)
                stack.compose("up", "-d", "--no-deps", slot)
                stack.wait_until_serving(slot)
            wait_until_used()

    result = attack(URL, USERS, RATE, MAX_SECONDS, during=during, stop_early=True)
    record_measurement(
        f"recent activity damaged in {len(DAMAGE)} ways, follower and slots killed, "
        f"{ROUNDS} times: {result}"
    )
    assert_available(result)
    wait_until_shipped()
    for user in (USERS[0], USERS[-1]):
        output = stack.compose(
            "exec", "-T", "shipper", "marquee", "trace", "--user", str(user), "--last", "1000",
            "--json",
        )  # fmt: skip
        records = [json.loads(line) for line in output.splitlines()]
        used = [[e["movie_id"] for e in r["recent_events"]] for r in records]
        assert [movies[user % len(movies)]] in used
        assert all(found in ([], [movies[user % len(movies)]]) for found in used)
