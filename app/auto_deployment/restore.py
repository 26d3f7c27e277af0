"""Bring data and model of a version back into a working tree, and prove that they are the same."""

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from app import logs
from app.auto_deployment import version_commits
from app.auto_deployment.errors import DeploymentError
from app.auto_deployment.git_dvc import Tree
from app.model.manifest import ArtifactError
from app.model.verify import verify_model

_DIRECTORY = ".dir"

_log = logs.get(__name__)


def restore(tree: Tree, number: int | None = None) -> dict[str, Any]:
    """Bring back version `number`, or that of the working tree; what is there now.

    `version.txt`, `dvc.lock` and what else belongs to a version become those of its commit, in the
    working tree and not in the index: `git restore .` and `marquee restore` lead back.

    Raises:
        DeploymentError: no such version, files that would be lost, a remote that is away or
            lacks something, or content that is not what the version's commit names.
    """
    number = version_commits.current(tree) if number is None else number
    if number != version_commits.current(tree) or not (tree.path / version_commits.LOCK).exists():
        _switch(tree, number)
    hashes = tracked_hashes(tree)
    targets = [str(path) for path in hashes]
    try:
        tree.dvc("checkout", "--force", *targets)
        damaged = _damaged(tree, hashes)
    except DeploymentError:
        damaged = []  # not all of it is here
        _pull(tree, targets)
        damaged = _damaged(tree, hashes)
    if damaged:
        _log.warning("the cache holds damaged files; asking the remote", files=len(damaged))
        _forget(tree, hashes, damaged)
        _pull(tree, targets)
        if damaged := _damaged(tree, hashes):
            raise DeploymentError(f"{damaged[0]}: its hash is not that of version {number}")
    try:
        manifest = verify_model(tree.path / version_commits.MODEL)["lists"]
    except ArtifactError as error:
        raise DeploymentError(str(error)) from error
    if manifest.version != number:
        raise DeploymentError(f"model/ says that it is version {manifest.version}, not {number}")
    return {
        "version": number,
        "model_hash": manifest.model_hash,
        "data_hash": manifest.data.get("sha256"),
        "restored": targets,
    }


def tracked_hashes(tree: Tree) -> dict[Path, str]:
    """Data and model of the working tree's version: where they lie, and DVC's hash of each.

    Raises:
        DeploymentError: the files that say so are missing or damaged.
    """
    try:
        lock = yaml.safe_load((tree.path / version_commits.LOCK).read_text(encoding="utf-8"))
        pointer = tree.path / f"{version_commits.COLLECTED}.dvc"
        data = yaml.safe_load(pointer.read_text(encoding="utf-8"))
        (model,) = (
            out
            for stage in lock["stages"].values()
            for out in stage.get("outs", [])
            if out["path"] == str(version_commits.MODEL)
        )
        return {
            version_commits.COLLECTED: data["outs"][0]["md5"],
            version_commits.MODEL: model["md5"],
        }
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError) as error:
        raise DeploymentError(
            f"dvc.lock and data/collected.dvc tell no version: {error}"
        ) from error


def _switch(tree: Tree, number: int) -> None:
    """Make the files that describe a version those of its commit."""
    commit = version_commits.commit_of(tree, number, "HEAD") or version_commits.commit_of(
        tree, number
    )
    if commit is None:
        raise DeploymentError(f"no commit here makes version {number} (is the clone whole?)")
    held = tree.git(
        "ls-tree", "-r", "--name-only", commit, "--", *version_commits.TRACKED
    ).splitlines()
    for name in held:
        if (tree.path / name).exists() and not _known_to_git(tree, name):
            raise DeploymentError(f"{name} has changes that git does not hold; commit them first")
    tree.git("restore", f"--source={commit}", "--worktree", "--", *held)


def _pull(tree: Tree, targets: list[str]) -> None:
    try:
        tree.dvc("pull", "--force", *targets)
    except DeploymentError as error:
        where = tree.dvc("remote", "list").strip()
        raise DeploymentError(
            f"the remote ({where}) is away, lacks files or holds damaged ones: {error}"
        ) from error


def _known_to_git(tree: Tree, name: str) -> bool:
    return tree.git_tells("cat-file", "-e", tree.git("hash-object", "--", name))


def _damaged(tree: Tree, hashes: dict[Path, str]) -> list[Path]:
    """Files that are missing, superfluous, or whose content has another hash than DVC noted."""
    found = []
    for path, digest in hashes.items():
        listing = _cached(tree, digest)
        if not listing.exists() or _md5(listing) != digest.removesuffix(_DIRECTORY):
            found.append(path)
            continue
        entries = {e["relpath"]: e["md5"] for e in json.loads(listing.read_bytes())}
        root = tree.path / path
        there = {str(f.relative_to(root)) for f in root.rglob("*") if f.is_file()}
        wrong = [name for name in entries.keys() & there if _md5(root / name) != entries[name]]
        found += [path / name for name in sorted({*wrong, *(entries.keys() ^ there)})]
    return found


def _forget(tree: Tree, hashes: dict[Path, str], damaged: list[Path]) -> None:
    """Remove what is damaged here and in the cache, so that it is fetched again."""
    for path in damaged:
        if (tree.path / path).is_file():
            (tree.path / path).unlink()
    for digest in hashes.values():
        listing = _cached(tree, digest)
        names = [digest]
        if listing.exists() and _md5(listing) == digest.removesuffix(_DIRECTORY):
            names += [entry["md5"] for entry in json.loads(listing.read_bytes())]
        for name in names:
            path = _cached(tree, name)
            if path.exists() and _md5(path) != name.removesuffix(_DIRECTORY):
                path.unlink()


def _cached(tree: Tree, digest: str) -> Path:
    return tree.path / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]


def _md5(path: Path) -> str:
    with path.open("rb") as file:  # DVC's own name for content; nothing rests on it being secret
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
