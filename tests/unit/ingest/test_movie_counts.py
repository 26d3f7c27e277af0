"""Repairs from hashes are those that comparing texts gives, in little memory."""

import random
import re
import subprocess
import sys

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ingest.id_repair import find_repairs
from app.ingest.log_parser import is_movie_id
from app.ingest.movie_counts import MovieCounts, hash_texts, read_forms
from tests.conftest import ROOT

YEAR = re.compile(r"\+[12][0-9]{3}\Z")


def is_repair(movie: str, users: int, target: str, target_users: int) -> bool:
    if not is_movie_id(movie) or (YEAR.search(target) and not YEAR.search(movie)):
        return target_users >= users
    is_rare = users <= 2 or users <= target_users / 10_000
    return bool(YEAR.search(target)) and target_users >= 50 * users and is_rare


def find_repairs_by_text(users_by_movie: dict[str, int]) -> dict[str, str]:
    """Compare each id with all texts that lack one of its characters."""
    repairs = {}
    for movie, users in users_by_movie.items():
        shorter = {movie[:at] + movie[at + 1 :] for at in range(len(movie))}
        candidates = [
            (users_by_movie[target], target)
            for target in shorter & users_by_movie.keys()
            if is_movie_id(target) and is_repair(movie, users, target, users_by_movie[target])
        ]
        if candidates:
            repairs[movie] = max(candidates)[1]
    for movie, target in repairs.items():
        while target in repairs:
            target = repairs[target]  # noqa: PLW2901
        repairs[movie] = target
    return repairs


def damage(rng: random.Random, movie: str) -> str:
    at = rng.randrange(len(movie) + 1)
    return movie[:at] + rng.choice("aab1+ %Aéü\x7f") + movie[at:]


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_repairs_are_those_of_a_comparison_of_texts(seed: int) -> None:
    rng = random.Random(seed)
    users = {}
    for number in range(40):
        movie = f"{rng.choice(('alien', 'aa', 'b+a', '%3aab'))}{rng.choice(('', '+1999', '+2001'))}"
        movie = movie if number % 3 else damage(rng, movie)
        users[movie] = rng.choice((1, 2, 3, 49, 50, 99, 100, 30_000))
        for _ in range(3):
            movie = damage(rng, movie)
            users[movie] = rng.choice((1, 1, 2, 3, 50))
    assert find_repairs(users) == find_repairs_by_text(users)


@given(st.lists(st.text("a1+%3f _é\n", max_size=12) | st.just("x" * 201)))
def test_forms_are_those_of_the_patterns(ids: list[str]) -> None:
    expected = [is_movie_id(name) * (1 + bool(YEAR.search(name))) for name in ids]
    assert read_forms(pl.Series(ids, dtype=pl.String)).tolist() == expected


def test_users_are_added_over_many_calls() -> None:
    counts = MovieCounts()
    names = pl.Series([f"movie+{number}+1999" for number in range(50_000)])
    for _ in range(9):
        counts.add(names, pl.Series([7] * len(names)))
    counts.add(pl.Series(["up+2009"]), pl.Series([1]))
    users, _ = counts.look_up(pl.concat([names, pl.Series(["up+2009", "unknown+1999"])]))
    assert users.tolist() == [63] * len(names) + [1, 0]
    assert len(set(hash_texts(names).tolist())) == len(names)


MEMORY_TEST = """
import resource
import numpy as np
import polars as pl
from app.ingest.id_repair import repair_ids
from app.ingest.movie_counts import MovieCounts

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def make_bucket(number):
    rng = np.random.default_rng(number)
    names = [f"a+movie+of+the+night+{m:x}+1999" for m in rng.integers(0, 9000, 12_500)]
    at = rng.integers(0, 20, len(names)).tolist()
    letters = rng.integers(97, 123, (len(names), 2)).tolist()
    damaged = [n[:i] + chr(a) + n[i:i+1] + chr(b) + n[i+1:]
               for n, i, (a, b) in zip(names, at, letters)]
    ids = pl.Series("id", damaged + sorted(set(names))).unique()
    return ids, pl.Series(np.where(ids.str.len_bytes() > 30, 1, 40))

repair_ids(make_bucket(0)[0], MovieCounts())
before = peak_mb()
counts = MovieCounts()
for number in range(16):
    counts.add(*make_bucket(number))
for number in range(16):
    repair_ids(make_bucket(number)[0], counts)
print(len(counts.is_valid), peak_mb() - before)
"""


def test_two_hundred_thousand_ids_take_a_few_megabytes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_TEST], cwd=ROOT, capture_output=True, check=True, text=True
    )
    ids, added_mb = done.stdout.split()
    assert int(ids) > 150_000
    assert float(added_mb) < 60


@pytest.mark.parametrize("ids", [[], ["up+2009"]])
def test_few_ids_are_no_special_case(ids: list[str]) -> None:
    assert find_repairs(dict.fromkeys(ids, 1)) == {}
