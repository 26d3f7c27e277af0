"""The metadata of a movie, with the 24 keys of the real API."""

import math
from typing import Any

from app.simulator.environment import Environment
from app.simulator.movies import DAY_SECONDS
from app.simulator.rng import Purpose, make_rng

#: Genres by latent factor, for movies with a positive and a negative value of it.
_POSITIVE_GENRES = ("Drama", "Comedy", "Action", "Romance", "Science Fiction", "Documentary")
_NEGATIVE_GENRES = ("Horror", "Thriller", "Western", "Mystery", "Family", "War")
_LANGUAGES = (("en", "English"), ("fr", "Français"), ("hi", "हिन्दी"), ("ja", "日本語"))
_COLLECTION_SHARE, _ENGLISH_SHARE = 0.1, 0.7


def movie_metadata(environment: Environment, movie: int) -> dict[str, Any]:
    """Return the metadata of one movie, by its index; the same at every call."""
    rng = make_rng(environment.settings.seed, Purpose.MOVIE_METADATA, movie)
    movies = environment.movies
    movie_id, quality, runtime = movies.ids[movie], movies.quality[movie], movies.runtimes[movie]
    popularity = math.exp(movies.log_popularity[movie])
    name, _, year = movie_id.rpartition("+")
    title = name.replace("+", " ").replace("_", ",").title()
    tmdb_id = 100_000 + movie
    is_english = rng.random() < _ENGLISH_SHARE
    language = _LANGUAGES[0 if is_english else int(rng.integers(len(_LANGUAGES)))]
    released = f"{year}-{rng.integers(1, 13):02d}-{rng.integers(1, 29):02d}"
    if movies.release_times[movie] > 0:
        midnight = movies.release_times[movie] // DAY_SECONDS * DAY_SECONDS
        released = f"{environment.datetime_at(midnight):%Y-%m-%d}"
    collection = {"id": tmdb_id * 10, "name": f"{title} Collection"}
    votes = math.ceil(20_000 * popularity)
    return {
        "adult": "False",
        "belongs_to_collection": collection if rng.random() < _COLLECTION_SHARE else {},
        "budget": str(int(rng.integers(1, 200)) * 500_000),
        "genres": _genres(movies.factors[movie].tolist()),
        "homepage": None,
        "id": movie_id,
        "imdb_id": f"tt{tmdb_id:07d}",
        "original_language": language[0],
        "original_title": title,
        "overview": f"{title}, {runtime} minutes.",
        "popularity": f"{100 * popularity:.6f}",
        "poster_path": None,
        "production_companies": [{"id": 1, "name": "Marquee"}],
        "production_countries": [{"iso_3166_1": "CA", "name": "Canada"}],
        "release_date": released,
        "revenue": str(votes * 1000),
        "runtime": int(runtime),
        "spoken_languages": [{"iso_639_1": language[0], "name": language[1]}],
        "status": "Released",
        "tagline": None,
        "title": title,
        "tmdb_id": tmdb_id,
        "vote_average": f"{min(10, max(0, 6 + 2 * quality)):.1f}",
        "vote_count": str(votes),
    }


def _genres(factors: list[float]) -> list[dict[str, Any]]:
    """Return a genre for each of the two factors with the largest absolute values."""
    largest = sorted(range(len(factors)), key=lambda factor: -abs(factors[factor]))[:2]
    return [
        {
            "id": factor + 1 + len(factors) * (factors[factor] < 0),
            "name": _genre_name(factor, factors[factor]),
        }
        for factor in largest
    ]


def _genre_name(factor: int, value: float) -> str:
    names = _POSITIVE_GENRES if value >= 0 else _NEGATIVE_GENRES
    return names[factor % len(names)]
