"""The page of a version that explains, in plain words, what its ranking goes by."""

from collections.abc import Iterator
from typing import Any

from app.model.manifest import Manifest

#: Numbers of watched movies for which the weights are shown.
_EXAMPLES = (1, 5, 20, 100)
_PARTS = {
    "als": "what users with a similar history watch",
    "ease": "which movies go with all that you have watched",
    "transitions": "what others watch soon after the movies you watched last",
    "popularity": "what many users watch at present",
    "svd": "the rating that you would give by your ratings so far",
}


def compute_shares(blend: dict[str, float], watched: int) -> dict[str, float]:
    """Return the share of each part in the weights of a user's list, largest first.

    The scores of all parts are brought to the same scale for each user before they are weighted.

    Args:
        blend: the section `blend` of the parameters.
        watched: movies that the user has watched or rated.
    """
    if watched == 0:
        return {"popularity": 1.0}
    weights = {name: float(blend[name]) for name in _PARTS}
    weights["popularity"] += blend["cold_start"] / watched
    total = sum(weights.values())
    shares = {name: weight / total for name, weight in weights.items() if weight > 0}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def write_ranking_page(manifest: Manifest) -> str:
    """Return the page of a model, from the parameters in its manifest."""
    return "\n".join(_write(manifest)) + "\n"


def _write(manifest: Manifest) -> Iterator[str]:
    blend, recent = manifest.parameters["blend"], manifest.parameters.get("recent")
    half_life = manifest.parameters["popularity"]["half_life_days"]
    yield f"# How version {manifest.version} ranks movies"
    yield ""
    yield (
        "Each user has a list of movies, the best one first. Movies that the user has watched or "
        "rated are left out. The order goes by these parts; the percentages are their weights, "
        "which depend on how many movies a user has watched or rated:"
    )
    yield ""
    yield "| the order goes by | " + " | ".join(f"{n} watched" for n in _EXAMPLES) + " |"
    yield "|---" * (len(_EXAMPLES) + 1) + "|"
    shares = [compute_shares(blend, watched) for watched in _EXAMPLES]
    for name in sorted(shares[-1], key=lambda part: -shares[-1][part]):
        cells = " | ".join(f"{share.get(name, 0):.0%}" for share in shares)
        yield f"| {_PARTS[name]} | {cells} |"
    yield ""
    yield (
        "- **Without watched or rated movies**: what many users watch at present alone, where "
        "known among users of the same gender and age band."
    )
    if isinstance(half_life, int | float):
        yield f"- **At present**: an event counts half as much for each {half_life:g} days of age."
    yield from _write_recency(manifest.parameters, recent)
    yield (
        "- **Ratings and minutes**: a movie that was rated low or watched for a short time counts "
        "less. A movie that was never watched or rated cannot be recommended."
    )
    yield (
        "- **Not used**: name, occupation, place, device, and who pays. Gender and age are used "
        "only in the way above."
    )
    yield (
        "- **Without a profile**: `GET /recommend/<user_id>?profiling=false` returns the movies "
        "that many users watch at present, the same for all, whatever is known of the user. The "
        "operator can also name users who always get these (`MARQUEE_UNPROFILED_USERS`)."
    )


def _write_recency(parameters: dict[str, Any], recent: dict[str, Any] | None) -> Iterator[str]:
    half_life = parameters["recency"]["half_life_events"]
    yield (
        "- **Order of time**: what you watched last counts more; the weight of a movie halves for "
        f"every {half_life:g} that you watched after it (for "
        f"{_PARTS['ease']}, {parameters['recency']['ease_share']:.0%} of the weight)."
    )
    if recent is not None:
        yield (
            f"- **Since the last training**: up to {recent['max_movies']} movies that you watched "
            "since then change the list at once. The weight of such a movie halves for every "
            f"{recent['half_life_movies']:g} later ones, and is divided by 1 + hours / "
            f"{recent['half_life_hours']:g}."
        )
