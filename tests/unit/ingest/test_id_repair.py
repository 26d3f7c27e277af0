import json
from collections import Counter
from pathlib import Path

import pytest

from app.ingest.id_repair import find_repairs
from app.ingest.log_parser import InvalidLine, Rating, Watch, is_movie_id, parse_line


@pytest.fixture(scope="session")
def users_by_movie(shared_data: Path) -> dict[str, int]:
    """Users by movie id in the real log."""
    pairs = set()
    for line in (shared_data / "movielog/stream.log").read_text().splitlines():
        event = parse_line(line)
        stored = event.repairable_event if isinstance(event, InvalidLine) else event
        if isinstance(stored, Watch | Rating):
            pairs.add((stored.user_id, stored.movie_id))
    return dict(Counter(movie for _, movie in pairs))


def test_the_documented_repairs_are_found(
    shared_data: Path, users_by_movie: dict[str, int]
) -> None:
    for text in (shared_data / "movielog/repairs.jsonl").read_text().splitlines():
        case = json.loads(text)
        movie, expected = case["movie_id"], case["repaired"]
        repaired = find_repairs({movie: 1} | users_by_movie).get(movie)
        if repaired is None and is_movie_id(movie):
            repaired = movie
        assert repaired == expected, movie


def test_no_other_movie_of_the_real_log_is_repaired(users_by_movie: dict[str, int]) -> None:
    repairs = find_repairs(users_by_movie)
    well_formed = {movie for movie in repairs if is_movie_id(movie)}
    assert well_formed == {"leon+the+professional+l1994", "the+cranes+are+flying+j1957"}
    assert len(repairs) == 12


def test_sequels_and_similar_titles_are_not_repaired() -> None:
    users = {"die+hard+1988": 90_000, "die+hard+2+1990": 1, "alien+1979": 80_000}
    users |= {"aliens+1986": 1, "up+2009": 70_000, "cup+1999": 1, "saw+2004": 9_000}
    users |= {"saw+ii+2005": 1, "infernal+affairs+ii+2003": 2, "infernal+affairs+iii+2003": 1}
    assert find_repairs(users) == {}


def test_numeric_ids_are_not_repaired() -> None:
    assert find_repairs({"356": 341, "3561": 1, "56": 9}) == {}


def test_an_invalid_id_is_repaired_to_any_known_id() -> None:
    assert find_repairs({"u p+2009": 1, "up+2009": 1}) == {"u p+2009": "up+2009"}
    assert find_repairs({"up+20x09": 1, "up+2009": 1}) == {"up+20x09": "up+2009"}
    assert find_repairs({"u p+2009": 1}) == {}


def test_a_well_formed_id_is_repaired_only_to_a_far_more_frequent_one() -> None:
    assert find_repairs({"upp+2009": 1, "up+2009": 49}) == {}
    assert find_repairs({"upp+2009": 1, "up+2009": 50}) == {"upp+2009": "up+2009"}
    assert find_repairs({"upp+2009": 3, "up+2009": 29_999}) == {}
    assert find_repairs({"upp+2009": 3, "up+2009": 30_000}) == {"upp+2009": "up+2009"}


def test_an_id_corrupted_twice_is_repaired_to_the_true_id() -> None:
    users = {"u pp+2009": 1, "upp+2009": 1, "up+2009": 500}
    assert find_repairs(users) == {"u pp+2009": "up+2009", "upp+2009": "up+2009"}
