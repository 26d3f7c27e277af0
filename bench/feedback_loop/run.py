"""One part: a system and a seed, over all retrainings. A finished part is read, not run again."""

import hashlib
import json
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.atomic_files import write_file
from app.ingest.schemas import Schema
from app.simulator.arrivals import Arrival, ArrivalSettings, generate_arrivals
from app.simulator.choice_model import choose_movie
from app.simulator.environment import Environment, EnvironmentSettings
from app.simulator.movies import DAY_SECONDS
from app.training.ranking_metrics import gini
from bench.feedback_loop.systems import LENGTH, ROOT, System, TrainedLists, train_lists

_COMPARED_LISTS = 300
_SOURCES = ("run.py", "systems.py")
_SCHEMA: Schema = {
    "user_id": pl.Int64(),
    "movie_id": pl.String(),
    "minutes": pl.UInt16(),
    "last_time": pl.Datetime("us"),
    "shown": pl.Boolean(),
}


@dataclass(frozen=True)
class Size:
    """How much is simulated.

    Attributes:
        retrainings: one each simulated day.
        visits: visits of users each day.
        users: users of the sample who take part.
    """

    retrainings: int = 30
    visits: int = 1000
    users: int = 2500


@dataclass
class _State:
    """What is known at a moment of a run.

    Attributes:
        watched: movies of each user.
        rows: events: user, movie, minutes, time, and whether an answer showed the movie.
        propensities: of the watched movies that were drawn at random, in the order of time.
    """

    watched: dict[int, set[int]]
    rows: list[tuple[int, str, int, Any, bool]]
    propensities: list[float]


def run_part(system: System, seed: int, size: Size, directory: Path) -> dict[str, Any]:
    """Return the result of a part: one row of figures for each day; written to `directory`."""
    key = _key(system, seed, size)
    path = directory / f"{system.name.replace(' ', '-')}-{seed}.json"
    if path.is_file():
        stored: dict[str, Any] = json.loads(path.read_bytes())
        if stored["key"] == key:
            return stored
    started = time.process_time()
    days, propensities = _simulate(system, seed, size)
    result = {
        "key": key,
        "system": system.name,
        "seed": seed,
        "days": days,
        # Of the choices among movies that were drawn at random, in the order of time.
        "propensities": propensities,
        "seconds": round(time.process_time() - started, 1),
    }
    directory.mkdir(parents=True, exist_ok=True)
    write_file(path, json.dumps(result).encode())
    return result


