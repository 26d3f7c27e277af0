"""Parameters of models for tests: those of `params.yaml`, with some of them replaced."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from app.training.params import Params, read_params
from tests.conftest import ROOT


def make_params(**sections: dict[str, Any]) -> Params:
    """Return the parameters of `params.yaml` with other values, as in `als={"factors": 8}`."""
    document = read_params(ROOT / "params.yaml").model_dump()
    for name, values in sections.items():
        document[name] |= values
    return Params.model_validate(document)


def write_params(path: Path, **sections: dict[str, Any]) -> Path:
    """Write these parameters to a file; return its path."""
    YAML().dump(make_params(**sections).model_dump(mode="json"), path)
    return path
