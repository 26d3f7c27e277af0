"""A canary that is fast and never fails is aborted when users watch less of what it recommends.

From answers in a database and watches in a store to the verdict, by the commands that a release
runs at its deadline.
"""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from app.cli import marquee
from tests.support.canary_samples import encode, make_lines
from tests.support.quality import START, QualityData

USERS, ANSWERS, CANARY_SHARE = 800, 12, 0.2
STABLE_TAKE_RATE = 0.2


def write_release(data: QualityData, canary_take_rate: float) -> None:
    """A release of four hours; each user watches a movie of some of the answers, once each."""
    rng = np.random.default_rng(11)
    count = USERS * ANSWERS
    user = rng.integers(10_000, 10_000 + USERS, count)
    seconds = np.sort(rng.random(count) * 4 * 3600)
    version = np.where(rng.random(count) < CANARY_SHARE, 8, 7)
    rate = np.where(version == 8, canary_take_rate, STABLE_TAKE_RATE)
    taken = rng.random(count) < rate
    rows = list(zip(version.tolist(), user.tolist(), seconds.tolist(), strict=True))
    for (_, who, at), movies, is_taken in zip(rows, data.answer_all(rows), taken, strict=True):
        if is_taken:
            data.watch(who, movies[int(rng.integers(len(movies)))], at + 30, minutes=1)
    data.watch(1, "movie+number+5+1915", 6 * 3600)
    data.commit_watches()


def run(arguments: list[str], data: QualityData, text: bytes = b"") -> dict[str, Any]:
    result = CliRunner().invoke(marquee, arguments, input=text, env=data.environment())
    assert result.exit_code == 0, result.output
    content: dict[str, Any] = json.loads(result.stdout)
    return content


@pytest.mark.parametrize(
    ("canary_take_rate", "verdict", "outcome"),
    [(0.1, "ABORT", "failed"), (0.3, "PROMOTE", "passed")],
)
def test_the_verdict_follows_from_what_users_watch(
    tmp_path: Path, canary_take_rate: float, verdict: str, outcome: str
) -> None:
    data = QualityData(tmp_path)
    write_release(data, canary_take_rate)
    times = [(START + timedelta(hours=hours)).isoformat(timespec="seconds") for hours in (0, 4)]
    measure = ["quality", "--candidate", "8", "--start", times[0], "--end", times[1], "--json"]
    quality = tmp_path / "quality.json"
    quality.write_text(json.dumps(run(measure, data)))
    samples = encode(make_lines(100))
    analyze = ["analyze", "--samples", "-"]
    assert run(analyze, data, samples)["verdict"] == "PROMOTE"
    result = run([*analyze, "--quality", str(quality)], data, samples)
    check = result["checks"][-1]
    assert (result["verdict"], check["name"], check["outcome"]) == (verdict, "quality", outcome)
    others = {other["outcome"] for other in result["checks"][:-1]}
    assert not others & {"failed", "undecided"}