def _key(system: System, seed: int, size: Size) -> str:
    """A hash of what a part is a function of, the code of this package included."""
    digest = hashlib.sha256(json.dumps([asdict(system), seed, asdict(size)]).encode())
    for name in _SOURCES:
        digest.update((Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()[:16]


def _simulate(system: System, seed: int, size: Size) -> tuple[list[dict[str, Any]], list[float]]:
    """Return the figures of each day, and the propensities of choices among explored movies."""
    settings = EnvironmentSettings(seed=seed, days=float(size.retrainings + 1))
    environment = Environment(settings)
    state = _begin(environment, size)
    arrivals = generate_arrivals(
        environment, ArrivalSettings(rate=size.visits / DAY_SECONDS, invalid=0)
    )
    days = []
    for day in range(size.retrainings):
        lists = _train(system, state, environment)
        visits: dict[str, list[dict[str, float]]] = defaultdict(list)
        for arrival in arrivals:
            _visit(system, environment, lists, state, arrival, visits)
            if arrival.time >= (day + 1) * DAY_SECONDS:
                break
        days.append({"day": day + 1, **_describe(system, lists, environment, seed, day, visits)})
    return days, state.propensities


def _begin(environment: Environment, size: Size) -> _State:
    """Return the state after the sample's watches."""
    table = pl.read_parquet(ROOT / "data" / "sample" / "watches.parquet")
    chosen = table["user_id"].unique().sort()[: size.users]
    table = table.filter(pl.col("user_id").is_in(chosen.to_list()))
    columns = ("user_id", "movie_id", "minutes", "last_time")
    rows = [(*row, False) for row in table.select(columns).iter_rows()]
    watched: dict[int, set[int]] = defaultdict(set)
    for user, movie, *_ in rows:
        watched[user].add(environment.movies.index[movie])
    return _State(watched, rows, [])


def _train(system: System, state: _State, environment: Environment) -> TrainedLists | None:
    if system.kind in ("none", "random"):
        return None
    table = pl.DataFrame(state.rows, schema=_SCHEMA, orient="row")
    return train_lists(system, table, environment.movies.index)


def _recommend(
    system: System,
    lists: TrainedLists | None,
    environment: Environment,
    arrival: Arrival,
    seed: int,
) -> tuple[list[int], dict[int, float]]:
    """Return the answer, and the propensity of each movie that was drawn at random."""
    if system.kind == "none":
        return [], {}
    released = environment.movies.count_released(arrival.time)
    rng = np.random.default_rng([seed, arrival.number])
    if lists is None:
        return rng.choice(released, LENGTH, replace=False).tolist(), {}
    answer = lists.get(arrival.user_id)[:LENGTH]
    if not system.explored_places:
        return answer, {}
    others = np.setdiff1d(np.arange(released), answer)
    drawn = rng.choice(others, system.explored_places, replace=False).tolist()
    places = rng.choice(len(answer), system.explored_places, replace=False).tolist()
    for place, movie in zip(places, drawn, strict=True):
        answer[place] = movie
    return answer, dict.fromkeys(drawn, system.explored_places / len(others))


def _visit(
    system: System,
    environment: Environment,
    lists: TrainedLists | None,
    state: _State,
    arrival: Arrival,
    visits: dict[str, list[dict[str, float]]],
) -> None:
    """Answer one request and let the user choose."""
    seed, user = environment.settings.seed, arrival.user_id
    answer, propensity = _recommend(system, lists, environment, arrival, seed)
    watched = state.watched.setdefault(user, set())
    # What the user would have watched without an answer: the same discoveries and noise.
    position = arrival.rng.bit_generator.state
    organic = choose_movie(environment, arrival, [], watched).movie
    arrival.rng.bit_generator.state = position
    choice = choose_movie(environment, arrival, answer, watched)
    if choice.movie is None:
        return
    row = {
        "chosen": choice.chosen,
        "best": choice.best,
        "shown": float(choice.movie in answer),
        "caused": float(choice.movie != organic),
        "explored": float(choice.movie in propensity),
    }
    for group in _groups(environment, user, len(watched)):
        visits[group].append(row)
    if choice.movie in propensity:
        state.propensities.append(propensity[choice.movie])
    watched.add(choice.movie)
    share = 1 / (1 + np.exp(-1.5 * choice.chosen - arrival.rng.normal(0.8, 0.8)))
    minutes = max(1, int(environment.movies.runtimes[choice.movie] * share))
    end = environment.datetime_at(arrival.time) + timedelta(minutes=minutes)
    movie_id = environment.movies.ids[choice.movie]
    state.rows.append((user, movie_id, minutes, end, choice.movie in answer))


def _groups(environment: Environment, user: int, n_watched: int) -> tuple[str, ...]:
    """The groups of users in which a visit counts."""
    if not environment.users.is_in_sample(user):
        gender = environment.users.profile(user).gender
        return ("all", "new users", "new men" if gender == "M" else "new women")
    return ("all", "active users" if n_watched > LENGTH else "less active users")


def _describe(
    system: System,
    lists: TrainedLists | None,
    environment: Environment,
    seed: int,
    day: int,
    visits: dict[str, list[dict[str, float]]],
) -> dict[str, Any]:
    """Return the figures of one day."""
    released = environment.movies.count_released((day + 0.5) * DAY_SECONDS)
    means = {
        group: {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        | {"visits": len(rows)}
        for group, rows in sorted(visits.items())
    }
    shown = _sample_lists(system, lists, released, seed, day)
    if not len(shown):
        return {"groups": means, "coverage": None, "gini": None, "similarity": None}
    exposure = np.bincount(shown.ravel(), minlength=released)
    return {
        "groups": means,
        "coverage": float((exposure > 0).mean()),
        "gini": gini(exposure),
        "similarity": _similarity(shown),
    }


def _sample_lists(
    system: System, lists: TrainedLists | None, released: int, seed: int, day: int
) -> NDArray[np.int64]:
    """Return the answers [users, LENGTH] to users drawn at random."""
    rng = np.random.default_rng([seed, day, 1])
    if system.kind == "none":
        return np.empty((0, LENGTH), np.int64)
    if lists is None:
        rows = [rng.choice(released, LENGTH, replace=False) for _ in range(_COMPARED_LISTS)]
        return np.array(rows)
    if not lists.rows:
        return np.tile(np.array(lists.popular[:LENGTH]), (_COMPARED_LISTS, 1))
    chosen = rng.choice(len(lists.lists), min(_COMPARED_LISTS, len(lists.lists)), replace=False)
    return lists.lists[chosen, :LENGTH]


def _similarity(shown: NDArray[np.int64]) -> float:
    """The mean share of movies that two users' lists have in common, over neighbouring rows."""
    pairs = pairwise(shown)
    return float(np.mean([len(np.intersect1d(a, b)) / LENGTH for a, b in pairs]))
