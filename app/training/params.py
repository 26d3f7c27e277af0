"""The parameters of a model. `params.yaml` explains each one and holds every default."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML

from app.atomic_files import write_file
from app.model.recent_ranking import RecentParams
from app.params_file import read_params_file
from app.text_files import TextError, decode_text
from app.training.errors import TrainingError

#: Sections of the file that do not shape a model: limits of data and models (app/auto_deployment),
#: and of its report (app/fairness).
_LIMITS = ("checks", "gate", "fairness")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ListParams(_Section):
    """Computation of the recommendation lists."""

    depth: int = Field(ge=1, le=1000)
    active_days: Annotated[float, Field(gt=0)] | Literal["all"]
    block_size: int = Field(ge=1)


class SvdParams(_Section):
    """Surprise's SVD."""

    factors: int = Field(ge=1)
    epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    regularization: float = Field(ge=0)
    max_ratings: int = Field(ge=1)


class ConfidenceParams(_Section):
    """Confidence of a pair of user and movie, from 0 to 1."""

    lowest_rating: float = Field(ge=0, le=1)
    full_minutes: int = Field(ge=1)


class AlsParams(_Section):
    """Implicit-feedback alternating least squares."""

    factors: int = Field(ge=1)
    iterations: int = Field(ge=1)
    alpha: float = Field(gt=0)
    regularization: float = Field(gt=0)
    exponent: float = Field(ge=0, le=2)


class EaseParams(_Section):
    """Item-item weights between the most watched movies."""

    max_movies: int = Field(ge=1)
    regularization: float = Field(gt=0)


class RecencyParams(_Section):
    """Decay of a user's older events."""

    half_life_events: float = Field(gt=0)
    ease_share: float = Field(ge=0, le=1)


class TransitionParams(_Section):
    """Transitions between movies in the order of time."""

    window: int = Field(ge=1, le=100)
    damping: float = Field(gt=0)


class PopularityParams(_Section):
    """Popularity with exponential decay."""

    half_life_days: Annotated[float, Field(gt=0)] | Literal["auto"]


class BlendParams(_Section):
    """Weights of the standardised scores; a scorer of weight 0 is left out."""

    als: float = Field(ge=0)
    ease: float = Field(ge=0)
    transitions: float = Field(ge=0)
    popularity: float = Field(ge=0)
    cold_start: float = Field(ge=0)
    svd: float = Field(ge=0)


class SegmentParams(_Section):
    """Groups of users with popularity lists of their own."""

    min_users: int = Field(ge=1)
    age_bands: tuple[int, ...]


class Params(_Section):
    """All parameters of a model. None has a default here: `params.yaml` holds every value."""

    seed: int = Field(ge=0, lt=2**32)
    lists: ListParams
    svd: SvdParams
    confidence: ConfidenceParams
    als: AlsParams
    ease: EaseParams
    recency: RecencyParams
    transitions: TransitionParams
    popularity: PopularityParams
    blend: BlendParams
    recent: RecentParams
    segments: SegmentParams


def read_params(path: Path) -> Params:
    """Read and validate a parameter file, also one of version 0.2.0.

    Raises:
        TrainingError: the file is missing, is not YAML, is of another format, lacks a key, or has
            an unknown key or a value out of range; the message names the key.
    """
    content = _read(path)
    if isinstance(content, dict):
        content = {key: value for key, value in content.items() if key not in _LIMITS}
    try:
        return Params.model_validate({} if content is None else content)
    except ValidationError as error:
        raise TrainingError(f"{path}: {'; '.join(map(_describe, error.errors()))}") from error


def update_params_file(template: Path, target: Path, params: Params, names: Sequence[str]) -> None:
    """Write a copy of a parameter file with other values; comments and formatting stay.

    Args:
        template: parameter file to be copied.
        target: file to be written, by rename; may be `template`.
        params: the new values.
        names: dotted names of the parameters to be updated, as in `als.factors`.

    Raises:
        TrainingError: the template has other names, because it is of version 0.2.0.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    document = yaml.load(decode_text(template.read_bytes()))
    for name in names:
        section, key = name.split(".")
        if key not in document.get(section, {}):
            raise TrainingError(
                f"{template}: has no {name}: it is of version 0.2.0; begin with a later one"
            )
        if document[section][key] != (value := get_param(params, name)):
            document[section][key] = value
    text = io.StringIO()
    yaml.dump(document, text)
    write_file(target, text.getvalue().encode())


def get_param(params: Params, name: str) -> Any:
    """Return a parameter by its dotted name: a number, or `auto`."""
    section, key = name.split(".")
    return getattr(getattr(params, section), key)


def replace_params(params: Params, values: Mapping[str, float]) -> Params:
    """Return the parameters with other values by dotted name, validated.

    Raises:
        ValidationError: a value is out of range.
    """
    document = params.model_dump()
    for name, value in values.items():
        section, key = name.split(".")
        document[section][key] = value
    return Params.model_validate(document)


def _read(path: Path) -> Any:
    try:
        return read_params_file(path)
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read: {error.strerror}") from error
    except TextError as error:
        raise TrainingError(f"{path}: {error}") from error


def _describe(item: Any) -> str:
    name = ".".join(map(str, item["loc"])) or "content"
    match item["type"]:
        case "extra_forbidden":
            return f"unknown key {name}"
        case "missing":
            return f"no value for {name}"
    return f"{name}: {item['msg']}"
