"""The code, libraries and evaluation of a model, for its manifest."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import app
from app import logs
from app.text_files import TextError, decode_text, parse_json
from app.training.errors import TrainingError

_LIBRARIES = ("numpy", "scipy", "polars", "scikit-surprise")
#: Paths that a model depends on; other modified files do not make it `dirty`.
_CODE = ("app", "params.yaml", "requirements")
_MAX_VERSION_DIGITS = 9
_log = logs.get(__name__)


def describe_code() -> dict[str, Any]:
    """Return the Git commit (None outside a repository), whether files differ, and versions."""
    root = Path(app.__file__).resolve().parent.parent
    commit = _git(root, "rev-parse", "HEAD")
    status = _git(root, "status", "--porcelain", "--untracked-files=no", "--", *_CODE)
    return {
        "commit": commit,
        "dirty": bool(status) if commit and status is not None else None,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _LIBRARIES},
    }


def read_version(path: Path) -> int:
    """Read the version number in `path`; 0 when there is no such file.

    Raises:
        TrainingError: the file is not one whole number.
    """
    try:
        text = decode_text(path.read_bytes()).strip()
    except FileNotFoundError:
        _log.info("no version file, so this is version 0", path=str(path))
        return 0
    except (OSError, TextError) as error:
        raise TrainingError(f"{path}: cannot be read: {error}") from error
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_VERSION_DIGITS):
        raise TrainingError(f"{path}: not a version number: {text[:40]!r}")
    return int(text)


def read_evaluation(path: Path) -> dict[str, Any]:
    """Read the output of `marquee evaluate --json`.

    Raises:
        TrainingError: the file is missing or is not an evaluation.
    """
    try:
        metrics = parse_json(path.read_bytes())
    except (OSError, TextError) as error:
        raise TrainingError(f"{path}: not an evaluation: {error}") from error
    if not isinstance(metrics, dict) or "ndcg" not in metrics:
        raise TrainingError(f"{path}: not an evaluation")
    return metrics


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(root), *arguments],  # noqa: S607 - the git of this environment
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
