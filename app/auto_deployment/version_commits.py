"""Versions: their numbers, their commits, and what of them lies where."""

import re
from pathlib import Path

from app.auto_deployment.errors import DeploymentError
from app.auto_deployment.git_dvc import Tree

#: What a commit of a new version changes, besides what DVC keeps.
TRACKED = (
    "version.txt",
    "params.yaml",
    "dvc.yaml",
    "dvc.lock",
    "data/collected.dvc",
    "data/window.json",
    "reports",
)
VERSION = Path("version.txt")
LOCK = Path("dvc.lock")
MODEL = Path("model")
COLLECTED = Path("data/collected")
_SUBJECT = re.compile(r"Data and Model version update: \[(\d+)\]")


def subject(number: int) -> str:
    """The subject of the commit that makes a version."""
    return f"Data and Model version update: [{number}]"


def number_in(text: str) -> int | None:
    """The version number in a commit's subject; None where it makes no version."""
    found = _SUBJECT.fullmatch(text)
    return int(found[1]) if found else None


def current(tree: Tree) -> int:
    """The version number of a working tree.

    Raises:
        DeploymentError: `version.txt` is missing or holds something else.
    """
    path = tree.path / VERSION
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DeploymentError(f"{path}: cannot be read: {error}") from error
    if not (text.isascii() and text.isdigit()):
        raise DeploymentError(f"{path}: not a version number: {text[:40]!r}")
    return int(text)


def commit_of(tree: Tree, number: int, *revisions: str) -> str | None:
    """The newest commit that makes a version; None where the history knows none.

    Args:
        tree: whose history.
        number: of the version.
        revisions: where to look; everywhere unless given.
    """
    pattern = f"^Data and Model version update: \\[{number}\\]$"
    found = tree.git("log", "-1", "--format=%H", f"--grep={pattern}", *(revisions or ["--all"]))
    return found or None
