"""YAML from people's files, such as `params.yaml`."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from app.text_files import TextError, decode_text, explain_number


def read_yaml(path: Path) -> Any:
    """Read plain values (no tags) from a YAML file.

    Raises:
        TextError: it is no YAML, is nested too deeply, or contains an oversized number.
        OSError: it cannot be read.
    """
    return parse_yaml(path.read_bytes())


def parse_yaml(data: bytes) -> Any:
    """Parse plain values (no tags).

    Raises:
        TextError: it is no YAML, is nested too deeply, or contains an oversized number.
    """
    text = decode_text(data)
    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise TextError(f"{line}not YAML: {error.problem}") from error
    except YAMLError as error:
        raise TextError(f"not YAML: {error}") from error
    except RecursionError as error:
        raise TextError("not YAML: nested too deeply") from error
    except ValueError as error:
        raise explain_number(text, error) from error
