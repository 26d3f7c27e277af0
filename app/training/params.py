"""The parameters that shape a model, read from `params.yaml`. Their comments are there."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.training.errors import TrainingError

#: Sections of the file that judge data and models, and shape none (app/auto_deployment).
THRESHOLDS = ("checks", "gate")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ListParams(_Section):
    """How the lists are made."""

    depth: int = Field(50, ge=1, le=1000)
    block: int = Field(64, ge=1)


class RatingParams(_Section):
    """Surprise's SVD."""

    factors: int = Field(50, ge=1)
    epochs: int = Field(30, ge=1)
    learning_rate: float = Field(0.01, gt=0)
    regularization: float = Field(0.1, ge=0)


class EventParams(_Section):
    """How much one event counts for the ranking, between 0 and 1."""

    lowest_rating: float = Field(0.25, ge=0, le=1)
    full_minutes: int = Field(60, ge=1)


class AlsParams(_Section):
    """Implicit-feedback alternating least squares."""

    factors: int = Field(64, ge=1)
    iterations: int = Field(10, ge=1)
    alpha: float = Field(2.0, gt=0)
    regularization: float = Field(0.15, gt=0)
    exponent: float = Field(1.0, ge=0, le=2)


class EaseParams(_Section):
    """Item-item weights between the most watched movies."""

    max_movies: int = Field(4000, ge=1)
    regularization: float = Field(150.0, gt=0)


class RecencyParams(_Section):
    """How what a user watched last comes before the rest."""

    half_life_events: float = Field(20.0, gt=0)
    ease: float = Field(0.2, ge=0, le=1)


class NeighbourParams(_Section):
    """Movies watched soon after each other."""

    window: int = Field(8, ge=1, le=100)
    damping: float = Field(5.0, gt=0)


class PopularityParams(_Section):
    """Popularity in time."""

    half_life_days: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"


class BlendParams(_Section):
    """Weights of the standardised scores; a weight of 0 leaves a scorer out."""

    als: float = Field(1.0, ge=0)
    ease: float = Field(0.6, ge=0)
    neighbours: float = Field(0.3, ge=0)
    popularity: float = Field(0.05, ge=0)
    newcomer: float = Field(6.0, ge=0)
    svd: float = Field(0.0, ge=0)


class SegmentParams(_Section):
    """Groups of users with popular lists of their own."""

    min_users: int = Field(50, ge=1)
    age_bands: tuple[int, ...] = (18, 25, 35, 45, 55)


class Params(_Section):
    """Everything in `params.yaml`."""

    seed: int = Field(0, ge=0, lt=2**32)
    lists: ListParams = ListParams()
    ratings: RatingParams = RatingParams()
    events: EventParams = EventParams()
    als: AlsParams = AlsParams()
    ease: EaseParams = EaseParams()
    recency: RecencyParams = RecencyParams()
    neighbours: NeighbourParams = NeighbourParams()
    popularity: PopularityParams = PopularityParams()
    blend: BlendParams = BlendParams()
    segments: SegmentParams = SegmentParams()


def read_params(path: Path) -> Params:
    """Read and check a parameter file.

    Raises:
        TrainingError: no such file, not YAML, an unknown key or a value out of range; the
            message names the key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TrainingError(f"{path}: not YAML: {error}") from error
    return parse_params(text, path)


def parse_params(text: str, path: Path) -> Params:
    """Check the content of a parameter file; `path` is for the messages of `read_params`."""
    try:
        content: Any = yaml.safe_load(text)
        if isinstance(content, dict):
            content = {key: value for key, value in content.items() if key not in THRESHOLDS}
        return Params.model_validate({} if content is None else content)
    except yaml.YAMLError as error:
        raise TrainingError(f"{path}: not YAML: {error}") from error
    except ValidationError as error:
        raise TrainingError(f"{path}: {'; '.join(map(_explain, error.errors()))}") from error


def _explain(item: Any) -> str:
    if item["type"] == "extra_forbidden":
        return f"unknown key {'.'.join(map(str, item['loc']))}"
    return f"{'.'.join(map(str, item['loc'])) or 'content'}: {item['msg']}"
