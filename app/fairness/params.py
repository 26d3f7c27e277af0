"""The section `fairness` of `params.yaml`."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.fairness.errors import FairnessError
from app.params_file import read_params_file
from app.text_files import TextError


class FairnessParams(BaseModel):
    """How groups are compared. `params.yaml` explains each value."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    #: The law of small numbers and the privacy of few: never less than 30.
    min_users: int = Field(ge=30)
    #: Of the bootstrap, and permutations for the correction.
    resamples: int = Field(ge=100, le=100_000)
    significance: float = Field(gt=0, lt=0.5)


def read_fairness_params(params: Path) -> tuple[FairnessParams, tuple[int, ...], int]:
    """Read the section, the age bands of the section `segments`, and the seed.

    Raises:
        FairnessError: the file cannot be read, or a key is missing, unknown or out of range.
    """
    try:
        content: Any = read_params_file(params)
        section = FairnessParams.model_validate(content["fairness"])
        return section, tuple(content["segments"]["age_bands"]), int(content["seed"])
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, ("fairness", *first["loc"])))
        raise FairnessError(f"{params}: {key}: {first['msg']}") from error
    except (OSError, TextError, KeyError, TypeError, ValueError) as error:
        raise FairnessError(f"{params}: cannot be read: {error}") from error


def read_max_regression(params: Path) -> float:
    """Read `gate.max_group_regression`: how much worse a group's nDCG may be, relative.

    Raises:
        FairnessError: the file cannot be read or lacks the key.
    """
    try:
        content: Any = read_params_file(params)
        return float(content["gate"]["max_group_regression"])
    except (OSError, TextError, KeyError, TypeError, ValueError) as error:
        raise FairnessError(f"{params}: gate.max_group_regression: {error}") from error
