"""What the information API tells of a movie: 24 keys, as the real one has them."""

import math
from typing import Any

from app.simulator.environment import World
from app.simulator.movies import DAY
from app.simulator.rng import Purpose, chance

_LIKED = ("Drama", "Comedy", "Action", "Romance", "Science Fiction", "Documentary")
_DISLIKED = ("Horror", "Thriller", "Western", "Mystery", "Family", "War")
_LANGUAGES = (("en", "English"), ("fr", "Français"), ("hi", "हिन्दी"), ("ja", "日本語"))
_COLLECTION_SHARE, _IN_ENGLISH = 0.1, 0.7


def describe(world: World, number: int) -> dict[str, Any]:
    """One movie, by its number; the same each time."""
    own = chance(world.settings.seed, Purpose.DESCRIPTION, number)
    movies = world.movies
    movie_id, quality, fame = movies.ids[number], movies.quality[number], movies.fame[number]
    name, _, year = movie_id.rpartition("+")
    title = name.replace("+", " ").replace("_", ",").title()
    tmdb = 100_000 + number
    language = _LANGUAGES[0 if own.random() < _IN_ENGLISH else int(own.integers(len(_LANGUAGES)))]
    released = f"{year}-{own.integers(1, 13):02d}-{own.integers(1, 29):02d}"
    if movies.released[number] > 0:
        released = f"{world.moment(movies.released[number] // DAY * DAY):%Y-%m-%d}"
    collection = {"id": tmdb * 10, "name": f"{title} Collection"}
    votes = math.ceil(20_000 * math.exp(fame))
    return {
        "adult": "False",
        "belongs_to_collection": collection if own.random() < _COLLECTION_SHARE else {},
        "budget": str(int(own.integers(1, 200)) * 500_000),
        "genres": _genres(movies.tastes[number].tolist()),
        "homepage": None,
        "id": movie_id,
        "imdb_id": f"tt{tmdb:07d}",
        "original_language": language[0],
        "original_title": title,
        "overview": f"{title}, {movies.lengths[number]} minutes.",
        "popularity": f"{100 * math.exp(fame):.6f}",
        "poster_path": None,
        "production_companies": [{"id": 1, "name": "Marquee"}],
        "production_countries": [{"iso_3166_1": "CA", "name": "Canada"}],
        "release_date": released,
        "revenue": str(votes * 1000),
        "runtime": int(movies.lengths[number]),
        "spoken_languages": [{"iso_639_1": language[0], "name": language[1]}],
        "status": "Released",
        "tagline": None,
        "title": title,
        "tmdb_id": tmdb,
        "vote_average": f"{min(10, max(0, 6 + 2 * quality)):.1f}",
        "vote_count": str(votes),
    }


def _genres(tastes: list[float]) -> list[dict[str, Any]]:
    """The two directions in which a movie differs most from others."""
    most = sorted(range(len(tastes)), key=lambda at: -abs(tastes[at]))[:2]
    return [
        {"id": at + 1 + len(tastes) * (tastes[at] < 0), "name": _name(at, tastes[at])}
        for at in most
    ]


def _name(at: int, taste: float) -> str:
    names = _LIKED if taste >= 0 else _DISLIKED
    return names[at % len(names)]
