"""Generated events of users with tastes, and a model trained on them."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from app.cli import marquee
from tests.support.params import write_params

USERS, MOVIES = 180, 110
NEWEST = datetime(2022, 11, 14)


@dataclass(frozen=True)
class Tables:
    """Tables as `marquee prepare` writes them: training data and held-out events."""

    ratings: Path
    watches: Path
    users: Path
    later_ratings: Path
    later_watches: Path


def run(*arguments: object) -> tuple[int, str, str]:
    """Run `marquee` in this process: exit status, standard output, standard error."""
    result = CliRunner().invoke(marquee, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    directory = tmp_path_factory.mktemp("tables")
    random = np.random.default_rng(8)
    table = _events(random)
    late = random.random(len(table)) < 0.25
    rated = random.random(len(table)) < 0.4
    paths = {}
    for name, chosen in (("", ~late), ("later_", late)):
        ratings = table.filter(pl.Series(chosen & rated))
        watches = table.filter(pl.Series(chosen & ~rated))
        paths[f"{name}ratings"] = directory / f"{name}ratings.parquet"
        paths[f"{name}watches"] = directory / f"{name}watches.parquet"
        ratings.select("user_id", "movie_id", "rating", "time").write_parquet(
            paths[f"{name}ratings"]
        )
        watches.select(
            "user_id", "movie_id", "minutes", first_time="time", last_time="time"
        ).write_parquet(paths[f"{name}watches"])
    users = directory / "users.csv"
    pl.DataFrame(
        {
            "user_id": np.arange(0, 3 * USERS, 2),
            "age": random.integers(10, 70, 3 * USERS // 2),
            "gender": random.choice(["F", "M"], 3 * USERS // 2),
            "occupation": ["clerical/admin"] * (3 * USERS // 2),
        }
    ).write_csv(users)
    return Tables(users=users, **paths)


def _events(random: np.random.Generator) -> pl.DataFrame:
    tastes = random.standard_normal((USERS, 4)) @ random.standard_normal((4, MOVIES))
    liking = 1 / (1 + np.exp(3 - tastes - 2 * random.standard_exponential(MOVIES)))
    user, movie = np.nonzero(random.random((USERS, MOVIES)) < liking)
    rating = np.clip(np.round(3 + tastes[user, movie] / 2), 1, 5)
    age = random.integers(0, 10_000_000, len(user))
    return pl.DataFrame(
        {
            "user_id": user.astype(np.int64) * 3,
            "movie_id": [f"the+movie+{number}+{1990 + number % 30}" for number in movie],
            "rating": rating.astype(np.float32),
            "minutes": random.integers(1, 120, len(user)).astype(np.uint16),
            "time": pl.Series([NEWEST] * len(user), dtype=pl.Datetime("us"))
            - pl.Series(age * 1_000_000).cast(pl.Duration("us")),
        }
    )


@pytest.fixture(scope="session")
def trained(tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with all scorers; read-only."""
    model = tmp_path_factory.mktemp("trained") / "model"
    arguments = ["--ratings", tables.ratings, "--watches", tables.watches, "--users", tables.users]
    code, _, err = run("train", *arguments, "--out", model, "--params", _write_params(model.parent))
    assert code == 0, err
    return model


def _write_params(directory: Path) -> Path:
    """Give every scorer a weight, and allow segments of few users."""
    return write_params(
        directory / "params.yaml",
        blend={"als": 1, "ease": 0.7, "popularity": 0.2, "svd": 0.3},
        recency={"half_life_events": 7, "ease_share": 0.4},
        segments={"min_users": 5},
        ease={"max_movies": 70},
    )
