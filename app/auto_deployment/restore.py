"""Restore data and model of a version into a working tree, with every file's hash checked."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from app import logs
from app.auto_deployment.errors import DeploymentError, ToolError
from app.auto_deployment.git_dvc import WorkingTree
from app.auto_deployment.version_commits import (
    COLLECTED,
    LOCK_FILE,
    MODEL,
    VERSION_FILE,
    VERSION_FILES,
    find_commit,
    read_version,
)
from app.model.manifest import ArtifactError
from app.model.verify import verify_model
from app.text_files import TextError
from app.yaml_files import parse_yaml

#: What DVC appends to the MD5 of a directory's listing.
_DIRECTORY_SUFFIX = ".dir"
_DIRECTORY_MD5 = re.compile(r"[0-9a-f]{32}\.dir")
_DATA_FILE = Path(f"{COLLECTED}.dvc")

_log = logs.get(__name__)


def restore_version(tree: WorkingTree, version: int | None = None) -> dict[str, Any]:
    """Restore a version, by default that of the working tree, and describe it.

    `version.txt`, `dvc.lock` and the version's other files become those of its commit, in the
    working tree and not in the index: `git restore .` and `marquee restore` undo it.

    Returns:
        `version`, `model_hash`, `data_hash`, and the `restored` paths.

    Raises:
        DeploymentError: the version has no tag, local changes would be lost, the remote cannot be
            reached or lacks files, or the files do not match the version's hashes.
    """
    version = read_version(tree) if version is None else version
    if version != read_version(tree) or not (tree.path / LOCK_FILE).exists():
        _restore_version_files(tree, version)
    hashes = read_dvc_hashes(tree)
    _check_hashes(tree, version, hashes)
    paths = [str(path) for path in hashes]
    cache = Path(tree.dvc("cache", "dir").strip())
    try:
        tree.dvc("checkout", "--force", *paths)
    except DeploymentError:  # the cache lacks files
        _pull(tree, paths)
    if damaged := _find_damaged(tree, cache, hashes):
        _log.warning("the cache holds damaged files; fetching them again", files=len(damaged))
        _remove_damaged(tree, cache, hashes, damaged)
        _pull(tree, paths)
        if damaged := _find_damaged(tree, cache, hashes):
            raise DeploymentError(f"{damaged[0]}: its hash is not that of version {version}")
    if any(file.is_symlink() for path in hashes for file in (tree.path / path).rglob("*")):
        # With cache.type symlink. The files of a model are regular ones: a link out of the clone
        # does not reach an image, and its target disappears when the cache is emptied.
        tree.dvc("unprotect", *paths)
    try:
        manifest = verify_model(tree.path / MODEL)["lists"]
    except ArtifactError as error:
        raise DeploymentError(str(error)) from error
    if manifest.version != version:
        raise DeploymentError(f"model/ is of version {manifest.version}, not {version}")
    return {
        "version": version,
        "model_hash": manifest.model_hash,
        "data_hash": manifest.data.get("data_hash"),
        "restored": paths,
    }


def read_dvc_hashes(tree: WorkingTree, revision: str | None = None) -> dict[Path, str]:
    """Return DVC's MD5 of the data and the model of a version, by path.

    Args:
        tree: the clone.
        revision: the version's commit; None: the working tree.

    Raises:
        DeploymentError: `dvc.lock` or `data/collected.dvc` is missing or invalid.
    """
    model = _read_md5(tree, revision, LOCK_FILE, str(MODEL))
    return {COLLECTED: _read_md5(tree, revision, _DATA_FILE, COLLECTED.name), MODEL: model}


def _read_md5(tree: WorkingTree, revision: str | None, file: Path, name: str) -> str:
    """Return the MD5 of the output `name` that a file of DVC names."""
    try:
        content = parse_yaml(
            (tree.path / file).read_bytes()
            if revision is None
            else tree.git("show", f"{revision}:{file}").encode()
        )
    except OSError as error:
        raise DeploymentError(f"{tree.path / file}: cannot be read: {error.strerror}") from error
    except TextError as error:
        raise DeploymentError(_explain_change(tree, file, str(error))) from error
    found = [out["md5"] for out in _find_outputs(content) if out.get("path") == name]
    if len(found) != 1:
        reason = f"{len(found) or 'no'} outputs {name!r} in it"
        raise DeploymentError(_explain_change(tree, file, reason))
    if not _DIRECTORY_MD5.fullmatch(str(found[0])):
        reason = f"{str(found[0])[:40]!r} is no hash of the directory {name}"
        raise DeploymentError(_explain_change(tree, file, reason))
    return str(found[0])


def _find_outputs(content: Any) -> list[dict[str, Any]]:
    """Return the outputs with a hash in a file of DVC, whatever else it contains."""
    sections = [content]
    if isinstance(content, dict) and isinstance(content.get("stages"), dict):
        sections += content["stages"].values()
    outputs = [section.get("outs") for section in sections if isinstance(section, dict)]
    entries = [entry for found in outputs if isinstance(found, list) for entry in found]
    return [entry for entry in entries if isinstance(entry, dict) and "md5" in entry]


def _explain_change(tree: WorkingTree, file: Path, reason: str) -> str:
    """Return the message about a file of a version that was changed by hand."""
    return (
        f"{tree.path / file} does not describe a version ({reason}); to undo a change of it: "
        f"git restore --source=version-N {file}"
    )


def _check_hashes(tree: WorkingTree, version: int, hashes: dict[Path, str]) -> None:
    """Check that the files of DVC are those of the version's commit, where it has a tag.

    Raises:
        DeploymentError: they, or `version.txt`, were changed.
    """
    commit = find_commit(tree, version)
    if commit is not None and hashes != read_dvc_hashes(tree, commit):
        files = f"{VERSION_FILE} {LOCK_FILE} {_DATA_FILE}"
        raise DeploymentError(
            f"{LOCK_FILE} and {_DATA_FILE} are not those of version {version}: they or "
            f"{VERSION_FILE} were changed; to undo it: "
            f"git restore --source=version-{version} {files}"
        )


def _restore_version_files(tree: WorkingTree, version: int) -> None:
    """Make the files in git that describe a version those of its commit."""
    commit = find_commit(tree, version)
    if commit is None:
        raise DeploymentError(f"there is no tag version-{version} in this clone (git fetch --tags)")
    names = tree.git("ls-tree", "-r", "--name-only", commit, "--", *VERSION_FILES).splitlines()
    for name in names:
        if (tree.path / name).exists() and not _is_in_git(tree, name):
            raise DeploymentError(f"{name} has changes that are not in git; commit them first")
    tree.git("restore", f"--source={commit}", "--worktree", "--", *names)


def _is_in_git(tree: WorkingTree, name: str) -> bool:
    """Whether the file's content is in git's object store."""
    return tree.git_succeeds("cat-file", "-e", tree.git("hash-object", "--", name))


def _pull(tree: WorkingTree, paths: list[str]) -> None:
    try:
        tree.dvc("pull", "--force", *paths)
    except DeploymentError as error:
        remote = " ".join(tree.dvc("remote", "list").split())
        raise DeploymentError(
            f"the remote ({remote}) cannot be reached, lacks files or holds damaged ones"
            f"{_describe_cache_settings(tree)}: {error}"
        ) from error


def _describe_cache_settings(tree: WorkingTree) -> str:
    """Name the settings of DVC's cache that may be the cause of a failure; empty without any."""
    causes = []
    if directory := _read_dvc_setting(tree, "cache.dir"):
        causes.append(f", or the cache cannot be written (DVC's cache.dir is {directory})")
    link_types = _read_dvc_setting(tree, "cache.type")
    if link_types and "copy" not in link_types:
        causes.append(
            f", or the file system has no links of that kind (DVC's cache.type is {link_types}; "
            "without links: dvc config --local cache.type copy)"
        )
    return "".join(causes)


