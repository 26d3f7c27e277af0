"""What data and models are judged by: the sections `checks` and `gate` of `params.yaml`."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.auto_deployment.errors import DeploymentError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


_Kind = TypeVar("_Kind", bound=_Section)


class Checks(_Section):
    """When data is refused; `params.yaml` explains each."""

    damaged: float = Field(0.02, ge=0, le=1)
    without_time: float = Field(0.5, ge=0, le=1)
    ratings_psi: float = Field(0.25, gt=0)
    popularity_psi: float = Field(0.5, gt=0)
    psi_events: int = Field(500, ge=1)
    fewest: float = Field(0.1, ge=0, lt=1)
    most: float = Field(10.0, gt=1)
    spans: int = Field(5, ge=1)


class Gate(_Section):
    """When a model becomes no version."""

    rmse: float = Field(1.0, gt=0)
    ndcg: float = Field(0.02, ge=0, le=1)
    coverage: float = Field(0.002, ge=0, le=1)
    worse: float = Field(0.05, ge=0)
    compared_events: int = Field(500, ge=1)


def read_checks(path: Path) -> Checks:
    """The section `checks`.

    Raises:
        DeploymentError: the file cannot be read, or the section holds what it must not.
    """
    return _section(path, "checks", Checks)


def read_gate(path: Path) -> Gate:
    """The section `gate`; raises as `read_checks`."""
    return _section(path, "gate", Gate)


def _section(path: Path, name: str, kind: type[_Kind]) -> _Kind:
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return kind.model_validate(content.get(name) or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError) as error:
        raise DeploymentError(f"{path}: cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, (name, *first["loc"])))
        raise DeploymentError(f"{path}: {where}: {first['msg']}") from error
