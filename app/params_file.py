"""The form of `params.yaml`, of this commit and of earlier ones.

Programs read the file of another commit than their own: after `marquee restore`, and where a
scheduler is newer or older than the clone it works in.
"""

from pathlib import Path
from typing import Any

from app.text_files import TextError
from app.yaml_files import read_yaml

#: Format of the file; a file without a number has this one, or is of version 0.2.0.
PARAMS_FORMAT = 1
_FORMAT = "format"

#: Sections and keys by the names they had in version 0.2.0.
_OLD_SECTIONS = {"ratings": "svd", "events": "confidence", "neighbours": "transitions"}
_OLD_KEYS = {
    "lists": {"block": "block_size"},
    "recency": {"ease": "ease_share"},
    "blend": {"neighbours": "transitions", "newcomer": "cold_start"},
}
#: What version 0.2.0 took for a missing key.
_OLD_DEFAULTS: dict[str, Any] = {
    "seed": 0,
    "lists": {"depth": 50, "block_size": 64},
    "svd": {"factors": 50, "epochs": 30, "learning_rate": 0.01, "regularization": 0.1},
    "confidence": {"lowest_rating": 0.25, "full_minutes": 60},
    "als": {
        "factors": 64, "iterations": 10, "alpha": 2.0, "regularization": 0.15, "exponent": 1.0,
    },
    "ease": {"max_movies": 4000, "regularization": 150.0},
    "recency": {"half_life_events": 20.0, "ease_share": 0.2},
    "transitions": {"window": 8, "damping": 5.0},
    "popularity": {"half_life_days": "auto"},
    "blend": {
        "als": 1.0, "ease": 0.6, "transitions": 0.3, "popularity": 0.05, "cold_start": 6.0,
        "svd": 0.0,
    },
    "segments": {"min_users": 50, "age_bands": (18, 25, 35, 45, 55)},
}  # fmt: skip

#: The section that files of earlier commits lack, with the values it had at first.
_RECENT = {
    "related_movies": 64, "ease_share": 0.4, "max_movies": 16, "half_life_movies": 5,
    "half_life_hours": 0.5, "max_disliked": 0.25, "lowest_weight": 0.5, "full_minutes": 60,
    "list": 0.3, "list_few": 0.1, "popularity": 0.2, "popularity_few": 0.4,
}  # fmt: skip

#: Keys of sections that files of earlier commits lack, with the values that change nothing.
_LATER_KEYS: dict[str, dict[str, Any]] = {
    "lists": {"active_days": "all"},
    "svd": {"max_ratings": 2**62},
}

#: The section `fairness` likewise, with its limit in the section `gate`.
_FAIRNESS = {"min_users": 30, "resamples": 1000, "significance": 0.05}
_MAX_GROUP_REGRESSION = 0.1


def read_params_file(path: Path) -> Any:
    """Read the sections of a parameter file, with their present names and without its number.

    Raises:
        TextError: it is no YAML, or of another format.
        OSError: it cannot be read.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        return content
    number = content.pop(_FORMAT, None)
    if number is None:
        return _add_later(_convert_old(content) if _is_old(content) else content)
    if number != PARAMS_FORMAT:
        raise TextError(
            f"format {number!r}; this program reads format {PARAMS_FORMAT}: use the code of the "
            "commit that the file is from"
        )
    return _add_later(content)


def _add_later(content: dict[Any, Any]) -> dict[Any, Any]:
    content.setdefault("recent", _RECENT)
    content.setdefault("fairness", _FAIRNESS)
    if isinstance(gate := content.get("gate"), dict):
        gate.setdefault("max_group_regression", _MAX_GROUP_REGRESSION)
    for name, keys in _LATER_KEYS.items():
        if isinstance(section := content.get(name), dict):
            content[name] = {**keys, **section}
    return content


def _is_old(content: dict[Any, Any]) -> bool:
    """Whether a file without a number has a name that only version 0.2.0 knew."""
    return not content.keys().isdisjoint(_OLD_SECTIONS) or any(
        not _get_section(content, name).keys().isdisjoint(keys) for name, keys in _OLD_KEYS.items()
    )


def _get_section(content: dict[Any, Any], name: str) -> dict[Any, Any]:
    section = content.get(name)
    return section if isinstance(section, dict) else {}


def _convert_old(content: dict[Any, Any]) -> dict[Any, Any]:
    converted = _rename(content, _OLD_SECTIONS)
    for name, keys in _OLD_KEYS.items():
        if isinstance(converted.get(name), dict):
            converted[name] = _rename(converted[name], keys)
    for name, default in _OLD_DEFAULTS.items():
        if isinstance(default, dict):
            if isinstance(section := converted.get(name, {}), dict):
                converted[name] = {**default, **section}
        else:
            converted.setdefault(name, default)
    return converted


def _rename(values: dict[Any, Any], names: dict[str, str]) -> dict[Any, Any]:
    """The values under new names, except where there is a value of the new name already."""
    return {
        new if (new := names.get(name, name)) not in values else name: value
        for name, value in values.items()
    }