def _read_dvc_setting(tree: WorkingTree, name: str) -> str:
    """Return a setting of DVC's configuration, empty where it is not set."""
    try:
        return tree.dvc("config", name).strip()
    except ToolError:
        return ""


def _find_damaged(tree: WorkingTree, cache: Path, hashes: dict[Path, str]) -> list[Path]:
    """Return the files that are missing, superfluous, or have another MD5 than DVC recorded."""
    damaged = []
    for directory, md5 in hashes.items():
        listing = _cache_path(cache, md5)
        if not (listing.exists() and _has_md5(listing, md5)):
            damaged.append(directory)
            continue
        entries = {e["relpath"]: e["md5"] for e in json.loads(listing.read_bytes())}
        root = tree.path / directory
        present = {str(f.relative_to(root)) for f in root.rglob("*") if f.is_file()}
        changed = {n for n in entries.keys() & present if _compute_md5(root / n) != entries[n]}
        damaged += [directory / name for name in sorted(changed | (entries.keys() ^ present))]
    return damaged


def _remove_damaged(
    tree: WorkingTree, cache: Path, hashes: dict[Path, str], damaged: list[Path]
) -> None:
    """Remove damaged files here and in the cache, so that DVC fetches them again."""
    for path in damaged:
        if (tree.path / path).is_file() or (tree.path / path).is_symlink():
            (tree.path / path).unlink()
    for directory_md5 in hashes.values():
        listing = _cache_path(cache, directory_md5)
        cached = [directory_md5]
        if listing.exists() and _has_md5(listing, directory_md5):
            cached += [entry["md5"] for entry in json.loads(listing.read_bytes())]
        for md5 in cached:
            path = _cache_path(cache, md5)
            if path.exists() and not _has_md5(path, md5):
                path.unlink()


def _cache_path(cache: Path, md5: str) -> Path:
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def _has_md5(path: Path, md5: str) -> bool:
    return _compute_md5(path) == md5.removesuffix(_DIRECTORY_SUFFIX)


def _compute_md5(path: Path) -> str:
    with path.open("rb") as file:  # DVC's name for content, not a protection against forgery
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
